"""What a build has done so far, a line a chunk: a build that was killed goes on from there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.data.chunk import Done

if TYPE_CHECKING:
    import lance


class Journal:
    """Which chunks are done, a line each; what was written after the last whole line never happened."""

    def __init__(self, path: Path) -> None:
        """`path` need not be there."""
        self.path = path
        self.head: dict[str, Any] = {}
        self.done: list[Done] = []
        self._whole = 0  # bytes of the lines that can be read
        for number, line in enumerate(self._whole_lines()):
            if number == 0:
                self.head = line
            else:
                self.done.append(Done(**line))

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        for line in self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else ():  # one without its end was being written
            try:
                found = json.loads(line)
            except ValueError:  # a disk that lost its power
                return
            self._whole += len(line) + 1
            yield found

    def begin(self, head: dict[str, Any]) -> None:
        """Forget all and start anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.head, self.done = head, []
        self._write(head)

    def add(self, done: Done) -> None:
        """One more chunk is on the disk."""
        self.done.append(done)
        self._write(asdict(done))

    def mend(self) -> None:
        """Cut off what was being written when the build was stopped."""
        with self.path.open("r+b") as file:
            file.truncate(self._whole)

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def files(self) -> set[str]:
        """Names of the data files that the chunks lie in."""
        pieces = [json.loads(done.fragment) for done in self.done if done.fragment]
        return {Path(file["path"]).name for piece in pieces for file in piece["files"]}


def sweep(dataset: lance.LanceDataset | None, table: Path, kept: set[str]) -> None:
    """Remove the pieces of work that was given up: no version speaks of them, nor any journal, whose files are `kept`."""
    known = set(kept)
    for batch in dataset.tracked_files() if dataset else []:
        known |= {Path(path).name for path in batch.column("path").to_pylist()}
    for file in (table / "data").glob("*.lance"):
        if file.name not in known:
            file.unlink()


@contextmanager
def alone(aside: Path, table: Path) -> Iterator[None]:
    """Two builds of one table would write into each other's: the second is refused, not kept waiting.

    Raises:
        InputError: another process builds it now.
    """
    aside.mkdir(parents=True, exist_ok=True)
    with (aside / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError("this table is being built by another process", where=str(table), fix="wait for it, or stop it") from error
        yield
