"""Rows that are only learnt from, after those of a source: `data.added` of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from triptych.contract.cells import Cell
from triptych.contract.modality import Split
from triptych.data.rows import Reject, Row, Rows
from triptych.data.settings import SOURCE
from triptych.data.table import Table

ADDED = "(added)"
"""What such rows say in the column `source`, and before their ids: no source of a recipe can be called so."""


@dataclass(frozen=True)
class Chained:
    """Implements `Rows`: those of `first`, then those of `second`."""

    first: Rows
    second: Rows

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Row:
        return self.take([index])[0]

    def __iter__(self) -> Iterator[Row]:
        yield from self.first
        yield from self.second

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        border = len(self.first)
        one, other = [int(index) for index in indices if index < border], [int(index) - border for index in indices if index >= border]
        firsts, seconds = (iter(part.take(mine, columns) if mine else []) for part, mine in ((self.first, one), (self.second, other)))
        return [next(firsts if index < border else seconds) for index in indices]

    def ids(self) -> list[str]:
        """See `Rows`."""
        return [*self.first.ids(), *self.second.ids()]

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        yield from self.first.cells(column)
        yield from self.second.cells(column)

    def subset(self, indices: Sequence[int]) -> Chained:
        """See `Rows`; those of the first come first.

        Raises:
            ValueError: they are asked for in another order.
        """
        border = len(self.first)
        one, other = [index for index in indices if index < border], [index - border for index in indices if index >= border]
        if [*one, *(index + border for index in other)] != list(indices):
            raise ValueError("the rows that were added must stay behind the others")
        return Chained(self.first.subset(one), self.second.subset(other))

    def mapped(self, change: Callable[[Row], Row]) -> Chained:
        """See `Rows`."""
        return Chained(self.first.mapped(change), self.second.mapped(change))


def with_added(table: Table, added: Table) -> Table:
    """A table with more rows behind its own; they say in `source` that they were added."""

    def marked(row: Row) -> Row:
        return Row(f"{ADDED}/{row.id}", {**row.cells, SOURCE: ADDED})

    rejects = [Reject(f"{ADDED}/{reject.id}", reject.reason) for reject in added.rejects]
    columns = list(dict.fromkeys([*table.columns, *added.columns, SOURCE]))
    findings = [*table.findings, *added.findings]
    return replace(
        table,
        columns=columns,
        rows=Chained(table.rows, _Marked(added.rows.mapped(marked))),
        rejects=[*table.rejects, *rejects],
        findings=findings,
    )


@dataclass(frozen=True)
class _Marked:
    """Rows whose ids and `source` are those of added ones, however they are read."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        return self.rows.take(indices, columns)

    def ids(self) -> list[str]:
        """See `Rows`."""
        return [one if one.startswith(f"{ADDED}/") else f"{ADDED}/{one}" for one in self.rows.ids()]

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        return iter([ADDED] * len(self.rows)) if column == SOURCE else self.rows.cells(column)

    def subset(self, indices: Sequence[int]) -> _Marked:
        """See `Rows`."""
        return _Marked(self.rows.subset(indices))

    def mapped(self, change: Callable[[Row], Row]) -> _Marked:
        """See `Rows`."""
        return _Marked(self.rows.mapped(change))


def divide_first(table: Table, divide: Callable[[Table], Table]) -> Table:
    """Divide the rows of the source as if no others were there; those that were added are learnt from."""
    own = [index for index, row_id in enumerate(table.rows.ids()) if not row_id.startswith(f"{ADDED}/")]
    if len(own) == len(table.rows):
        return divide(table)
    divided = divide(table.subset(own))
    splits: list[Split] = [*divided.splits, *["train"] * (len(table.rows) - len(own))]  # type: ignore[list-item]
    return replace(table, splits=splits, findings=divided.findings)
