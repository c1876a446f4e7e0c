"""The forms that a box is written in: what data, heads and losses must agree on. Inside triptych boxes are corners."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Form = Literal["xyxy", "xywh", "cxcywh"]
"""Corners; left, top, width, height (as COCO writes them); middle, width, height (as heads learn them)."""


def converted(box_N4: Tensor, of: Form, to: Form) -> Tensor:
    """The same boxes in another form; any shape (... x 4)."""
    if of == to:
        return box_N4
    first_N2, second_N2 = box_N4[..., :2], box_N4[..., 2:]
    if of != "xyxy":
        first_N2 = first_N2 - second_N2 / 2 if of == "cxcywh" else first_N2
        second_N2 = first_N2 + second_N2
    size_N2 = second_N2 - first_N2
    parts = {"xyxy": (first_N2, second_N2), "xywh": (first_N2, size_N2), "cxcywh": ((first_N2 + second_N2) / 2, size_N2)}
    return torch.cat(parts[to], -1)


def seen_from(box_N4: Tensor, frame_N4: Tensor) -> Tensor:
    """Corners as shares of a frame (left, top, width, height in the same unit): where they lie in what a preparation made of a value."""
    corner_N2, size_N2 = frame_N4[..., :2], frame_N4[..., 2:]
    return torch.cat([(box_N4[..., :2] - corner_N2) / size_N2, (box_N4[..., 2:] - corner_N2) / size_N2], -1)


def put_back(box_N4: Tensor, frame_N4: Tensor) -> Tensor:
    """The way back from `seen_from`: corners in the frame's unit."""
    corner_N2, size_N2 = frame_N4[..., :2], frame_N4[..., 2:]
    return torch.cat([box_N4[..., :2] * size_N2 + corner_N2, box_N4[..., 2:] * size_N2 + corner_N2], -1)
