"""From rows to batches: read and prepare ahead of the step, once a row where memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Batch, Item, Packed, Value
from triptych.data.table import Table
from triptych.data.targets import Target, pick


@dataclass
class InputColumn:
    """One input of the recipe over a table: its cells, its room, and its items as far as they are kept."""

    room: Modality
    preparation: Preparation
    column: str
    table: Table
    keep_bytes: int
    _kept: dict[int, Item] = field(default_factory=dict)
    _bytes: int = 0
    _there: list[bool] = field(init=False)

    def __post_init__(self) -> None:
        """Look once which rows have it."""
        self._there = self.table.has(self.column)

    def has(self, index: int) -> bool:
        """Whether the row has this input."""
        return self._there[index]

    def value(self, index: int) -> Value:
        """The row's value, read anew."""
        return self.values([index])[0]

    def values(self, indices: Sequence[int]) -> list[Value]:
        """Values of rows that have the input, read anew."""
        return [self.room.read(row.cells[self.column]) for row in self.table.rows.take(indices, [self.column])]

    def fit(self, indices: Iterable[int]) -> None:
        """Let the preparation learn from these rows."""
        self.preparation.fit(self.value(index) for index in indices if self.has(index))

    def items(self, indices: Sequence[int]) -> list[Item]:
        """The prepared items of rows that have the input; kept in memory until `keep_bytes` are full."""
        missing = [index for index in indices if index not in self._kept]
        fresh = dict(zip(missing, self.preparation.prepare(self.values(missing)), strict=True)) if missing else {}
        for index, item in fresh.items():
            size = sum(tensor.nbytes for tensor in item.values())
            if self._bytes + size <= self.keep_bytes:
                self._kept[index] = item
                self._bytes += size
        return [fresh[index] if index in fresh else self._kept[index] for index in indices]

    def pack(self, indices: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """The rows' items side by side (None where no row has the input), and which rows have it."""
        there = [self.has(index) for index in indices]
        items = self.items([index for index, has in zip(indices, there, strict=True) if has])
        return (self.preparation.collate(items) if items else None), torch.tensor(there, dtype=torch.bool)


class Loader:
    """Batches of some rows of a table, in order or shuffled by seed and epoch; the next batch is made during the step."""

    def __init__(
        self,
        table: Table,
        inputs: Mapping[str, InputColumn],
        targets: dict[str, Target],
        rows: Sequence[int],
        batch_size: int,
        shuffle_seed: int | None = None,
    ) -> None:
        """`shuffle_seed` None keeps the rows' order."""
        self.ids = table.rows.ids()
        self.table, self.inputs, self.targets, self.rows = table, inputs, targets, list(rows)
        self.batch_size, self.shuffle_seed, self.epoch = batch_size, shuffle_seed, 0

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.rows) // self.batch_size)

    def order(self) -> list[int]:
        """The rows of the current epoch in their order."""
        if self.shuffle_seed is None:
            return self.rows
        generator = torch.Generator().manual_seed(self.shuffle_seed * 1_000_003 + self.epoch)
        return [self.rows[place] for place in torch.randperm(len(self.rows), generator=generator).tolist()]

    def __iter__(self) -> Iterator[Batch]:
        """One epoch; the next call gives the next one."""
        order = self.order()
        self.epoch += 1
        chunks = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self.batch, chunks[0]) if chunks else None
            for chunk in chunks[1:]:
                assert following is not None
                batch, following = following.result(), ahead.submit(self.batch, chunk)
                yield batch
            if following is not None:
                yield following.result()

    def batch(self, indices: Sequence[int]) -> Batch:
        """The batch of these rows."""
        packed, present = {}, {}
        for name, column in self.inputs.items():
            made, present[name] = column.pack(indices)
            if made is not None:
                packed[name] = made
        values, has = pick(self.targets, indices)
        return Batch(packed, present, values, has, tuple(self.ids[index] for index in indices))
