"""One question to a sequence whose steps lie at places: which of them it means, and so where."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from triptych.layers.transformer import CrossBlock, sinusoids

HEADS = 4


class Pointing(nn.Module):
    """A question (B, W) looks at the steps of a sequence (B, T, D), each with a code of its place, through some blocks -> (B, W)."""

    def __init__(self, width: int, sequence: int, places: int, depth: int, dropout: float = 0.0) -> None:
        """`sequence` is the width of the steps, `places` how many there are; `width` a multiple of 4."""
        super().__init__()
        self.norm = nn.LayerNorm(sequence)
        self.project = nn.Linear(sequence, width)
        self.place_TW = nn.Parameter(place_code(places, width))
        self.blocks = nn.ModuleList(CrossBlock(width, HEADS, dropout) for _ in range(depth))

    def forward(self, question_BW: Tensor, sequence_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """A row without a real step is answered from its question alone."""
        steps = torch.arange(sequence_BTD.shape[1], device=sequence_BTD.device) % len(self.place_TW)
        keys_BTW = self.project(self.norm(sequence_BTD)) + self.place_TW[steps]
        found_B1W = question_BW[:, None]
        for block in self.blocks:
            found_B1W = block(found_B1W, keys_BTW, mask_BT)
        return found_B1W[:, 0]


def place_code(places: int, width: int) -> Tensor:
    """Codes of places (T, W) to learn from: where they can be a square, row by row, half of the width says the row and half the column.

    One place more than a square, as in many vision transformers, is a summary that comes first and has no place.
    """
    extra = 1 if places > 1 and math.isqrt(places - 1) ** 2 == places - 1 else 0
    side = math.isqrt(places - extra)
    if side * side != places - extra:
        return sinusoids(places, width)
    along_SH = sinusoids(side, width // 2) if side > 1 else torch.zeros(1, width // 2)
    down, across = along_SH.repeat_interleave(side, 0), along_SH.repeat(side, 1)
    return torch.cat([torch.zeros(extra, width), torch.cat([down, across], 1)])
