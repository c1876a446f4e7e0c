"""Variants of the training rows of one input: augmented, prepared, and kept aside where a row has only so many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from triptych.contract.augment import Augmenter
from triptych.contract.values import Item, Packed, Value
from triptych.data.inputs import InputColumn
from triptych.data.scratch import Scratch

AGAIN = 1_000_003
"""From one showing of a row to its next within one epoch: a prime, so that they differ however many variants there are."""
VALUES, ITEMS = 0, 1
"""What is drawn for; each has random numbers of its own."""


def showings(batches: Sequence[np.ndarray], epoch: int) -> list[np.ndarray]:
    """Of each row of an epoch's batches a number for this showing of it: the epoch, further on where it came before in the epoch."""
    rows_R = np.concatenate(batches) if batches else np.zeros(0, np.int64)
    order_R = np.argsort(rows_R, kind="stable")
    sorted_R = rows_R[order_R]
    first_R = np.flatnonzero(np.r_[True, sorted_R[1:] != sorted_R[:-1]]) if len(rows_R) else order_R
    times_R = np.empty(len(rows_R), np.int64)
    times_R[order_R] = np.arange(len(rows_R)) - np.repeat(first_R, np.diff(np.r_[first_R, len(rows_R)]))
    return np.split(epoch + AGAIN * times_R, np.cumsum([len(rows) for rows in batches])[:-1]) if batches else []


class Varied:
    """One input as training sees it. A variant is decided by the row's id, the input's name, its number and the seed, by nothing else.

    With `most`, a row has so many variants, which are made once and kept as far as `keep_bytes` of disk allow; without, every
    showing is a new one.
    """

    def __init__(self, name: str, column: InputColumn, augmenter: Augmenter, seed: int, most: int | None) -> None:
        """`column` knows the rows and how they are prepared."""
        self.name, self.column, self.augmenter, self.seed, self.most = name, column, augmenter, seed, most
        self.ids = column.table.rows.ids()
        self._scratch = Scratch(len(self.ids) * most, column.keep_bytes) if most else None

    def variant(self, showing: int) -> int:
        """Number of the variant that is shown."""
        return showing % self.most if self.most else showing

    def draw(self, index: int, variant: int, what: int = VALUES) -> np.random.Generator:
        """The random numbers of one variant of one row."""
        told = hashlib.sha256(f"{self.name}\n{self.ids[index]}".encode("utf-8", "surrogatepass")).digest()
        return np.random.Generator(np.random.PCG64([self.seed, variant, what, int.from_bytes(told)]))

    def value(self, index: int, variant: int) -> Value:
        """One variant of a row that has the input, before it is prepared."""
        return self.augmenter.values([self.column.value(index)], [self.draw(index, variant)])[0]

    def items(self, indices: Sequence[int], showings: Sequence[int]) -> list[Item]:
        """Prepared variants of rows that have the input."""
        wanted = [(index, self.variant(int(showing))) for index, showing in zip(indices, showings, strict=True)]
        scratch, most = self._scratch, self.most or 0
        kept = [key for key in dict.fromkeys(wanted) if scratch is not None and key[0] * most + key[1] in scratch]
        found = dict(self._made(sorted(set(wanted) - set(kept))))
        if scratch is not None:
            found.update(zip(kept, scratch.items([index * most + variant for index, variant in kept]), strict=True))
        return [found[key] for key in wanted]

    def _made(self, keys: Sequence[tuple[int, int]], keep: bool = True) -> Iterator[tuple[tuple[int, int], Item]]:
        done = 0
        for values in self.column.groups([index for index, _ in keys]):
            some = keys[done : done + len(values)]
            done += len(values)
            changed = self.augmenter.values(values, [self.draw(*key) for key in some])
            items = self.augmenter.items(self.column.preparation.prepare(changed), [self.draw(*key, ITEMS) for key in some])
            if keep and self._scratch is not None and self.most:
                self._scratch.keep([index * self.most + variant for index, variant in some], items)
            yield from zip(some, items, strict=True)

    def made_once(self, indices: Sequence[int], variants: Sequence[int]) -> Packed:
        """Variants of rows that have the input side by side; nothing of them is kept."""
        found = dict(self._made(sorted(set(zip(indices, variants, strict=True))), keep=False))
        return self.column.preparation.collate([found[one] for one in zip(indices, variants, strict=True)])

    def pack(self, indices: Sequence[int], showings: Sequence[int]) -> tuple[Packed | None, Tensor]:
        """As `InputColumn.pack`, of the variants that these showings are."""
        there = self.column.there_N[indices]
        having = [(index, showing) for index, showing, has in zip(indices, showings, there.tolist(), strict=True) if has]
        items = self.items([index for index, _ in having], [showing for _, showing in having])
        return (self.column.preparation.collate(items) if items else None), torch.from_numpy(there)
