"""The table that is joined: its rows by number, files in them by whole paths, and the names that its columns get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from triptych.base.errors import InputError, nearest
from triptych.contract.cells import ADDRESS, Cell
from triptych.contract.modality import Modality
from triptych.data.columns import ID, survey
from triptych.data.rows import Listed, Reject, Row, Rows, Source
from triptych.data.table import Table

AT_ONCE = 64


@dataclass
class Side:
    """A table to join. It is read when the first row asks for one; a large one lies on the disk and is read by number."""

    source: Source
    rooms: Mapping[str, Modality]
    prefix: str
    read: Callable[[], Table]

    @property
    def name(self) -> str:
        """What messages call it."""
        return Path(self.source.name).name or self.source.name

    @cached_property
    def table(self) -> Table:
        """The table itself."""
        return self.read()

    @cached_property
    def rows(self) -> Rows:
        """Its rows; files that their cells name are paths from its own folder."""
        rows = self.table.rows
        if not isinstance(rows, Listed):
            return rows  # of a table on the disk they are already
        media = {column.name for column in survey(rows, self.rooms).columns if column.kind == "media"}
        return rows.mapped(lambda row: Row(row.id, {n: _whole(c, self.table.folder) if n in media else c for n, c in row.cells.items()}))

    def chosen(self, columns: Sequence[str]) -> Iterator[Row]:
        """All rows in their order, with some of their cells."""
        rows = self.rows
        for start in range(0, len(rows), AT_ONCE):
            yield from rows.take(range(start, min(start + AT_ONCE, len(rows))), columns)

    def rejects(self) -> Iterator[Reject]:
        """Rows of it that cannot be used."""
        yield from (Reject(self.called(reject.id), reject.reason) for reject in self.table.rejects)

    def called(self, row_id: str) -> str:
        """The id of one of its rows among those of the other side: `people/row-3`."""
        return f"{self.name.split('.')[0] or self.name}/{row_id}"

    def require(self, column: str, asked_by: str, fix: str = "") -> None:
        """Refuse a column that it does not have."""
        if column not in self.table.columns and column != ID:
            close = nearest(column, self.table.columns, 1)
            fix = f"did you mean {close[0]!r}?" if close else fix or f"name another with {asked_by}"
            known = self.table.columns
            raise InputError(
                f"{self.name} has no column {column!r}, which {asked_by} asks for", where=self.source.name, known=known, fix=fix
            )

    def carried(self, without: Iterable[str]) -> dict[str, str]:
        """{column: its name in the joined rows}; its ids come along only where a prefix tells them from the others."""
        gone = {*without, *([] if self.prefix else [ID])}
        return {name: f"{self.prefix}{name}" for name in self.table.columns if name not in gone}


def _whole(cell: Cell, folder: Path) -> Cell:
    return folder / cell if isinstance(cell, str) and not ADDRESS.match(cell) else cell


def merged(row: Row, cells: Mapping[str, Cell], side: Side, names: Iterable[str], place: str) -> Row:
    """A row with the cells of its partner.

    Raises:
        InputError: both sides have a column of one name.
    """
    for name in names:
        if name in row.cells:
            word, fix = name.removeprefix(side.prefix), f"{place}.prefix: {side.called('').rstrip('/')}_"
            fix += f", or rename it: {place}.columns: {{other_{word}: {word}}}"
            raise InputError(f"the rows have a column {name!r} and so has {side.name}", where=f"{place}: {side.source.name}", fix=fix)
    return Row(row.id, {**row.cells, **{name: cell for name, cell in cells.items() if cell is not None}})
