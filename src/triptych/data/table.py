"""Rows: the one form that every source is brought into."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.modality import Split

Cell = str | Path | None
"""A cell holds a string, the path of a file, or nothing."""


@dataclass(frozen=True)
class Row:
    """One row: an id that stays the same over runs, and its cells by column."""

    id: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used, and why. Rows in = rows kept + rejects, always."""

    id: str
    reason: str


@dataclass(frozen=True)
class Table:
    """Rows with their columns, their side of the split, and what was rejected on the way."""

    columns: list[str]
    rows: list[Row]
    source: str
    folder: Path
    splits: list[Split] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def column(self, name: str, asked_by: str) -> list[Cell]:
        """The cells of one column.

        Raises:
            InputError: there is no such column; the message names those that are there.
        """
        self.require(name, asked_by)
        return [row.cells.get(name) for row in self.rows]

    def require(self, name: str, asked_by: str) -> None:
        """Refuse a column that is not there."""
        if name not in self.columns:
            fix = ""
            if len(self.columns) == 1 and len(self.columns[0].split()) < len(self.columns[0]) / 8:
                fix = "the header looks like one long name: check the file's delimiter"
            raise InputError(f"no column {name!r}, which {asked_by} asks for", where=self.source, known=self.columns, fix=fix)

    def at(self, split: Split) -> list[int]:
        """Indices of the rows of one side."""
        return [index for index, side in enumerate(self.splits) if side == split]

    def without(self, rejects: list[Reject]) -> Table:
        """The same without the rejected rows, which are kept beside."""
        gone = {reject.id for reject in rejects}
        kept = [index for index, row in enumerate(self.rows) if row.id not in gone]
        splits = [self.splits[index] for index in kept] if self.splits else []
        return replace(self, rows=[self.rows[index] for index in kept], splits=splits, rejects=[*self.rejects, *rejects])
