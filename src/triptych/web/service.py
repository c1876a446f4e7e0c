"""What the API and the page share: runs that are asked, rows that are answered together, answers that are remembered.

Nothing here knows HTTP or a page. All of it is called from one event loop; decoding happens in a few threads, and each run is
computed in one of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from triptych.contract.cells import Blob, Cell, Several
from triptych.run.folder import open_folder
from triptych.use.opened import Answer, Run
from triptych.web.batching import Remembered, Watch, Worker
from triptych.web.limits import Limits
from triptych.web.problems import TooLarge, Unknown

T = TypeVar("T")


@dataclass(frozen=True)
class Told:
    """What a run said of a row."""

    id: str
    """Nobody guesses it: feedback on the answer names it."""
    run: str
    tasks: dict[str, dict[str, Any]]
    """By task, as `Run.predict` says it."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"id": self.id, "run": self.run, "tasks": self.tasks, "seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class Kept:
    """An answer that is remembered, with what it was about."""

    run: str
    row: dict[str, Any]
    tasks: dict[str, dict[str, Any]]


@dataclass(eq=False)
class Service:
    """Runs behind a door. `runs` by the name that callers use."""

    runs: Mapping[str, Run]
    catalogue: Any = None
    limits: Limits = field(default_factory=Limits)
    watch: Watch | None = None

    def __post_init__(self) -> None:
        """A thread a run, and some that decode."""
        self.workers = {name: Worker(name, self.limits, self._computed) for name in self.runs}
        self._readers = ThreadPoolExecutor(self.limits.readers, thread_name_prefix="reader")
        self.remembered = Remembered[Kept](self.limits.answers, self.limits.answer_bytes)
        self.ready = False

    def load(self) -> None:
        """Read all that answers need into memory: from here on a run's folder may go."""
        for run in self.runs.values():
            _ = run.model, run.inputs, run.script, run.gallery, run.scores
        self.ready = True

    def close(self) -> None:
        """Let all threads end."""
        self.ready = False
        for worker in self.workers.values():
            worker.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def run(self, name: str | None = None) -> str:
        """The name of a run; None is the only one, or the first.

        Raises:
            Unknown: there is none of that name.
        """
        if name is None:
            return next(iter(self.runs))
        if name not in self.runs:
            raise Unknown(f"there is no run {name[:80]!r} here", param="run", known=list(self.runs))
        return name

    async def predict(self, run: str | None, row: Mapping[str, Cell], tasks: Sequence[str] | None = None) -> Told:
        """What a run says of one row; inputs left out are absent.

        Raises:
            InputError: an unknown input or task, nothing at all, or a value that cannot be read.
            Busy: too many rows wait.
        """
        return (await self.predict_rows(run, [row], tasks))[0]

    async def predict_rows(self, run: str | None, rows: Sequence[Mapping[str, Cell]], tasks: Sequence[str] | None = None) -> list[Told]:
        """The same of several rows, in their order."""
        name, started = self.run(run), time.perf_counter()
        opened = self.runs[name]
        asked = self._tasks(opened, tasks)
        with self.workers[name].coming(len(rows)):
            read = await self._read(opened, rows)

        def work(pairs: list[Any]) -> list[Answer]:
            return opened.answers([row for row, _ in pairs], [values for _, values in pairs], asked)

        found = await self.workers[name].together(("predict", asked), work, list(zip(rows, read, strict=True)))
        seconds = time.perf_counter() - started
        return [self._told(name, row, answer, seconds) for row, answer in zip(rows, found, strict=True)]

    async def embed(self, run: str | None, rows: Sequence[Mapping[str, Cell]]) -> list[dict[str, list[float] | None]]:
        """Vectors of each row: `fused`, and `TASK.INPUT` where a task has such; None where the row lacks the input."""
        name = self.run(run)
        opened = self.runs[name]
        with self.workers[name].coming(len(rows)):
            read = await self._read(opened, rows)

        def work(values: list[Any]) -> list[dict[str, list[float] | None]]:
            columns = opened.vectors(values)
            return [{column: vectors[place] for column, vectors in columns.items()} for place in range(len(values))]

        return await self.workers[name].together("embed", work, read)

    async def stream(self, run: str | None, task: str, row: Mapping[str, Cell], settings: Any = None) -> AsyncIterator[str]:
        """One row's answer in writing, as far as it is written, again and again; who stops listening stops it."""
        name = self.run(run)
        opened = self.runs[name]
        with self.workers[name].coming(1):
            pass
        async for text in self.workers[name].pieces(lambda: opened.stream(task, row, settings)):
            yield text

    async def decoding(self, work: Callable[..., T], *given: Any) -> T:
        """`work(*given)` in one of the threads that decode."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *given)

    async def _read(self, run: Run, rows: Sequence[Mapping[str, Cell]]) -> list[Any]:
        if len(rows) > self.limits.rows:
            raise TooLarge(
                f"{len(rows):,} rows are more than the {self.limits.rows} that one request may have", fix="send several requests"
            )
        return await self.decoding(lambda: [run.read_row(row) for row in rows])

    def _tasks(self, run: Run, tasks: Sequence[str] | None) -> tuple[str, ...] | None:
        if tasks is None:
            return None
        for task in tasks:
            if task not in run.answered:
                raise Unknown(f"there is no task {task[:80]!r} in this run", param="tasks", known=run.answered)
        return tuple(dict.fromkeys(tasks))

    def _told(self, name: str, row: Mapping[str, Cell], answer: Answer, seconds: float) -> Told:
        told = Told(secrets.token_urlsafe(16), name, answer.tasks, seconds)
        self.remember(told, row)
        return told

    def remember(self, told: Told, row: Mapping[str, Cell]) -> None:
        """Keep an answer and what it was about, for feedback on it."""
        self.remembered.put(told.id, Kept(told.run, dict(row), told.tasks), sum(map(_size, row.values())) + 2048)

    def _computed(self, name: str, rows: int) -> None:
        if self.watch is not None:
            self.watch(name, rows)


def _size(cell: Any) -> int:
    if isinstance(cell, Several):
        return sum(map(_size, cell.items))
    return len(cell) if isinstance(cell, bytes | str) else 64


def open_runs(paths: Sequence[str | Path]) -> dict[str, Run]:
    """Finished runs by their folders' names; of two folders of one name the second is NAME-2.

    Raises:
        InputError: a folder is no finished run.
    """
    found: dict[str, Run] = {}
    for path in paths:
        run = Run(open_folder(path))
        base = run.folder.path.resolve().name
        name = next(name for name in [base, *(f"{base}-{n}" for n in range(2, len(paths) + 1))] if name not in found)
        found[name] = run
    return found


__all__ = ["Blob", "Kept", "Service", "Told", "open_runs"]
