"""Mean average precision of boxes with a class and a confidence, as the COCO evaluation defines it (Lin et al. 2014).

Written out: the packages that have it speak of one modality throughout, and this is a page. Tests hold it to one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.objective.boxes import NOTHING, area, box_scores, pairwise_iou

LEAST = np.linspace(0.5, 0.95, 10)
"""IoU from which a box counts as found: .5, .55, ... .95."""
RECALLS = np.linspace(0, 1, 101)
"""At these recalls precision is read off."""
MOST = 100  # boxes of a class that count in one row, those of the highest confidence

WRONG, RIGHT, LEFT_OUT = 0, 1, 2

Array = np.ndarray[Any, np.dtype[Any]]


class Boxes(NamedTuple):
    """Boxes of one row: corners (N x 4) and class numbers (N).

    Those that a model found have `score_N`, how sure it is. Of those that are there, `crowd_N` may mark boxes around many things:
    what lies in one of them is neither right nor wrong.
    """

    box_N4: Tensor
    label_N: Tensor
    score_N: Tensor | None = None
    crowd_N: Tensor | None = None


def average_precision(found: Sequence[Boxes], there: Sequence[Boxes]) -> dict[str, float]:
    """`map` (the mean over IoU .5 to .95), `ap50` and `ap75`, each a mean over the classes that are there.

    Not numbers where no row has a box (crowds aside).

    Raises:
        InputError: rows do not match, or found boxes come without a confidence.
    """
    if len(found) != len(there):
        raise InputError(f"boxes were found in {len(found)} rows, and {len(there)} rows have the truth")
    if any(row.score_N is None for row in found):
        raise InputError("boxes that were found need a confidence each, by which they are ranked")
    labels = torch.cat([row.label_N[~_crowds(row)] for row in there]).unique().tolist() if there else []
    if not labels:
        return dict.fromkeys(("map", "ap50", "ap75"), float("nan"))
    mean_T = np.mean([_precision(found, there, label) for label in labels], axis=0)
    return {"map": float(mean_T.mean()), "ap50": float(mean_T[0]), "ap75": float(mean_T[5])}


def located_scores(told_N5: Tensor, truth_N4: Tensor) -> dict[str, float]:
    """Of one box a row with a confidence: `box_scores`, and the mean average precision (`map`) of COCO, where all are of one class.

    It counts for `map` whether the boxes that fit are those of the highest confidence.
    """
    label_1 = torch.zeros(1, dtype=torch.long)
    found = [Boxes(told_5[None, :4], label_1, told_5[None, 4]) for told_5 in told_N5]
    there = [Boxes(box_4[None], label_1) for box_4 in truth_N4]
    return box_scores(told_N5[:, :4], truth_N4) | {"map": average_precision(found, there)["map"]}


def _crowds(row: Boxes) -> Tensor:
    return torch.zeros_like(row.label_N, dtype=torch.bool) if row.crowd_N is None else row.crowd_N.bool()


def _precision(found: Sequence[Boxes], there: Sequence[Boxes], label: int) -> Array:
    """Average precision of one class at each IoU (T)."""
    rows = [_row(*pair, label) for pair in zip(found, there, strict=True)]
    order = np.argsort(-np.concatenate([score for score, _ in rows]), kind="stable")
    judged_TD = np.concatenate([judged for _, judged in rows], axis=1)[:, order]
    boxes = sum(int(((row.label_N == label) & ~_crowds(row)).sum()) for row in there)
    right_TD, counted_TD = (judged_TD == RIGHT).cumsum(1), (judged_TD != LEFT_OUT).cumsum(1)
    precision_TD = right_TD / np.maximum(counted_TD, 1)
    precision_TD = np.maximum.accumulate(precision_TD[:, ::-1], axis=1)[:, ::-1]  # the best that is had at this recall or more
    pairs = zip(right_TD / boxes, precision_TD, strict=True)
    return np.array([np.append(precision, 0.0)[np.searchsorted(recall, RECALLS)].mean() for recall, precision in pairs])


def _row(found: Boxes, there: Boxes, label: int) -> tuple[Array, Array]:
    """Confidences of the boxes of a class in one row, the surest first (D), and how each is judged (T x D)."""
    assert found.score_N is not None
    ours, theirs = found.label_N == label, there.label_N == label
    score_D = found.score_N[ours].double().cpu().numpy()
    order = np.argsort(-score_D, kind="stable")[:MOST]
    box_D4, crowd_M = found.box_N4[ours].double().cpu()[order.copy()], _crowds(there)[theirs].cpu()
    box_M4 = there.box_N4[theirs].double().cpu()
    judged_TD = _matched(pairwise_iou(box_D4, box_M4[~crowd_M]).numpy())
    inside_TD = (_inside(box_D4, box_M4[crowd_M]) >= LEAST[:, None, None]).any(-1)
    return score_D[order], np.where((judged_TD == WRONG) & inside_TD, LEFT_OUT, judged_TD)


def _matched(iou_DM: Array) -> Array:
    """Each box, the surest first, takes the free one that it covers best; of equals the last, as in COCO's program."""
    found, there = iou_DM.shape
    judged_TD = np.full((len(LEAST), found), WRONG)
    free_TM = np.ones((len(LEAST), there), dtype=bool)
    for number in range(found if there else 0):
        cover_TM = np.where(free_TM & (iou_DM[number] >= LEAST[:, None]), iou_DM[number], -1.0)
        best_T, hit_T = there - 1 - cover_TM[:, ::-1].argmax(1), cover_TM.max(1) >= 0
        judged_TD[hit_T, number] = RIGHT
        free_TM[hit_T, best_T[hit_T]] = False
    return judged_TD


def _inside(box_D4: Tensor, crowd_M4: Tensor) -> Array:
    """The share of each box that lies in each crowd (D x M)."""
    corners = [torch.maximum(box_D4[:, None, :2], crowd_M4[None, :, :2]), torch.minimum(box_D4[:, None, 2:], crowd_M4[None, :, 2:])]
    share: Array = (area(torch.cat(corners, -1)) / area(box_D4)[:, None].clamp(min=NOTHING)).numpy()
    return share
