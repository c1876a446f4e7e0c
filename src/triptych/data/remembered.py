"""An input of which what the frozen part of its encoder gives is kept: its batches are made of that, and no value is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from triptych.contract.augment import Augmenter
from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Item, Packed, Value
from triptych.data.inputs import InputColumn
from triptych.data.kept import Kept, Key
from triptych.data.varied import Varied

SEQUENCE = "_PTD"
"""How the names of tensors end of which a row has a sequence."""
MASKED = "masked"
"""A tensor of an item that is there where rows have a mask."""
MOST_BYTES = 2**28
"""Rows whose tensors are no larger together are held side by side in memory."""


def taken_apart(packed: Packed) -> list[Item]:
    """P rows of a cut -> an item each, without its padding."""
    rows = len(next(iter(packed.tensors.values())))
    lengths = packed.mask_PT.sum(1).tolist() if packed.mask_PT is not None else None
    items = []
    for row in range(rows):
        item = {
            name: tensor[row, : lengths[row]] if lengths is not None and name.endswith(SEQUENCE) else tensor[row : row + 1]
            for name, tensor in packed.tensors.items()
        }
        if lengths is None:  # one more side in front, as every other tensor has: rows are cut along it
            item = {name: tensor[row : row + 1] for name, tensor in packed.tensors.items()}
        else:
            item[MASKED] = torch.ones(1, dtype=torch.bool)
        items.append({name: tensor.detach().cpu().clone() for name, tensor in item.items()})
    return items


def put_together(items: Sequence[Item]) -> Packed:
    """What `taken_apart` was given, padded to the longest of these rows."""
    masked = MASKED in items[0]
    tensors, mask_PT = {}, None
    for name in items[0]:
        if name == MASKED:
            continue
        rows = [item[name] for item in items]
        if masked and name.endswith(SEQUENCE):
            lengths_P = torch.tensor([len(row) for row in rows])
            mask_PT = torch.arange(int(lengths_P.max())) < lengths_P[:, None]
            tensors[name] = pad_sequence(rows, batch_first=True)
        else:
            tensors[name] = torch.cat(rows)
    return Packed(tensors, mask_PT)


@dataclass
class Remembered:
    """An input over a table whose batches come from `kept`. Everything else is asked of `plain`."""

    plain: InputColumn
    kept: Kept
    keys: dict[int, Key]
    """Of each row that has the input."""
    cut: tuple[int, bool]
    """Before how many last blocks it was cut, and whether whole sequences are kept."""
    _whole: dict[str, Tensor] | None = field(default=None, init=False)
    _row_N: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Where all rows are of one size and small, they are held side by side."""
        rows = list(self.keys)
        self._row_N = np.full(len(self.plain.there_N), -1, np.int64)
        self._row_N[rows] = np.arange(len(rows))
        items = self.kept.items([self.keys[row] for row in rows])
        small = sum(tensor.nbytes for item in items for tensor in item.values()) <= MOST_BYTES
        if items and small and MASKED not in items[0]:
            self._whole = {name: torch.cat([item[name] for item in items]) for name in items[0]}

    @property
    def room(self) -> Modality:
        """See `InputColumn`."""
        return self.plain.room

    @property
    def preparation(self) -> Preparation:
        """See `InputColumn`."""
        return self.plain.preparation

    @property
    def there_N(self) -> np.ndarray:
        """See `InputColumn`."""
        return self.plain.there_N

    def has(self, index: int) -> bool:
        """See `InputColumn`."""
        return self.plain.has(index)

    def value(self, index: int) -> Value:
        """See `InputColumn`."""
        return self.plain.value(index)

    def items(self, indices: Sequence[int]) -> list[Item]:
        """What the preparation makes of rows: for a look at some of them, not for the model."""
        return self.plain.items(indices)

    def pack(self, indices: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """What the frozen part gives for the rows that have the input (None where none has it), and which rows those are."""
        there = self.there_N[indices]
        rows = [index for index, has in zip(indices, there.tolist(), strict=True) if has]
        if not rows:
            return None, torch.from_numpy(there)
        if self._whole is not None:
            places = torch.from_numpy(self._row_N[rows])
            return Packed({name: tensor[places] for name, tensor in self._whole.items()}), torch.from_numpy(there)
        return put_together(self.kept.items([self.keys[row] for row in rows])), torch.from_numpy(there)


@dataclass
class RememberedVaried:
    """Variants of training rows whose batches come from `kept`. Everything else is asked of `plain`."""

    plain: Varied
    kept: Kept
    keys: dict[tuple[int, int], Key]
    """Of each row and number of a variant."""

    @property
    def column(self) -> InputColumn:
        """See `Varied`."""
        return self.plain.column

    @property
    def augmenter(self) -> Augmenter:
        """See `Varied`."""
        return self.plain.augmenter

    def value(self, index: int, variant: int) -> Value:
        """See `Varied`."""
        return self.plain.value(index, variant)

    def items(self, indices: Sequence[int], showings: Sequence[int]) -> list[Item]:
        """See `Varied`."""
        return self.plain.items(indices, showings)

    def pack(self, indices: Sequence[int], showings: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """As `Remembered.pack`, of the variants that these showings are."""
        there = self.column.there_N[indices]
        shown = zip(indices, showings, there.tolist(), strict=True)
        having = [(index, self.plain.variant(int(showing))) for index, showing, has in shown if has]
        return (self.made_once(*zip(*having, strict=True)) if having else None), torch.from_numpy(there)

    def made_once(self, indices: Sequence[int], variants: Sequence[int]) -> Packed:
        """As `Varied.made_once`: these variants of rows that have the input, side by side."""
        return put_together(self.kept.items([self.keys[one] for one in zip(indices, variants, strict=True)]))


Column = InputColumn | Remembered
"""An input of a recipe over a table, as a loader takes it."""
VariedColumn = Varied | RememberedVaried
"""The variants of an input's training rows, as a loader takes them."""
