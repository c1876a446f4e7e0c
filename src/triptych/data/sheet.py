"""What the data doctor has before it: a divided table, the facts of its values, and what the recipe asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from triptych.contract.examined import Finding, Ratio, Severity
from triptych.contract.modality import SIDES
from triptych.data.facts import Facts
from triptych.data.table import Table

EXAMPLES = 5


@dataclass(frozen=True)
class Asked:
    """What a recipe wants of its table."""

    classes: Mapping[str, str | None] = field(default_factory=dict)
    """{target column of classes: what stands between several in one cell}"""
    pairs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """{contrastive task that names no `positives`: the columns it brings together}"""
    written: Mapping[str, tuple[Ratio, ...]] = field(default_factory=dict)
    """{target column of answers in words: what the number of their characters is hardly ever out of proportion to}"""
    group: str | None = None
    split: str | None = None
    used: frozenset[str] = frozenset()
    """Every column the recipe names, inputs and split included."""


@dataclass
class Sheet:
    """The table's kept rows; `facts` follow their order."""

    table: Table
    facts: Facts
    asked: Asked

    @cached_property
    def ids(self) -> list[str]:
        """The id of every row."""
        return list(self.table.rows.ids())

    @cached_property
    def sides_N(self) -> np.ndarray:
        """Each row's side by its place in `SIDES`."""
        return np.array([SIDES.index(side) for side in self.table.splits], np.int8)

    def words(self, column: str) -> list[str | None]:
        """A column's cells as words; None where there is none."""
        return [None if cell is None else str(cell) for cell in self.table.rows.cells(column)]

    def numbered(self, column: str, rows: Sequence[int]) -> np.ndarray:
        """A number for the cell of each of some rows, equal where the cells are. Long texts are never laid side by side."""
        words, number = self.words(column), dict[str | None, int]()
        return np.array([number.setdefault(words[row], len(number)) for row in rows], np.intp)

    def finding(
        self, severity: Severity, code: str, text: str, fix: str = "", rows: Iterable[int] = (), count: int | None = None
    ) -> Finding:
        """With the first few of the rows as examples; `count` says how many there are where `rows` holds only some."""
        places = [int(place) for place in rows]
        return Finding(severity, code, text, fix, len(places) if count is None else count, tuple(self.ids[p] for p in places[:EXAMPLES]))


def listed(words: Iterable[str], most: int = 5) -> str:
    """`a, b, c and 4 more`; long ones are cut."""
    every = [word if len(word) <= 40 else f"{word[:37]}..." for word in words]
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
