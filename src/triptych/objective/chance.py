"""Losses at chance: what an answer that does not look at its row has to pay. A loss that stays there has learnt nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from triptych.objective.boxes import iou
from triptych.objective.losses import Term, box_loss


class Bounds(NamedTuple):
    """The loss of the best constant answer, and the least there can be."""

    chance: float
    floor: float


def constant_answer(task: Any, target: Tensor, has: Tensor) -> Bounds:
    """Of a task with a target, over some rows; not a number where none has it.

    classify: the entropy of the class shares, ln C where all are as frequent; the floor is what label smoothing leaves.
    multilabel: the mean entropy of the labels. regress: the variance of the standardised target. ground: what the mean box pays.
    Not known of answers in writing, nor of a ctc, where it depends on how many frames a symbol has.
    """
    known = target[has]
    if task.kind == "prefer" and len(known):
        return Bounds(math.log(2), 0.0)
    if not len(known) or task.kind in ("generate", "ctc"):
        return Bounds(float("nan"), 0.0)
    if task.kind == "classify":
        shares_C = torch.bincount(known).double() / len(known)
        classes, smooth = len(shares_C), task.label_smoothing
        told_C = torch.full((classes,), smooth / classes, dtype=torch.float64)
        told_C[0] += 1 - smooth
        return Bounds(_entropy(shares_C * (1 - smooth) + smooth / classes), _entropy(told_C))
    if task.kind == "multilabel":
        shares_C = known.double().mean(0)
        return Bounds(sum(_entropy(torch.stack([p, 1 - p])) for p in shares_C) / len(shares_C), 0.0)
    if task.kind == "ground":
        mean_N4 = known.double().mean(0).expand_as(known)
        fits = float(iou(mean_N4, known.double()).mean())
        paid = float(box_loss(mean_N4, known.double(), task.l1, task.giou).mean())
        return Bounds(paid + task.sure * _entropy(torch.tensor([fits, 1 - fits], dtype=torch.float64)), 0.0)
    return Bounds(float(known.double().var(correction=0)), 0.0)


def of_contrast(task: Any, found: Mapping[str, Term], group_B: Tensor) -> Bounds:
    """Of one batch: all similarities are equal, and the mean over pairs of inputs is taken.

    softmax: ln P for P rows, whatever belongs together; the floor is the mean ln of how many do. sigmoid: P times the entropy of
    the share of right pairs.
    """
    pairs = [_pair(task, group_B[term.rows_B]) for term in found.values()]
    if not pairs:
        return Bounds(float("nan"), 0.0)
    chance_N, floor_N = torch.tensor(pairs, dtype=torch.float64).T
    return Bounds(float(chance_N.mean()), float(floor_N.mean()))


def _pair(task: Any, group_P: Tensor) -> tuple[float, float]:
    count_G = group_P.unique(return_counts=True)[1].double()
    rows = float(count_G.sum())
    if task.form == "sigmoid":
        right = float(count_G.square().sum()) / rows**2
        return rows * _entropy(torch.tensor([right, 1 - right], dtype=torch.float64)), 0.0
    return float(torch.tensor(rows).log()), float((count_G * count_G.log()).sum() / rows)


def _entropy(shares: Tensor) -> float:
    """In nats."""
    return float(torch.special.entr(shares).sum())
