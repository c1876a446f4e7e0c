"""What people say of a run's answers, kept beside it in a Lance table: each remark with the input's values and where it is from.

A remark is written whole or not at all, and in turn: several processes may add to one table. What was there before is in files of
its own, so that neither a full disk nor a process that is killed in the middle takes any of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.base.errors import InputError, TriptychError
from triptych.base.files import in_turn, is_full
from triptych.contract.cells import Cell
from triptych.contract.examined import Finding
from triptych.data.stored import import_lance
from triptych.run.folder import RunFolder
from triptych.use.disputes import doubts
from triptych.use.opinion import summary
from triptych.use.packed import hashed, packed, unpacked
from triptych.use.remarks import Remark, cells_of, remark_of

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

__all__ = ["Feedback", "Kept", "Remark", "feedback_of"]

FORMAT = 1
META = b"triptych.feedback"
NAME = "feedback.lance"
TEXTS = ("id", "when", "run", "digest", "answer_id", "input_hash", "task", "kind", "chosen", "rejected", "rater", "note")
PLAIN = ("answer", "correction")
"""Columns that hold JSON."""
PIECES = 200
"""Files from which a table is brought together: every remark makes one."""
KEPT = timedelta(days=7)
"""How long what a table was before is kept on the disk: somebody may be reading it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A remark of the table, and the input's values that it is about; files come as their content."""

    remark: Remark
    cells: dict[str, Cell]


class Feedback:
    """A table of remarks. It need not be there: the first remark makes it."""

    def __init__(self, path: str | Path, run: RunFolder | None = None) -> None:
        """`run` is the one that the remarks are about: with it every remark is checked, and told where it is from."""
        self.path, self.run = Path(path), run
        self._recipe = run.recipe() if run else None
        self._digest = run.digest() if run else ""

    @property
    def version(self) -> int:
        """The table's version, 0 before the first remark: with every remark it rises."""
        dataset = self._opened()
        return 0 if dataset is None else int(dataset.version)

    def __len__(self) -> int:
        """How many remarks there are."""
        dataset = self._opened()
        return 0 if dataset is None else int(dataset.count_rows())

    def say(self, cells: Mapping[str, Any], **words: Any) -> str:
        """Add a remark in plain words: `feedback.say({"image": "a.png"}, task="digit", correction="seven", rater="ann")`.

        Args:
            cells: the input that the remark is about.
            words: those of a `Remark`; `kind` is known from the others.

        Returns:
            the remark's id.

        Raises:
            InputError: a word is unknown or says nothing that can be said of the run, or a cell cannot be kept.
        """
        if self._recipe is None:
            raise InputError("the table does not know its run", where=str(self.path), fix="feedback_of(run), or add a whole Remark")
        return self.add(remark_of(words, self._recipe), cells)

    def add(self, remark: Remark, cells: Mapping[str, Any]) -> str:
        """Add a remark; its id. The table is as it was where this fails.

        Raises:
            InputError: a cell cannot be kept, or the table is damaged.
            TriptychError: it cannot be written: the disk is full, or the folder may not be written to.
        """
        return self.add_all([(remark, cells)])[0]

    def add_all(self, remarks: list[tuple[Remark, Mapping[str, Any]]]) -> list[str]:
        """Add several remarks, all of them or none; their ids. As for `add`."""
        rows = [self._row(remark, cells) for remark, cells in remarks]
        if not rows:
            return []
        with self._writing(), in_turn(self.path.with_name(f".{self.path.name}.lock")):
            self._append(rows)
        return [row["id"] for row in rows]

    def remarks(self, version: int | None = None) -> Iterator[Kept]:
        """Every remark with its cells, in the order in which they came; of the table as it is, or as it was at a version.

        Raises:
            InputError: the table is damaged.
        """
        dataset = self._opened(version)
        if dataset is None:
            return
        batches = self._read(lambda: dataset.to_batches(batch_size=16, scan_in_order=True))
        while (batch := self._read(lambda: next(batches, None))) is not None:
            for row in batch.to_pylist():
                yield self._kept(row)

    def summary(self) -> dict[str, Any]:
        """What the remarks say together: see `opinion.summary`; with the table's `path` and `version`."""
        told = summary([kept.remark for kept in self.remarks()], self.tasks)
        return {"path": str(self.path), "version": self.version, **told}

    def findings(self) -> list[Finding]:
        """What is doubtful in the remarks, the worst first."""
        return doubts([kept.remark for kept in self.remarks()], self.tasks).findings

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks of the run; none where it is not known."""
        return self._recipe.tasks if self._recipe else {}

    def _kept(self, row: dict[str, Any]) -> Kept:
        try:
            told = {name: json.loads(row[name]) if name in PLAIN and row[name] is not None else row[name] for name in Remark.model_fields}
            return Kept(Remark.model_validate(told), unpacked(row["cells"], row["content"] or b""))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"the table of feedback is damaged: row {row.get('id')!r} cannot be read", where=str(self.path)) from error

    def _row(self, remark: Remark, cells: Mapping[str, Any]) -> dict[str, Any]:
        """A remark as the table's columns; what the remark does not say of its run is added."""
        cells = cells_of(self._recipe, cells) if self._recipe else cells
        about = {"run": self.run.name if self.run else "", "digest": self._digest, "input_hash": hashed(cells)}
        whole = remark.model_copy(update={name: value for name, value in about.items() if not getattr(remark, name)})
        told, content = packed(cells)
        row = whole.model_dump()
        plain = {name: None if row[name] is None else json.dumps(row[name]) for name in PLAIN}
        return {**row, **plain, "cells": told, "content": content}

    def _append(self, rows: list[dict[str, Any]]) -> None:
        import_lance()
        import lance
        import pyarrow as pa

        there = self._opened()
        table = pa.Table.from_pylist(rows, schema=_schema())
        dataset = lance.write_dataset(table, str(self.path), mode="append" if there is not None else "create")
        if len(dataset.get_fragments()) >= PIECES:
            dataset.optimize.compact_files()
            dataset.cleanup_old_versions(older_than=KEPT)

    def _opened(self, version: int | None = None) -> lance.LanceDataset | None:
        """The Lance data set; None before the first remark."""
        if not (self.path / "_versions").is_dir():
            if self._is_something_else():
                raise InputError("this is no table of feedback", where=str(self.path), fix="name another with --feedback")
            return None
        import_lance()
        import lance

        dataset = self._read(lambda: lance.dataset(str(self.path), version=version))
        meta = (dataset.schema.metadata or {}).get(META)
        if meta is None:
            raise InputError("this is no table of feedback", where=str(self.path), fix="name another with --feedback")
        if int(meta) > FORMAT:
            raise InputError("this feedback was written by a later version of triptych", where=str(self.path), fix="update triptych")
        return dataset

    def _is_something_else(self) -> bool:
        """Whether what lies there is no table; a first remark that was cut off leaves data that nothing points to."""
        if not self.path.is_dir():
            return self.path.exists()
        return bool(set(os.listdir(self.path)) - {"data", "_transactions"})

    def _read(self, read: Callable[[], T]) -> T:
        """What Lance reads; what it cannot read is said in words. Of a file that is cut off it may also panic."""
        try:
            return read()
        except (InputError, KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, OSError | ValueError | RuntimeError):
                raise
            said = (str(error).splitlines() or [type(error).__name__])[0].split(", /")[0][:200]  # without where in Lance's own source
            fix = "bring the folder back from a copy; older versions in it may be whole"
            raise InputError(f"the table of feedback is damaged: {said}", where=str(self.path), fix=fix) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = is_full(error)
            what = "the disk is full: the remark is not kept" if full else f"the remark cannot be kept: {str(error).splitlines()[0][:200]}"
            fix = "make room and say it again; all earlier remarks are there" if full else "may this folder be written to?"
            raise TriptychError(what, where=str(self.path), fix=fix) from error


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in (*TEXTS, *PLAIN, "cells")]
    return pa.schema([*texts, ("rating", pa.int64()), ("score", pa.float64()), ("content", pa.large_binary())], {META: str(FORMAT)})


def feedback_of(run: RunFolder, path: str | Path | None = None) -> Feedback:
    """The feedback about a run: beside it, unless another place is named."""
    return Feedback(path or run.path / NAME, run)
