"""Which rows each batch of an epoch holds: from seed and epoch alone, the same on every machine.

Nothing is drawn that depends on what was drawn before, so any batch of any epoch is known without those that came first:
training goes on in the middle of an epoch as quickly as it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

ROWS, SLOTS, BATCHES, GROUPS = range(4)
"""What is put into another order; each has random numbers of its own."""


def shuffles(count: int, first: int, many: int, *key: int) -> np.ndarray:
    """Permutations number `first` to `first + many - 1` of an endless row of them, (many, count).

    The raw numbers of PCG64, which numpy promises never to change, are sorted; a jump leads to any place of their row.
    """
    numbers = np.random.PCG64(np.random.SeedSequence(key)).advance(first * count)
    return np.argsort(numbers.random_raw(many * count).reshape(many, count), axis=1, kind="stable")


class Draws(Protocol):
    """How many rows an epoch has, and which: `data/sampling.py`."""

    def __len__(self) -> int:
        """Rows drawn an epoch."""

    def drawn(self, seed: int, epoch: int) -> np.ndarray:
        """Places of the rows of one epoch, in random order; a row may come several times."""


@dataclass(frozen=True)
class Plain:
    """Every row once an epoch."""

    rows: int

    def __len__(self) -> int:
        return self.rows

    def drawn(self, seed: int, epoch: int) -> np.ndarray:
        """See `Draws`."""
        return shuffles(self.rows, epoch, 1, seed, ROWS, 0)[0]


@dataclass(frozen=True)
class Order:
    """The batches of every epoch over some rows of a table.

    `seed` None keeps the rows as they are given, in every epoch. `lengths_R`, one a given row, brings rows of like length
    together: within windows of `window` batches of the shuffled order rows are sorted, and then the batches are shuffled.
    """

    rows_R: np.ndarray
    batch_size: int
    seed: int | None = None
    draws: Draws | None = None
    lengths_R: np.ndarray | None = None
    window: int = 0

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return -(-self._count() // self.batch_size)

    def _count(self) -> int:
        return len(self.draws) if self.draws is not None and self.seed is not None else len(self.rows_R)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The table's rows of each batch; only the last may be smaller than the others."""
        size = self.batch_size
        if self.seed is None:
            return [self.rows_R[start : start + size] for start in range(0, len(self.rows_R), size)]
        places = (self.draws or Plain(len(self.rows_R))).drawn(self.seed, epoch)
        whole = len(places) // size
        number_B = np.arange(whole)
        if self.lengths_R is not None and self.window > 1 and whole > 1:
            places = np.concatenate([*self._alike(places, whole), places[whole * size :]])
            number_B = shuffles(whole, epoch, 1, self.seed, BATCHES, 0)[0]
        chosen = [places[number * size : (number + 1) * size] for number in number_B]
        rest = places[whole * size :]  # a sample of all lengths, as the rows that are left over after sorting would be the longest
        return [self.rows_R[part] for part in [*chosen, *([rest] if len(rest) else [])]]

    def _alike(self, places: np.ndarray, whole: int) -> list[np.ndarray]:
        """The whole batches' places, sorted by length within each window."""
        assert self.lengths_R is not None
        windows = [places[: whole * self.batch_size][at : at + self.window * self.batch_size] for at in self._starts(whole)]
        return [window[np.argsort(self.lengths_R[window], kind="stable")] for window in windows]

    def _starts(self, whole: int) -> range:
        return range(0, whole * self.batch_size, self.window * self.batch_size)


def padded_share(batches: list[np.ndarray], lengths_N: np.ndarray) -> float:
    """Share of what is computed for one input that is padding, where every batch is padded to its longest row.

    `lengths_N` has one length a row of the table, zero where a row lacks the input: nothing is computed for it.
    """
    real, computed = 0.0, 0.0
    for rows in batches:
        lengths = lengths_N[rows]
        real += float(lengths.sum())
        computed += float(lengths.max(initial=0.0)) * int(np.count_nonzero(lengths))
    return 1 - real / computed if computed else 0.0


def alike(lengths: Mapping[str, np.ndarray], rows_R: np.ndarray) -> np.ndarray:
    """One length a row of `rows_R` for all inputs together, each measured by its own mean; 0 where a row has none of them."""
    total_R = np.zeros(len(rows_R), np.float64)
    for lengths_N in lengths.values():
        chosen_R = lengths_N[rows_R].astype(np.float64)
        total_R += chosen_R / max(float(chosen_R[chosen_R > 0].mean()) if (chosen_R > 0).any() else 0.0, 1e-9)
    return total_R
