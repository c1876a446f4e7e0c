"""Scores of answers that are classes or labels; they are torchmetrics', over what can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.base.late import late_scores

late_scores()

from torchmetrics.functional.classification import (  # noqa: E402 the rest of it is not read
    binary_auroc,
    binary_average_precision,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multilabel_f1_score,
)

TOP = 5
BINS = 15  # of the calibration error, as in Guo et al. 2017


def classify_scores(probabilities_BC: Tensor, target_B: Tensor) -> dict[str, float]:
    """Of one class a row.

    `macro_f1` is the plain mean over classes that appear in the truth or the answers, `weighted_f1` the mean by rows of
    each class. `top5` is there from six classes on. `roc_auc` is the mean over classes of one class against the others;
    those that all rows have, or none has, are left out. `ece` is the expected calibration error in 15 bins.
    """
    classes = max(probabilities_BC.shape[1], 2)
    guess_B = probabilities_BC.argmax(1)
    f1 = {name: _at_most_one(multiclass_f1_score(guess_B, target_B, num_classes=classes, average=name)) for name in ("macro", "weighted")}
    scores = {"accuracy": float((guess_B == target_B).float().mean()), "macro_f1": f1["macro"], "weighted_f1": f1["weighted"]}
    if classes > TOP:
        among_B = (probabilities_BC.topk(TOP, dim=1).indices == target_B[:, None]).any(1)
        scores["top5"] = float(among_B.float().mean())
    truth_BC = torch.nn.functional.one_hot(target_B, classes)[:, : probabilities_BC.shape[1]]
    return {**scores, "roc_auc": roc_auc(probabilities_BC, truth_BC), "ece": calibration_error(probabilities_BC, target_B)}


def calibration_error(probabilities_BC: Tensor, target_B: Tensor) -> float:
    """Mean distance, over rows, between the confidence of a bin and its share of right answers."""
    if probabilities_BC.shape[1] < 2:
        return 0.0  # one class: always certain, always right
    return float(multiclass_calibration_error(probabilities_BC.float(), target_B, probabilities_BC.shape[1], n_bins=BINS, norm="l1"))


def roc_auc(probabilities_BC: Tensor, truth_BC: Tensor) -> float:
    """Mean over columns that hold both a right and a wrong row; not a number where none does."""
    both = [c for c in range(truth_BC.shape[1]) if 0 < int(truth_BC[:, c].sum()) < len(truth_BC)]
    return _mean([float(binary_auroc(probabilities_BC[:, c], truth_BC[:, c].long())) for c in both])


def given_of(probabilities_BC: Tensor, cut: float | Sequence[float]) -> Tensor:
    """Which labels count as given: those whose probability is above `cut`, one for all of them or one each."""
    return probabilities_BC > torch.as_tensor(cut, dtype=torch.float64, device=probabilities_BC.device)


def multilabel_scores(probabilities_BC: Tensor, target_BC: Tensor, cut: float | Sequence[float]) -> dict[str, float]:
    """Macro and micro F1, `exact` (the share of rows whose labels are all right), `map` (mean average precision), `roc_auc`.

    The last two do not depend on `cut`; labels that no row has are left out of `map`, those that all or none have of `roc_auc`.
    """
    truth, given = target_BC.long(), given_of(probabilities_BC, cut)
    labels = truth.shape[1]
    values = {
        f"{average}_f1": _at_most_one(multilabel_f1_score(given.long(), truth, labels, average=average)) for average in ("macro", "micro")
    }
    exact = (given == truth.bool()).all(1).float().mean()
    held = [c for c in range(labels) if int(truth[:, c].sum())]
    precision = _mean([float(binary_average_precision(probabilities_BC[:, c], truth[:, c])) for c in held])
    return {**values, "exact": float(exact), "map": precision, "roc_auc": roc_auc(probabilities_BC, truth)}


def _at_most_one(score: Tensor) -> float:
    """A sum of shares in float32 may end a little above one; of two epochs without a fault, neither is better."""
    return min(float(score), 1.0)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def confusion(probabilities_BC: Tensor, target_B: Tensor) -> list[list[int]]:
    """Counts, a row a true class, a column an answered one."""
    classes = probabilities_BC.shape[1]
    matrix: list[list[int]] = multiclass_confusion_matrix(probabilities_BC.argmax(1), target_B, num_classes=max(classes, 2)).tolist()
    return matrix


def per_class(right_BC: Tensor, given_BC: Tensor) -> list[dict[str, float | int | None]]:
    """For each class or label: precision, recall and F1, None where nothing was given or is there, and its `rows`.

    Args:
        right_BC: truth, bool.
        given_BC: answers, bool.
    """
    both, given, there = ((tensor.sum(0).tolist()) for tensor in (right_BC & given_BC, given_BC, right_BC))
    found: list[dict[str, float | int | None]] = []
    for hits, answered, rows in zip(both, given, there, strict=True):
        precision, recall = _share(hits, answered), _share(hits, rows)
        found.append({"rows": rows, "precision": precision, "recall": recall, "f1": _share(2 * hits, answered + rows)})
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def reliability(probabilities_BC: Tensor, target_B: Tensor) -> list[dict[str, Any]]:
    """Bins of confidence that hold rows: `confidence` and `accuracy` (means) and `rows`; their distance is what `ece` sums."""
    confidence_B, guess_B = probabilities_BC.max(1)
    right_B = (guess_B == target_B).double()
    bin_B = (confidence_B * BINS).ceil().long().clamp(1, BINS) - 1  # bins are closed above: 1.0 is in the last
    found = []
    for number in range(BINS):
        rows = bin_B == number
        if count := int(rows.sum()):
            means = {"confidence": float(confidence_B[rows].double().mean()), "accuracy": float(right_B[rows].mean())}
            found.append({**means, "rows": count})
    return found
