"""The same value in several rows: on two sides of the split it is a leak, in a contrastive task a false negative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from triptych.contract.examined import Finding
from triptych.contract.modality import SIDES
from triptych.data.facts import ColumnFacts
from triptych.data.near import clusters
from triptych.data.sheet import Sheet

WORDS = 0.2
"""Share of a column's cells that repeat another, from which they are taken for a vocabulary (class names, set phrases)."""
SERIOUS = 0.01
"""Share of the judged rows with a copy among the training rows from which scores mislead."""
COMMON = 0.05
"""Share of rows with shared values from which contrastive learning suffers: a batch of 64 holds three of them."""


@dataclass(frozen=True)
class Copies:
    """A column's values: the row of each, and a number that is equal for copies."""

    column: str
    rows_V: np.ndarray
    copy_V: np.ndarray
    vocabulary: bool
    """Whether its cells are values themselves, and often repeat: then equal ones say nothing of where they came from."""

    @staticmethod
    def of(column: str, seen: ColumnFacts, sheet: Sheet) -> Copies:
        """Found by content and by sketch; a vocabulary is not searched for near-duplicates."""
        content_V = np.array(seen.content)
        repeated = 1 - len(np.unique(content_V)) / len(content_V)
        vocabulary = not seen.room.by_reference and repeated > WORDS
        sketched = np.array([] if vocabulary else seen.sketched, np.intp)
        sketches_SS = seen.sketches_NS()[: len(sketched)]
        return Copies(column, np.array(seen.rows, np.intp), clusters(content_V, sketched, sketches_SS, seen.room.alike), vocabulary)

    def of_several(self, parts_V: np.ndarray) -> np.ndarray:
        """Which values have a copy that is of another part (a side, a cell) than they themselves."""
        pairs = np.unique(np.stack([self.copy_V, parts_V]), axis=1)
        different, count = np.unique(pairs[0], return_counts=True)
        return np.isin(self.copy_V, different[count > 1])


def copies(sheet: Sheet, held: Copies) -> Iterator[Finding]:
    """Leaks, and copies under several names on one side."""
    if held.vocabulary or len(held.rows_V) < 2:
        return
    train_V = sheet.sides_N[held.rows_V] == SIDES.index("train")
    leaked_V = held.of_several(train_V.astype(np.intp))
    judged = int((leaked_V & ~train_V).sum())
    if judged:
        share = judged / max(1, int((~train_V).sum()))
        text = (
            f"{held.column}: {judged} of the validation and test rows ({share:.1%}) have a copy or near-copy among the training rows;"
            " what was learnt by heart will count as understood"
        )
        fix = "remove the copies, or give copies one name in a column and set data.split.group to it"
        yield sheet.finding("error" if share >= SERIOUS else "warning", "leak", text, fix, _paired(held, leaked_V, ~train_V), judged)
    name_V = sheet.numbered(held.column, held.rows_V.tolist())
    twice_V = held.of_several(name_V) & ~leaked_V
    if twice_V.any():
        many = len(np.unique(held.copy_V[twice_V]))
        text = f"{held.column}: copies or near-copies of each other under different names ({many} different ones)"
        fix = "keep one of each, unless they are meant to weigh more"
        yield sheet.finding("note", "copies", text, fix, _paired(held, twice_V, twice_V), int(twice_V.sum()))


def _paired(held: Copies, chosen_V: np.ndarray, first_V: np.ndarray) -> list[int]:
    """Rows as examples, copies beside each other: one of `first_V`, then another of its cluster."""
    examples: list[int] = []
    for number in dict.fromkeys(held.copy_V[chosen_V & first_V][:8].tolist()):
        members = chosen_V & (held.copy_V == number)
        first = np.flatnonzero(members & first_V)[:1]
        rest = np.flatnonzero(members & (~first_V if (members & ~first_V).any() else first_V))
        examples += held.rows_V[[*first, *[place for place in rest if place not in first][:1]]].tolist()
    return examples[:4]


def shared(sheet: Sheet) -> Iterator[Finding]:
    """Contrastive tasks whose rows share a value: each counts as the other's negative though both are right."""
    for task, columns in sheet.asked.pairs.items():
        for column, seen in sheet.facts:
            if column not in columns:
                continue
            _, number_V, count = np.unique(np.array(seen.content), return_inverse=True, return_counts=True)
            several_V = count[number_V] > 1
            if several_V.any():
                share = float(several_V.mean())
                text = (
                    f"task {task}: {share:.0%} of the rows share their {column} with another row, which counts as wrong though it is right"
                )
                fix = f"set tasks.{task}.positives: {column}, or a column that names what they share"
                rows = np.array(seen.rows)[several_V]
                yield sheet.finding("warning" if share >= COMMON else "note", "shared", text, fix, rows)
