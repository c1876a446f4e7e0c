"""Convolution blocks whose answer for a row does not depend on the other rows of its batch, nor on how far it was padded."""

from __future__ import annotations

from typing import cast

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

    def forward(self, x_BCHW: Tensor, rows_BH: Tensor | None = None, zeroed: bool = False) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2)).

        `rows_BH` marks the real rows of H where H is padded (frames of sound); padded rows are set to zero before the
        convolution (`zeroed`: they are) and kept out of the pooling, so that they act like the edge of the picture.
        """
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        if rows_BH is None:
            return self.drop(self.act(self.norm(self._pooled(self.conv(x_BCHW), None))))
        hidden = ~rows_BH[:, None, :, None]
        pooled = self._pooled(self.conv(x_BCHW if zeroed else x_BCHW.masked_fill(hidden, 0.0)), hidden)
        real = halved(rows_BH)[:, None, :, None]
        return self.drop(self.act(self.norm(pooled.masked_fill_(~real, 0.0))) * real)

    def _pooled(self, x_BCHW: Tensor, hidden: Tensor | None) -> Tensor:
        """The largest of each two by two, channels last; what is `hidden` is not looked at. Writes into what is given.

        Where nothing is learnt two halves are compared, along W and then H: torch's pooling also notes where the largest stood, and
        of a convolution of one channel, whose answer has its channels first, it takes twelve times as long.
        """
        least = torch.finfo(x_BCHW.dtype).min
        if torch.is_grad_enabled():
            x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
            return cast(Tensor, self.pool(x_BCHW if hidden is None else x_BCHW.masked_fill_(hidden, least)))
        half_BCHW = _largest(x_BCHW, 3)
        pooled_BCHW = _largest(half_BCHW if hidden is None else half_BCHW.masked_fill_(hidden, least), 2)
        return pooled_BCHW.contiguous(memory_format=torch.channels_last)


def _largest(x_BCHW: Tensor, axis: int) -> Tensor:
    """The larger of each two along an axis; of an odd number the last stays."""
    pairs = x_BCHW.shape[axis] // 2
    first, second = (x_BCHW[(slice(None),) * axis + (slice(start, 2 * pairs, 2),)] for start in (0, 1))
    larger = torch.maximum(first, second)
    return larger if 2 * pairs == x_BCHW.shape[axis] else torch.cat([larger, x_BCHW.narrow(axis, 2 * pairs, 1)], axis)


def halved(rows_BH: Tensor) -> Tensor:
    """The mask after one pooling by two: a row is real where either of its two was. (B, H) -> (B, ceil(H/2))."""
    return nn.functional.max_pool1d(rows_BH[:, None].float(), 2, ceil_mode=True)[:, 0] > 0
