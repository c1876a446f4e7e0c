"""Words that stand for an empty cell: `NA`, `-`, `null`. A user says which; without a word, every text is a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from triptych.contract.cells import Cell
from triptych.data.rows import Row, Rows, Source
from triptych.data.sources.joined import held, mapped


def emptied(source: Source, words: Sequence[str]) -> Source:
    """The source without the cells that say one of the words."""
    if not words:
        return source
    empty = frozenset(words)
    if source.table is not None:
        return held(replace(source.table, rows=Emptied(source.table.rows, empty)))
    return mapped(source, lambda row, folder: _without(row, empty))


def _without(row: Row, empty: frozenset[str]) -> Row:
    return Row(row.id, {name: cell for name, cell in row.cells.items() if not _says(cell, empty)})


def _says(cell: Cell, empty: frozenset[str]) -> bool:
    return isinstance(cell, str) and cell.strip() in empty


@dataclass(frozen=True)
class Emptied:
    """Rows of a table without such cells, left out when they are read. Implements `Rows`."""

    rows: Rows
    empty: frozenset[str]
    changes: tuple[Callable[[Row], Row], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self._made(self.rows[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._made, self.rows)

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        return [self._made(row) for row in self.rows.take(indices, columns)]

    def ids(self) -> Sequence[str]:
        """See `Rows`."""
        return self.rows.ids()

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        return (None if _says(cell, self.empty) else cell for cell in self.rows.cells(column))

    def subset(self, indices: Sequence[int]) -> Emptied:
        """See `Rows`."""
        return replace(self, rows=self.rows.subset(indices))

    def mapped(self, change: Callable[[Row], Row]) -> Emptied:
        """See `Rows`: `change` does not see the cells that are left out, so none is taken for the name of a file."""
        return replace(self, changes=(*self.changes, change))

    def _made(self, row: Row) -> Row:
        row = _without(row, self.empty)
        for change in self.changes:
            row = change(row)
        return row
