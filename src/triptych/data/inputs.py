"""One input of a recipe over a table: read, prepared once, and kept aside."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from triptych.base.errors import BadValue, TriptychError
from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Item, Packed, Value
from triptych.data.rows import Row
from triptych.data.scratch import Scratch
from triptych.data.several import read_each
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
    counts_N: np.ndarray = field(init=False)
    """How many values of it each row has."""
    there_N: np.ndarray = field(init=False)
    """Which rows have any."""
    _scratch: Scratch = field(init=False)

    def __post_init__(self) -> None:
        """Look once which rows have it, and how many."""
        self.counts_N = np.array(self.table.counts(self.column), np.int64)
        self.there_N = self.counts_N > 0
        self._first_N = np.cumsum(self.counts_N) - self.counts_N
        self._scratch = Scratch(int(self.counts_N.sum()), self.keep_bytes)

    @property
    def several(self) -> bool:
        """Whether a row has more than one."""
        return bool((self.counts_N > 1).any())

    def has(self, index: int) -> bool:
        """Whether the row has this input."""
        return bool(self.there_N[index])

    def value(self, index: int) -> Value:
        """The row's value, read anew; of several the first.

        Raises:
            TriptychError: it cannot be read any more.
        """
        return next(self._values([index]))[0]

    def fit(self, indices: Iterable[int]) -> None:
        """Let the preparation learn from these rows."""
        self.preparation.fit(self._each(index for index in indices if self.has(index)))

    def _each(self, indices: Iterator[int]) -> Iterator[Value]:
        while some := list(islice(indices, AT_ONCE)):
            for values in self._values(some):
                yield from values

    def _values(self, indices: Sequence[int]) -> Iterator[list[Value]]:
        for row in self._rows(indices):
            try:
                values = read_each(self.room, row.cells[self.column])
            except (BadValue, KeyError) as problem:
                raise _gone(row, self.column, problem) from problem
            yield values

    def _rows(self, indices: Sequence[int]) -> list[Row]:
        """The rows' cells, read in one call."""
        try:
            return self.table.rows.take(indices, [self.column])
        except (OSError, ValueError, RuntimeError) as problem:  # what Lance raises where its files are gone
            what = f"rows cannot be read any more: {str(problem).splitlines()[0]}"
            raise TriptychError(what, where=self.table.source, fix="leave the table as it is while it is trained on") from problem

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The prepared items of rows that have the input, row by row: those that are kept as they are, others made now, and kept."""
        missing = [index for index in dict.fromkeys(indices) if any(place not in self._scratch for place in self._places(index))]
        found = dict(self._made(missing))
        kept = [index for index in dict.fromkeys(indices) if index not in found]
        items = iter(self._scratch.items([place for index in kept for place in self._places(index)]))
        found.update((index, list(islice(items, int(self.counts_N[index])))) for index in kept)
        return [item for index in indices for item in found[index]]

    def _places(self, index: int) -> range:
        """Where the items of a row are kept."""
        return range(int(self._first_N[index]), int(self._first_N[index] + self.counts_N[index]))

    def _made(self, indices: Sequence[int]) -> Iterator[tuple[int, list[Item]]]:
        done = 0
        for values in self._groups(indices):
            rows = indices[done : done + len(values)]
            done += len(values)
            items = self.preparation.prepare([value for each in values for value in each])
            self._scratch.keep([place for index in rows for place in self._places(index)], items)
            left = iter(items)
            yield from ((index, list(islice(left, len(each)))) for index, each in zip(rows, values, strict=True))

    def groups(self, indices: Sequence[int]) -> Iterator[list[Value]]:
        """The rows' values in their order, as many at once as should be prepared together; of several the first."""
        yield from ([each[0] for each in values] for values in self._groups(indices))

    def _groups(self, indices: Sequence[int]) -> Iterator[list[list[Value]]]:
        values: list[list[Value]] = []
        began = time.perf_counter()
        for number, each in enumerate(self._values(indices), start=1):
            values.append(each)
            if number == len(indices) or len(values) == AT_ONCE or time.perf_counter() - began > READING:
                yield values
                values, began = [], time.perf_counter()

    def pack(self, indices: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """The rows' items side by side (None where no row has the input), and which rows have it."""
        there = self.there_N[indices]
        rows = [index for index, has in zip(indices, there.tolist(), strict=True) if has]
        packed = self.preparation.collate(self.items(rows)) if rows else None
        if packed is not None and (self.counts_N[rows] > 1).any():
            packed = replace(packed, counts_P=torch.from_numpy(self.counts_N[rows]))
        return packed, torch.from_numpy(there)


def _gone(row: Row, column: str, problem: Exception) -> TriptychError:
    what = problem.what if isinstance(problem, BadValue) else "it is empty"
    where = problem.where if isinstance(problem, BadValue) else ""
    fix = "it was fine when the rows were checked: put it back as it was, and train again"
    return TriptychError(f"row {row.id}: {column} cannot be read any more: {what}", where=where, fix=fix)
