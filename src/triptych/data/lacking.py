"""Rows that lack an input though its cell is filled: the file has nothing of it, or it alone cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.base.errors import Absent, BadValue
from triptych.contract.cells import Blob, Cell, Several, Span
from triptych.contract.modality import Modality
from triptych.data.kinds import readers, share, suffix_of
from triptych.data.rows import Row, Rows

SHOWN = 5
"""Rows that are named as examples."""


def costs_row(problems: Mapping[str, BadValue], cells: Mapping[str, Any], rooms: Mapping[str, Modality]) -> str | None:
    """Which of a row's problems costs the row; None where it can be used without the inputs that have them.

    Nothing in a file for an input, or a file that cannot be read as one input but as another: then the input is absent.
    A row of which nothing can be read is lost.

    Args:
        problems: why cells could not be read, by column; the row's other cells were read.
        cells: the filled cells by column.
        rooms: each column's room.
    """
    read = [name for name in cells if name not in problems]
    for name, problem in problems.items():
        elsewhere = any(_same(cells[name], cells[other]) and share(rooms[name], rooms[other]) for other in read)
        if not read or not (isinstance(problem, Absent) or elsewhere):
            return name
    return None


def _same(first: Any, second: Any) -> bool:
    return first is second or (type(first) is type(second) and isinstance(first, str | Path | Blob | Span) and first == second)


def lacks(file: Cell, rooms: Mapping[str, Modality]) -> set[str]:
    """Rooms that may find something in a file, told by its ending, and find nothing in it: `audio` of a film without sound."""
    if isinstance(file, Several):
        return set.intersection(*(lacks(item, rooms) for item in file.items)) if file.items else set()
    whole = file.source if isinstance(file, Span) else file
    if not isinstance(whole, Path | Blob):
        return set()
    fitting = readers(suffix_of(whole.name), rooms.values())
    content = bytes(whole) if isinstance(whole, Blob) and len(fitting) > 1 else whole
    return {room.name for room in fitting if not room.holds(content)} if len(fitting) > 1 else set()


def told(lacking: Iterable[tuple[str, str, str]], kept: int) -> list[str]:
    """What is said of (row, column, room) of files in which the room finds nothing: a line for each column and room."""
    found: dict[tuple[str, str], list[str]] = {}
    for row, column, room in lacking:
        found.setdefault((column, room), []).append(row)
    return [
        f"{column}: there is no {room} in the files of {len(rows):,} of {kept:,} rows, such as {', '.join(rows[:SHOWN])}"
        for (column, room), rows in sorted(found.items())
    ]


@dataclass(frozen=True)
class Lacking:
    """Implements `Rows`: those of `rows`, without the cells that `absent` says: {column: ids of rows}."""

    rows: Rows
    absent: Mapping[str, set[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self._without(self.rows[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._without, self.rows)

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        return [self._without(row) for row in self.rows.take(indices, columns)]

    def ids(self) -> Sequence[str]:
        """See `Rows`."""
        return self.rows.ids()

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        if column not in self.absent:
            return self.rows.cells(column)
        without = self.absent[column]
        return (None if row_id in without else cell for row_id, cell in zip(self.rows.ids(), self.rows.cells(column), strict=True))

    def subset(self, indices: Sequence[int]) -> Lacking:
        """See `Rows`."""
        return replace(self, rows=self.rows.subset(indices))

    def mapped(self, change: Callable[[Row], Row]) -> Lacking:
        """See `Rows`."""
        return replace(self, rows=self.rows.mapped(change))

    def _without(self, row: Row) -> Row:
        gone = [column for column, ids in self.absent.items() if row.id in ids and column in row.cells]
        return Row(row.id, {name: cell for name, cell in row.cells.items() if name not in gone}) if gone else row
