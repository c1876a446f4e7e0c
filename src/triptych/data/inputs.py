"""One input of a recipe over a table: read, prepared once, and kept aside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from triptych.base.errors import BadValue, TriptychError
from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Item, Packed, Value
from triptych.data.rows import Row
from triptych.data.scratch import Scratch
from triptych.data.table import Table

AT_ONCE = 64
"""Values prepared together, as far as they are read within `READING` seconds: large ones are few in memory at a time."""
READING = 0.05


@dataclass
class InputColumn:
    """One input of the recipe over a table: its cells, its room, and its items as far as `keep_bytes` of disk allow."""

    room: Modality
    preparation: Preparation
    column: str
    table: Table
    keep_bytes: int
    there_N: np.ndarray = field(init=False)
    """Which rows have it."""
    _scratch: Scratch = field(init=False)

    def __post_init__(self) -> None:
        """Look once which rows have it."""
        self.there_N = np.array(self.table.has(self.column), bool)
        self._scratch = Scratch(len(self.there_N), self.keep_bytes)

    def has(self, index: int) -> bool:
        """Whether the row has this input."""
        return bool(self.there_N[index])

    def value(self, index: int) -> Value:
        """The row's value, read anew.

        Raises:
            TriptychError: it cannot be read any more.
        """
        return next(self._values([index]))

    def fit(self, indices: Iterable[int]) -> None:
        """Let the preparation learn from these rows."""
        self.preparation.fit(self._each(index for index in indices if self.has(index)))

    def _each(self, indices: Iterator[int]) -> Iterator[Value]:
        while some := list(islice(indices, AT_ONCE)):
            yield from self._values(some)

    def _values(self, indices: Sequence[int]) -> Iterator[Value]:
        for row in self._rows(indices):
            try:
                value = self.room.read(row.cells[self.column])
            except (BadValue, KeyError) as problem:
                raise _gone(row, self.column, problem) from problem
            yield value

    def _rows(self, indices: Sequence[int]) -> list[Row]:
        """The rows' cells, read in one call."""
        try:
            return self.table.rows.take(indices, [self.column])
        except (OSError, ValueError, RuntimeError) as problem:  # what Lance raises where its files are gone
            what = f"rows cannot be read any more: {str(problem).splitlines()[0]}"
            raise TriptychError(what, where=self.table.source, fix="leave the table as it is while it is trained on") from problem

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The prepared items of rows that have the input: those that are kept as they are, the others made now, and kept."""
        missing = [index for index in dict.fromkeys(indices) if index not in self._scratch]
        found = dict(self._made(missing))
        kept = [index for index in dict.fromkeys(indices) if index not in found]
        found.update(zip(kept, self._scratch.items(kept), strict=True))
        return [found[index] for index in indices]

    def _made(self, indices: Sequence[int]) -> Iterator[tuple[int, Item]]:
        done = 0
        for values in self.groups(indices):
            rows, items = indices[done : done + len(values)], self.preparation.prepare(values)
            done += len(values)
            self._scratch.keep(rows, items)
            yield from zip(rows, items, strict=True)

    def groups(self, indices: Sequence[int]) -> Iterator[list[Value]]:
        """The rows' values in their order, as many at once as should be prepared together."""
        values: list[Value] = []
        began = time.perf_counter()
        for number, value in enumerate(self._values(indices), start=1):
            values.append(value)
            if number == len(indices) or len(values) == AT_ONCE or time.perf_counter() - began > READING:
                yield values
                values, began = [], time.perf_counter()

    def pack(self, indices: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """The rows' items side by side (None where no row has the input), and which rows have it."""
        there = self.there_N[indices]
        items = self.items([index for index, has in zip(indices, there.tolist(), strict=True) if has])
        return (self.preparation.collate(items) if items else None), torch.from_numpy(there)


def _gone(row: Row, column: str, problem: Exception) -> TriptychError:
    what = problem.what if isinstance(problem, BadValue) else "it is empty"
    where = problem.where if isinstance(problem, BadValue) else ""
    fix = "it was fine when the rows were checked: put it back as it was, and train again"
    return TriptychError(f"row {row.id}: {column} cannot be read any more: {what}", where=where, fix=fix)
