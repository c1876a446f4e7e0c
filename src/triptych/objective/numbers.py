"""Scores of answers that are numbers."""

from __future__ import annotations

from torch import Tensor


def regress_scores(standard_B: Tensor, target_B: Tensor, unit: float) -> dict[str, float]:
    """Coefficient of determination, mean absolute and root mean squared error; both tensors are standardised.

    Errors are told times `unit`. r2 = 1 - sum of squared errors / sum of squares about the mean, in float64; not a number
    for fewer than two different targets. torchmetrics calls sums below 1e-4 zero, and so every answer to small targets perfect.
    """
    guess_B, truth_B = standard_B.double(), target_B.double()
    error_B = guess_B - truth_B
    spread = float((truth_B - truth_B.mean()).square().sum())
    r2 = 1 - float(error_B.square().sum()) / spread if len(truth_B) > 1 and spread > 0 else float("nan")
    return {"r2": r2, "mae": float(error_B.abs().mean()) * unit, "rmse": float(error_B.square().mean().sqrt()) * unit}
