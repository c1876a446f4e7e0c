"""Scores: what people compare models by, each with its direction. Those of classes are torchmetrics'."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_f1_score, multilabel_f1_score

from triptych.contract.tasks import METRICS, Direction

CHUNK = 1024  # queries whose similarities are held at once: 1,024 x 100,000 answers are 400 MB


class Score(NamedTuple):
    """One figure: `task.metric`, measured `of` some inputs or in some direction ("" where that is all)."""

    task: str
    metric: str
    of: str
    value: float
    direction: Direction

    @property
    def name(self) -> str:
        """`digit.accuracy` or `match.recall@1 image->audio`; the name a recipe's `select` uses."""
        return self.task + (f".{self.metric}" if self.metric else "") + (f" {self.of}" if self.of else "")


def better(direction: Direction, new: float, old: float | None) -> bool:
    """Whether `new` beats `old`; a figure that is not a number beats nothing."""
    if new != new:
        return False
    return old is None or old != old or (new > old if direction == "higher" else new < old)


def as_scores(task: str, kind: str, of: str, values: dict[str, float]) -> list[Score]:
    """Named values of one task as scores with their directions."""
    return [Score(task, metric, of, value, METRICS[kind][metric]) for metric, value in values.items()]


def classify_scores(probabilities_BC: Tensor, target_B: Tensor) -> dict[str, float]:
    """Accuracy and macro F1; classes that appear neither in the truth nor in the answers do not count in the mean."""
    guess_B = probabilities_BC.argmax(1)
    f1 = multiclass_f1_score(guess_B, target_B, num_classes=max(probabilities_BC.shape[1], 2), average="macro")
    return {"accuracy": float((guess_B == target_B).float().mean()), "macro_f1": float(f1)}


def confusion(probabilities_BC: Tensor, target_B: Tensor) -> list[list[int]]:
    """Counts, a row a true class, a column an answered one."""
    classes = probabilities_BC.shape[1]
    matrix: list[list[int]] = multiclass_confusion_matrix(probabilities_BC.argmax(1), target_B, num_classes=max(classes, 2)).tolist()
    return matrix


def multilabel_scores(probabilities_BC: Tensor, target_BC: Tensor, threshold: float) -> dict[str, float]:
    """Macro and micro F1, and the share of rows whose labels are all right."""
    truth = target_BC.long()
    labels = truth.shape[1]
    values = {
        f"{average}_f1": float(multilabel_f1_score(probabilities_BC, truth, labels, threshold, average)) for average in ("macro", "micro")
    }
    exact = ((probabilities_BC > threshold) == truth.bool()).all(1).float().mean()
    return {**values, "exact": float(exact)}


def regress_scores(standard_B: Tensor, target_B: Tensor, unit: float) -> dict[str, float]:
    """Coefficient of determination and mean absolute error; both tensors are standardised, the error is told times `unit`.

    r2 = 1 - sum of squared errors / sum of squares about the mean, in float64; not a number for fewer than two different
    targets. torchmetrics calls sums below 1e-4 zero, and so every answer to small targets perfect.
    """
    guess_B, truth_B = standard_B.double(), target_B.double()
    spread = float((truth_B - truth_B.mean()).square().sum())
    r2 = 1 - float((guess_B - truth_B).square().sum()) / spread if len(truth_B) > 1 and spread > 0 else float("nan")
    return {"r2": r2, "mae": float((guess_B - truth_B).abs().mean()) * unit}


def recalls(query_QD: Tensor, answer_AD: Tensor, query_group_Q: Tensor, answer_group_A: Tensor) -> dict[str, float]:
    """Share of queries with an answer of their own group among the first 1, 5, 10; the similarity matrix is never whole.

    Queries whose group has no answer at all are left out; not a number where none is left.
    """
    ranks_Q = first_right(query_QD, answer_AD, query_group_Q, answer_group_A)
    ranks_Q = ranks_Q[ranks_Q < len(answer_AD)]
    if not len(ranks_Q):
        return {f"recall@{k}": float("nan") for k in (1, 5, 10)}
    return {f"recall@{k}": float((ranks_Q < k).float().mean()) for k in (1, 5, 10)}


def first_right(query_QD: Tensor, answer_AD: Tensor, query_group_Q: Tensor, answer_group_A: Tensor) -> Tensor:
    """For each query the rank (0 is first) of its best right answer; the number of answers A where it has none.

    An answer that ties with the right one, or is no number, counts as ranked before it: a collapsed space scores nothing.
    """
    ranks = []
    for chunk_QD, group_Q in zip(query_QD.split(CHUNK), query_group_Q.split(CHUNK), strict=True):
        with torch.autocast(chunk_QD.device.type, enabled=False):  # near ties are decided in float32
            similar_QA = chunk_QD @ answer_AD.T
        right_QA = group_Q[:, None] == answer_group_A[None, :]
        best_Q1 = similar_QA.masked_fill(~right_QA, -torch.inf).max(1, keepdim=True).values
        before_Q = (~(similar_QA < best_Q1) & ~right_QA).sum(1)
        ranks.append(torch.where(right_QA.any(1), before_Q, len(answer_AD)))
    return torch.cat(ranks)
