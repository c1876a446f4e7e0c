"""How often rows are drawn: by class, source or any column, flattened by a temperature; written down as a plan.

Each group gives a fixed number of rows an epoch. Within it rows are drawn without replacement: every row of it was seen
before any is seen again, over the borders of epochs too. The draw of an epoch is known from seed and epoch alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.data.order import GROUPS, SLOTS, shuffles
from triptych.data.settings import MODALITY, SOURCE, BalanceSettings
from triptych.data.table import Table

NONE = "(none)"
FEWEST = 2
"""Rows a group on average, from which grouping says something: below, nearly every row is a group of its own."""


@dataclass(frozen=True)
class Share:
    """One group: its training rows, their share, the rows drawn of it an epoch, their share, and how often one row is seen."""

    group: str
    rows: int
    share: float
    drawn: int
    drawn_share: float
    seen: float


@dataclass(frozen=True)
class Plan:
    """Implements `order.Draws`. `members` are places among the training rows; `counts` the rows drawn of each an epoch."""

    by: str
    names: list[str]
    members: list[np.ndarray]
    counts: list[int]

    def __len__(self) -> int:
        return sum(self.counts)

    def drawn(self, seed: int, epoch: int) -> np.ndarray:
        """See `Draws`."""
        parts = [
            rows_G[_next(len(rows_G), epoch * count, count, seed, GROUPS, number)]
            for number, (rows_G, count) in enumerate(zip(self.members, self.counts, strict=True))
        ]
        return np.concatenate(parts)[shuffles(len(self), epoch, 1, seed, SLOTS, 0)[0]]

    def shares(self) -> list[Share]:
        """The plan as a table, a row a group."""
        rows, drawn = sum(map(len, self.members)), len(self)
        return [
            Share(name, len(group), len(group) / rows, count, count / drawn, count / len(group))
            for name, group, count in zip(self.names, self.members, self.counts, strict=True)
        ]

    def lines(self, most: int = 20) -> list[str]:
        """The plan as people read it, its largest groups first."""
        shares = sorted(self.shares(), key=lambda share: -share.rows)
        width = max(len("group"), *(len(share.group) for share in shares[:most]))
        head = f"{'group':<{width}}  {'rows':>9}  {'share':>6}  {'drawn':>9}  {'share':>6}  {'a row is seen':>13}"
        told = [
            f"{s.group:<{width}}  {s.rows:>9,}  {s.share:>6.1%}  {s.drawn:>9,}  {s.drawn_share:>6.1%}  {s.seen:>7.2f} times"
            for s in shares[:most]
        ]
        return [head, *told, *([f"and {len(shares) - most} more groups"] if len(shares) > most else [])]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"by": self.by, "rows": len(self), "groups": [asdict(share) for share in self.shares()]}


def _next(rows: int, start: int, count: int, *key: int) -> np.ndarray:
    """Draws number `start` and the `count - 1` after it from an endless row of shuffled decks of `rows`."""
    first, last = start // rows, (start + count - 1) // rows
    return shuffles(rows, first, last - first + 1, *key).reshape(-1)[start - first * rows :][:count]


def sampling_plan(
    table: Table, words: BalanceSettings | None, weights: Mapping[str, float], inputs: Mapping[str, str], rows_R: Sequence[int]
) -> Plan | None:
    """The plan for some rows of a table; None where every row is to come once an epoch.

    A group of n rows is drawn in proportion to n to the power of the temperature (Conneau and Lample 2019, who call it
    alpha). Within a group, and without one, a row of a source of weight 2 is drawn twice as often as one of weight 1.

    Args:
        table: divided rows.
        words: `data.balance` of a recipe, if it has it.
        weights: of several sources, by name; empty for one.
        inputs: {input: column}.
        rows_R: the rows to draw from.

    Raises:
        InputError: there is no such column, or nearly every row has a value of its own there.
    """
    weighted = len(set(weights.values())) > 1
    if words is None and not weighted:
        return None
    by = words.by if words else SOURCE
    value_R = _values(table, by, inputs, rows_R)
    sources = list(table.rows.cells(SOURCE)) if weighted else []
    source_R = [NONE if sources[row] is None else str(sources[row]) for row in rows_R] if weighted else [""] * len(rows_R)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, key in enumerate(zip(value_R, source_R, strict=True)):
        groups[key].append(place)
    different = {value for value, _ in groups}
    if words and len(different) > 20 and len(rows_R) < FEWEST * len(different):
        what = f"data.balance.by: {by} has {len(different)} different values in {len(rows_R)} training rows; there is nothing to balance"
        raise InputError(what, where=table.source, known=[name for name in table.columns if name != by])
    keys = sorted(groups)
    members = [np.array(groups[key], np.int64) for key in keys]
    shares = _shares(keys, list(map(len, members)), weights, words.temperature if words else 1.0)
    asked = words.epoch if words and words.epoch else len(rows_R)
    named = [source if by == SOURCE else f"{value} of {source}" if source else value for value, source in keys]
    return Plan(by, named, members, apportioned(shares, max(asked, len(keys))))


def _values(table: Table, by: str, inputs: Mapping[str, str], rows_R: Sequence[int]) -> list[str]:
    """What each row is grouped by, as a word."""
    if by == MODALITY:
        there = {name: table.has(column) for name, column in inputs.items()}
        return [" + ".join(name for name, has in there.items() if has[row]) for row in rows_R]
    table.require(by, "data.balance.by")
    cells = list(table.rows.cells(by))
    return [NONE if cells[row] is None else str(cells[row]) for row in rows_R]


def _shares(keys: Sequence[tuple[str, str]], rows: Sequence[int], weights: Mapping[str, float], temperature: float) -> np.ndarray:
    """The share of the draws of each (value, source): of the value by the temperature, within it by rows times weight."""
    within_G = np.array([count * weights.get(source, 1.0) for (_, source), count in zip(keys, rows, strict=True)])
    values, number_G = np.unique([value for value, _ in keys], return_inverse=True)
    rows_V = np.bincount(number_G, rows, len(values))
    weight_V = np.bincount(number_G, within_G, len(values))
    # A source that is a group itself keeps its weight beside the temperature.
    own_V = weight_V / rows_V if all(value in weights for value in values) else np.ones(len(values))
    share_V = own_V * rows_V**temperature
    return (share_V / share_V.sum())[number_G] * within_G / weight_V[number_G]


def apportioned(shares: np.ndarray, total: int) -> list[int]:
    """Whole numbers near `shares` of `total`, which they add up to (largest remainders); none is zero.

    `total` is at least the number of shares. Where some shares are of less than one, the others give what those lack.
    """
    beyond = np.maximum(shares * total - 1, 0)
    beyond = beyond if beyond.any() else np.ones(len(shares))
    exact = beyond / beyond.sum() * (total - len(shares))
    whole = np.floor(exact + 1e-9)
    first = np.argsort(whole - exact, kind="stable")
    whole[first[: total - len(shares) - int(whole.sum())]] += 1
    return [1 + int(count) for count in whole]
