"""Where a label begins to count: a probability chosen from rows that were not trained on, by scikit-learn's precision-recall curve."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FALLBACK = 0.5
"""What stays where nothing can be chosen."""
FEW = 10
"""Rows that have a label, or lack it, below which what is chosen depends on single rows."""


@dataclass(frozen=True)
class Threshold:
    """One label's threshold, and what it gives on the rows it was chosen on."""

    label: str
    at: float
    rows: int
    """Rows that have the label."""
    precision: float | None
    recall: float | None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def chosen(label: str, truth_N: np.ndarray, probability_N: np.ndarray, rule: Any) -> Threshold:
    """The threshold of one label: a label counts where its probability is above.

    Args:
        label: its name.
        truth_N: which rows have it.
        probability_N: what the model says of them.
        rule: `f1` (the highest F1; of equal ones the lowest threshold), `{"precision": p}` (of all that reach it the highest recall) or
            `{"recall": r}` (of all that reach it the highest precision).

    What is chosen is a place on the curve, so a set of rows; the threshold lies halfway between the least probability in it and the
    next one below.
    """
    from sklearn.metrics import precision_recall_curve

    there = int(truth_N.sum())
    if not there or there == len(truth_N):
        why = f"{'no' if not there else 'every'} validation row has it: nothing to choose by, so it stays {FALLBACK}"
        return Threshold(label, FALLBACK, there, None, None, why)
    precision_T, recall_T, at_T = precision_recall_curve(truth_N, probability_N)
    precision_T, recall_T = precision_T[:-1], recall_T[:-1]  # the last place of the curve has no threshold
    place, note = _place(precision_T, recall_T, rule)
    if min(there, len(truth_N) - there) < FEW:
        fewer = f"{there} validation rows have it" if there < FEW else f"{len(truth_N) - there} validation rows lack it"
        note = "; ".join(filter(None, [note, f"chosen on few rows: {fewer}"]))
    below = probability_N[probability_N < at_T[place]]
    at = (float(at_T[place]) + (float(below.max()) if len(below) else 0.0)) / 2
    return Threshold(label, at, there, float(precision_T[place]), float(recall_T[place]), note)


def _place(precision_T: np.ndarray, recall_T: np.ndarray, rule: Any) -> tuple[int, str]:
    """Which place of the curve, its lowest threshold first; and what is to be said of it."""
    if rule == "f1":
        return int(np.argmax(f1_of(precision_T, recall_T))), ""
    ((wanted, least),) = rule.items()
    this_T, other_T = (precision_T, recall_T) if wanted == "precision" else (recall_T, precision_T)
    reach = this_T >= least
    if not reach.any():  # a recall is always reached: by all rows
        best = this_T.max()
        reach = this_T == best
        return int(np.argmax(np.where(reach, other_T, -1.0))), f"no threshold reaches a {wanted} of {least:g}: the nearest is {best:.3f}"
    return int(np.argmax(np.where(reach, other_T, -1.0))), ""


def f1_of(precision_T: np.ndarray, recall_T: np.ndarray) -> np.ndarray:
    """Their harmonic mean, 0 where both are."""
    total_T = precision_T + recall_T
    found: np.ndarray = 2 * precision_T * recall_T / np.where(total_T > 0, total_T, math.inf)
    return found
