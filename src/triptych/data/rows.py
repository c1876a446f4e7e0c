"""Rows: the one form that every source is brought into, and a long row of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from triptych.contract.cells import Cell

if TYPE_CHECKING:
    from triptych.data.table import Table


@dataclass(frozen=True)
class Row:
    """One row: an id that stays the same over runs, and its cells by column; an absent cell has no entry."""

    id: str
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used, and why. Rows in = rows kept + rejects, always."""

    id: str
    reason: str


class Rows(Protocol):
    """Many rows, in memory or on a disk; the order never changes."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> Row:
        """One row. For many of them `take` is faster."""

    def __iter__(self) -> Iterator[Row]:
        """All, in their order, read some thousands at a time."""

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """Some rows, in the order asked for, with all their cells or those of some columns."""

    def ids(self) -> Sequence[str]:
        """The id of every row."""

    def cells(self, column: str) -> Iterator[Cell]:
        """One column's cells. Of a file that lies in the table only its name comes, as a string: this is for scalars and `has`."""

    def subset(self, indices: Sequence[int]) -> Rows:
        """Some of the rows, as rows."""

    def mapped(self, change: Callable[[Row], Row]) -> Rows:
        """The rows as `change` gives them when they are read."""


@dataclass(frozen=True)
class Listed:
    """Rows in memory: what a folder or a table of text holds."""

    rows: list[Row]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`; the rows come whole, as nothing is saved by leaving cells out."""
        return [self.rows[index] for index in indices]

    def ids(self) -> list[str]:
        """See `Rows`."""
        return [row.id for row in self.rows]

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        return (row.cells.get(column) for row in self.rows)

    def subset(self, indices: Sequence[int]) -> Listed:
        """See `Rows`."""
        return Listed(self.take(indices))

    def mapped(self, change: Callable[[Row], Row]) -> Listed:
        """See `Rows`."""
        return Listed([change(row) for row in self.rows])


@dataclass(frozen=True)
class Source:
    """Where rows come from, before they are a table: they may be many more than memory holds.

    `rows` starts from the first row each time it is called, in the same order; what cannot be a row comes as a `Reject`.
    """

    name: str
    rows: Callable[[], Iterator[Row | Reject]]
    folder: Path = Path()
    """Where relative paths in the cells start; of a source with `parts`, each has its own."""
    findings: list[str] = field(default_factory=list)
    """What a user should know. A reader may add to it while its rows are read, so it is whole after the last one."""
    total: int | None = None
    """How many rows and rejects there are, where that is known without reading them."""
    columns: list[str] = field(default_factory=list)
    """Columns whose place is known before any row is read; others follow as they are met."""
    parts: Mapping[str, Source] = field(default_factory=dict)
    """Sources that this one joins, by name; its ids begin with `name/`."""
    weights: dict[str, float] = field(default_factory=dict)
    """Of parts that are mixed: how often each is drawn from, by the name that stands in the column `source`."""
    table: Table | None = None
    """The table in which the rows stand already, unchanged; None where they come as a stream."""
    version: str = ""
    """Of what has no files here to look at, a word that changes with its content."""
    words: str = ""
    """What is made of the rows that are read, as a recipe says it: with other words they are other rows."""
    reads: Sequence[Source] = ()
    """Sources that this one is made from by windows and joins: what they depend on, it depends on."""
