"""A table: rows with their columns, their side of the split, and what was lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, nearest
from triptych.contract.cells import Cell
from triptych.contract.examined import Finding
from triptych.contract.modality import Split
from triptych.data.rows import Listed, Reject, Row, Rows
from triptych.data.several import counted

__all__ = ["Cell", "Reject", "Row", "Table"]


@dataclass(frozen=True)
class Table:
    """`rows` may be a list; any other `Rows` stays where it is, on a disk for one."""

    columns: list[str]
    rows: Rows
    source: str
    folder: Path
    splits: list[Split] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    """What was noticed while the source was read."""
    diagnosis: list[Finding] = field(default_factory=list)
    """What the data doctor found in the rows and their split."""
    fingerprint: str = ""
    """A word for the rows, their sides and all that is learnt from them; another word, other rows."""
    lengths: dict[str, Any] = field(default_factory=dict)
    """{column: how long each row's value is when it is prepared}, as numpy arrays; columns of one size for all are left out."""

    def __post_init__(self) -> None:
        """Wrap a plain list."""
        if isinstance(self.rows, list):
            object.__setattr__(self, "rows", Listed(self.rows))

    def column(self, name: str, asked_by: str) -> list[Cell]:
        """The cells of one column.

        Raises:
            InputError: there is no such column; the message names those that are there.
        """
        self.require(name, asked_by)
        return list(self.rows.cells(name))

    def require(self, name: str, asked_by: str, others: Iterable[str] = ()) -> None:
        """Refuse a column that is not there; `others` are words that might be meant as well."""
        if name not in self.columns:
            known = list(dict.fromkeys([*self.columns, *others]))
            close = nearest(name, known, 1)
            fix = f"did you mean {close[0]!r}?" if close else ""
            if len(self.columns) == 1 and len(self.columns[0].split()) < len(self.columns[0]) / 8:
                fix = "the header looks like one long name: check the file's delimiter"
            raise InputError(f"no column {name!r}, which {asked_by} asks for", where=self.source, known=known, fix=fix)

    def has(self, name: str) -> list[bool]:
        """Which rows have a cell in this column; none where there is no such column."""
        if name not in self.columns:
            return [False] * len(self.rows)
        return [cell is not None for cell in self.rows.cells(name)]

    def counts(self, name: str) -> list[int]:
        """How many values each row has in this column; none where there is no such column."""
        return [counted(cell) for cell in self.rows.cells(name)] if name in self.columns else [0] * len(self.rows)

    def at(self, split: Split) -> list[int]:
        """Indices of the rows of one side."""
        return [index for index, side in enumerate(self.splits) if side == split]

    def subset(self, indices: Sequence[int]) -> Table:
        """Some of the rows, with their sides."""
        splits = [self.splits[index] for index in indices] if self.splits else []
        lengths = {name: values_N[list(indices)] for name, values_N in self.lengths.items()}
        return replace(self, rows=self.rows.subset(indices), splits=splits, lengths=lengths)

    def without(self, rejects: list[Reject]) -> Table:
        """The same without the rejected rows, which are kept beside."""
        gone = {reject.id for reject in rejects}
        kept = [index for index, row_id in enumerate(self.rows.ids()) if row_id not in gone]
        return replace(self.subset(kept), rejects=[*self.rejects, *rejects])
