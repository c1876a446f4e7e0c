"""Boxes: their forms, how far two of them cover each other, and the loss that brings one to the other.

A box is four numbers. Inside triptych they are corners (`xyxy`: left, top, right, bottom), y downwards, in any unit that both
boxes share; shares of width and height (0 to 1) do for a loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.contract.boxes import Form, converted

__all__ = ["Form", "area", "as_shares", "box_scores", "converted", "giou", "giou_loss", "iou", "pairwise_iou"]

NOTHING = 1e-12
"""An area below this is none: of shares, a square whose side is a millionth. Dividing by less would give gradients without bounds."""


def as_shares(box_N4: Tensor, size_N2: Tensor) -> Tensor:
    """Boxes of any form in pixels or the like, as shares of the `size` (width, height) of what they lie in."""
    return box_N4 / torch.cat([size_N2, size_N2], -1)


def area(box_N4: Tensor) -> Tensor:
    """Areas of corners (...); none where right is left of left."""
    return (box_N4[..., 2:] - box_N4[..., :2]).clamp(min=0).prod(-1)


def iou(a_N4: Tensor, b_N4: Tensor) -> Tensor:
    """Intersection over union of corners, box by box (shapes broadcast); 0 where both are empty."""
    both, either = _covered(a_N4, b_N4)
    return _ratio(both, either)


def pairwise_iou(a_N4: Tensor, b_M4: Tensor) -> Tensor:
    """Intersection over union of each with each (N x M)."""
    return iou(a_N4[:, None], b_M4[None, :])


def giou(a_N4: Tensor, b_N4: Tensor) -> Tensor:
    """IoU less the share of the smallest box around both that neither covers; -1 to 1 (Rezatofighi et al. 2019)."""
    both, either = _covered(a_N4, b_N4)
    around = area(torch.cat([torch.minimum(a_N4, b_N4)[..., :2], torch.maximum(a_N4, b_N4)[..., 2:]], -1))
    return _ratio(both, either) - _ratio(around - either, around)


def giou_loss(guess_N4: Tensor, truth_N4: Tensor) -> Tensor:
    """1 - GIoU, a number a row, 0 to 2: it has a gradient also where the boxes do not meet. In float32 at least."""
    dtype = torch.promote_types(guess_N4.dtype, torch.float32)
    return 1 - giou(guess_N4.to(dtype), truth_N4.to(dtype))


def box_scores(guess_N4: Tensor, truth_N4: Tensor) -> dict[str, float]:
    """Of one box a row: mean `iou`, and the share of rows where it is at least a half (`right@50`), three quarters, nine tenths.

    The first share is what RefCOCO and Flickr30k Entities call accuracy. Not numbers where there are no rows.
    """
    found_N = iou(guess_N4.double(), truth_N4.double())
    return {"iou": float(found_N.mean()), **{f"right@{least}": float((found_N >= least / 100).double().mean()) for least in (50, 75, 90)}}


def _covered(a_N4: Tensor, b_N4: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union."""
    corners = torch.cat([torch.maximum(a_N4, b_N4)[..., :2], torch.minimum(a_N4, b_N4)[..., 2:]], -1)
    both = area(corners)
    return both, area(a_N4) + area(b_N4) - both


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    there = whole > NOTHING
    return torch.where(there, part / torch.where(there, whole, 1), 0)
