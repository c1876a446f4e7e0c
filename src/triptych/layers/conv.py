"""Convolution blocks whose answer for a row does not depend on the other rows of its batch, nor on how far it was padded."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each position of (B, C, H, W), as in ConvNeXt (Liu et al. 2022).

    Unlike BatchNorm it gives a row the same answer in any batch, and unlike GroupNorm it does not see padded positions.
    """

    def __init__(self, channels: int) -> None:
        """Learns a scale and a shift a channel."""
        super().__init__()
        self.scale_C, self.shift_C = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        last_BHWC = x_BCHW.permute(0, 2, 3, 1)  # torch's own layer norm over a last axis: a quarter of the time of doing it by hand
        normed_BHWC = nn.functional.layer_norm(last_BHWC, (len(self.scale_C),), self.scale_C, self.shift_C, 1e-6)
        return normed_BHWC.permute(0, 3, 1, 2)


class ConvBlock(nn.Module):
    """3x3 convolution, 2x2 max pooling, ChannelNorm, GELU: halves height and width (rounding up).

    Pooling comes before the norm, which then has a quarter of the positions to work on, and channels come last in memory,
    as the norm and the CPU's convolutions like them: half the time of the usual order (docs/performance.md).
    """

    def __init__(self, channels_in: int, channels_out: int, dropout: float = 0.0) -> None:
        """`dropout` zeroes whole channels."""
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm, self.act = ChannelNorm(channels_out), nn.GELU()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, x_BCHW: Tensor, rows_BH: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2)).

        `rows_BH` marks the real rows of H where H is padded (frames of sound); padded rows are set to zero before the
        convolution and kept out of the pooling, so that they act like the edge of the picture.
        """
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        if rows_BH is None:
            return self.drop(self.act(self.norm(self.pool(self.conv(x_BCHW)))))
        hidden = ~rows_BH[:, None, :, None]
        made = self.conv(x_BCHW.masked_fill(hidden, 0.0))
        pooled = self.pool(made.masked_fill(hidden, torch.finfo(made.dtype).min))
        real = halved(rows_BH)[:, None, :, None]
        return self.drop(self.act(self.norm(pooled.masked_fill(~real, 0.0))) * real)


def halved(rows_BH: Tensor) -> Tensor:
    """The mask after one pooling by two: a row is real where either of its two was. (B, H) -> (B, ceil(H/2))."""
    return nn.functional.max_pool1d(rows_BH[:, None].float(), 2, ceil_mode=True)[:, 0] > 0
