"""Encoders of films from scratch: a convolution network a frame, then a transformer or a GRU over the frames.

Padding and missing frames are never computed: the real frames of a whole batch go through the convolutions side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Packed
from triptych.layers.conv import ConvBlock
from triptych.layers.pool import masked_mean
from triptych.layers.transformer import Block, sinusoids
from triptych.modalities.video import settings as say


class _FilmEncoder(Encoder):
    """What both do with single frames."""

    layers: nn.ModuleList

    def __init__(self, settings: say.Transformer | say.Gru, *, channels: int, size: int) -> None:
        """`channels` and `size` (pixels) of the frames."""
        super().__init__(settings, channels=channels, size=size)
        self.width, side = settings.width, size
        self.convs = nn.ModuleList()
        for wide in settings.widths:
            self.convs.append(ConvBlock(channels, wide, settings.dropout))
            channels, side = wide, -(-side // 2)
        self.join = nn.Linear(channels * side * side, self.width)

    def blocks(self) -> list[nn.Module]:
        """The convolutions, then the layers over the frames; the dense layer between counts with the first of these."""
        return [*self.convs, nn.ModuleList([self.join, self.layers[0]]), *self.layers[1:]]

    def one_by_one(self, packed: Packed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Each frame as a vector (P, T, D), zero where it is not real; the mask; what each convolution gave for the real ones."""
        pixels_PTCHW = packed.tensors["pixels"]
        mask_PT = torch.ones(pixels_PTCHW.shape[:2], dtype=torch.bool) if packed.mask_PT is None else packed.mask_PT
        x_NCHW = pixels_PTCHW.flatten(0, 1)[mask_PT.flatten()]
        inner: dict[str, Tensor] = {}
        for number, conv in enumerate(self.convs):
            x_NCHW = inner[f"block.{number}"] = conv(x_NCHW)
        vectors_ND = self.join(x_NCHW.flatten(1))
        places_N = mask_PT.flatten().nonzero()[:, 0]
        spread = vectors_ND.new_zeros((mask_PT.numel(), self.width)).index_copy(0, places_N, vectors_ND)
        return spread.unflatten(0, mask_PT.shape), mask_PT, inner


class TransformerEncoder(_FilmEncoder):
    """Frames with the fixed code of their place; one token a frame, pooled: their mean."""

    Settings = say.Transformer

    def __init__(self, settings: say.Transformer, *, channels: int, size: int) -> None:
        """See `_FilmEncoder`."""
        super().__init__(settings, channels=channels, size=size)
        self.layers = nn.ModuleList(Block(self.width, settings.heads, settings.dropout) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(self.width)

    def blocks(self) -> list[nn.Module]:
        """The last norm counts with the last layer."""
        *first, last = super().blocks()
        return [*first, nn.ModuleList([last, self.norm])]

    def forward(self, packed: Packed) -> Encoded:
        """Pixels (P, T, C, H, W) -> tokens (P, T, D)."""
        x_PTD, mask_PT, inner = self.one_by_one(packed)
        x_PTD = x_PTD + sinusoids(x_PTD.shape[1], self.width).to(x_PTD)
        for number, layer in enumerate(self.layers, start=len(inner)):
            x_PTD = inner[f"block.{number}"] = layer(x_PTD, mask_PT)
        tokens_PTD = self.norm(x_PTD) * mask_PT[:, :, None]
        return Encoded(tokens_PTD, mask_PT, masked_mean(tokens_PTD, mask_PT), inner)


class GruEncoder(_FilmEncoder):
    """Frames read one after the other in both directions, missing ones passed over; pooled: the largest value of each channel."""

    Settings = say.Gru

    def __init__(self, settings: say.Gru, *, channels: int, size: int) -> None:
        """See `_FilmEncoder`. One network a layer, so that each layer can be frozen by itself."""
        super().__init__(settings, channels=channels, size=size)
        made = (nn.GRU(self.width, self.width // 2, batch_first=True, bidirectional=True) for _ in range(settings.depth))
        self.layers, self.drop = nn.ModuleList(made), nn.Dropout(settings.dropout)

    def forward(self, packed: Packed) -> Encoded:
        """Pixels (P, T, C, H, W) -> tokens (P, T, D)."""
        x_PTD, mask_PT, inner = self.one_by_one(packed)
        order_PT = (~mask_PT).long().argsort(dim=1, stable=True)  # real frames first, in their order
        lengths_P = mask_PT.sum(1).clamp(min=1).cpu()
        x_PTD = _picked(x_PTD, order_PT)
        for number, layer in enumerate(self.layers, start=len(inner)):
            run = pack_padded_sequence(self.drop(x_PTD), lengths_P, batch_first=True, enforce_sorted=False)
            x_PTD, _ = pad_packed_sequence(layer(run)[0], batch_first=True, total_length=x_PTD.shape[1])
            inner[f"block.{number}"] = x_PTD
        tokens_PTD = _picked(x_PTD, order_PT.argsort(dim=1)) * mask_PT[:, :, None]
        some_P1 = mask_PT.any(1, keepdim=True)
        pooled_PD = tokens_PTD.masked_fill(~(mask_PT | ~some_P1)[:, :, None], torch.finfo(tokens_PTD.dtype).min).amax(1)
        return Encoded(tokens_PTD, mask_PT, pooled_PD, inner)


def _picked(x_PTD: Tensor, order_PT: Tensor) -> Tensor:
    return x_PTD.gather(1, order_PT[:, :, None].expand(-1, -1, x_PTD.shape[2]))


ENCODERS: dict[str, type[TransformerEncoder] | type[GruEncoder]] = {"transformer": TransformerEncoder, "gru": GruEncoder}
