"""Encoders of sound from scratch: a CNN and a spectrogram transformer. Padding and the other rows change nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Packed
from triptych.layers.conv import ConvBlock, halved
from triptych.layers.pool import masked_mean
from triptych.layers.transformer import Block, sinusoids
from triptych.modalities.audio.settings import Cnn, Transformer


class CnnEncoder(Encoder):
    """Convolution blocks over (time, features); each step of time left becomes a token; pooled: mean plus maximum.

    Mean plus maximum over time: PANNs (Kong et al. 2020).
    """

    Settings = Cnn

    def __init__(self, settings: Cnn, *, features: int) -> None:
        """`features`: numbers a frame."""
        super().__init__(settings, features=features)
        channels, rows = 1, features
        self.convs = nn.ModuleList()
        for wide in settings.widths:
            self.convs.append(ConvBlock(channels, wide, settings.dropout))
            channels, rows = wide, -(-rows // 2)
        self.join = nn.Sequential(nn.Linear(channels * rows, settings.width), nn.GELU())
        self.width = settings.width

    @property
    def stride(self) -> int:
        """Every block halves time."""
        return 2 ** len(self.convs)

    def blocks(self) -> list[nn.Module]:
        """The convolution blocks, then the layer that joins all frequencies of a step."""
        return [*self.convs, self.join]

    def forward(self, packed: Packed) -> Encoded:
        """(P, T, F) -> tokens (P, ceil(T / 2^blocks), D)."""
        x_PCTF, mask_PT = packed.tensors["features"][:, None], _mask(packed)
        inner: dict[str, Tensor] = {}
        for n, conv in enumerate(self.convs):
            x_PCTF = conv(x_PCTF, mask_PT, zeroed=n > 0)
            mask_PT = halved(mask_PT)
            inner[f"block.{n}"] = x_PCTF
        tokens_PTD = self.join(x_PCTF.transpose(1, 2).flatten(2)) * mask_PT[:, :, None]
        inner[f"block.{len(self.convs)}"] = tokens_PTD
        return Encoded(tokens_PTD, mask_PT, masked_mean(tokens_PTD, mask_PT) + _masked_max(tokens_PTD, mask_PT), inner)


class TransformerEncoder(Encoder):
    """Patches of the spectrogram as tokens, in the order of time, then of frequency; pooled: their mean."""

    Settings = Transformer

    def __init__(self, settings: Transformer, *, features: int) -> None:
        """`features`: numbers a frame."""
        super().__init__(settings, features=features)
        self.patch = (settings.patch_frames, min(settings.patch_bins or features, features))
        self.bands, self.width = -(-features // self.patch[1]), settings.width
        self.stem = Stem(self.patch[0] * self.patch[1], self.bands, settings.width, settings.dropout)
        self.layers = nn.ModuleList(Block(settings.width, settings.heads, settings.dropout) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.width)

    @property
    def stride(self) -> int | None:
        """The frames of a patch; with several bands there are several tokens at one time."""
        return self.patch[0] if self.bands == 1 else None

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks; the patch layer counts with the first, the last norm with the last."""
        parts: list[list[nn.Module]] = [[layer] for layer in self.layers]
        parts[0].insert(0, self.stem)
        parts[-1].append(self.norm)
        return [nn.ModuleList(part) if len(part) > 1 else part[0] for part in parts]

    def forward(self, packed: Packed) -> Encoded:
        """(P, T, F) -> tokens (P, ceil(T / patch frames) x bands, D)."""
        frames_PT = _mask(packed)
        patches_PTNK, real_PT = self._patches(packed.tensors["features"].masked_fill(~frames_PT[:, :, None], 0.0), frames_PT)
        x_PTD = self.stem(patches_PTNK)
        mask_PT = real_PT.repeat_interleave(self.bands, 1)
        inner: dict[str, Tensor] = {"stem": x_PTD}
        for n, layer in enumerate(self.layers):
            x_PTD = layer(x_PTD, mask_PT)
            inner[f"block.{n}"] = x_PTD
        tokens_PTD = self.norm(x_PTD) * mask_PT[:, :, None]
        return Encoded(tokens_PTD, mask_PT, masked_mean(tokens_PTD, mask_PT), inner)

    def _patches(self, features_PTF: Tensor, frames_PT: Tensor) -> tuple[Tensor, Tensor]:
        """(P, T, F) -> patches (P, steps, bands, numbers of a patch) and which steps have a real frame (P, steps)."""
        tall, wide = self.patch
        short_T, short_F = -features_PTF.shape[1] % tall, self.bands * wide - features_PTF.shape[2]
        filled = F.pad(features_PTF, (0, short_F, 0, short_T))
        cut = filled.reshape(len(filled), -1, tall, self.bands, wide)
        real_PT = F.pad(frames_PT, (0, short_T)).reshape(len(filled), -1, tall).any(2)
        return cut.transpose(2, 3).flatten(3), real_PT


class Stem(nn.Module):
    """Patches as vectors, with the fixed code of their time and the learnt code of their band."""

    def __init__(self, numbers: int, bands: int, width: int, dropout: float) -> None:
        """`numbers` of one patch."""
        super().__init__()
        self.embed, self.drop = nn.Linear(numbers, width), nn.Dropout(dropout)
        self.band_ND = nn.Parameter(torch.randn(bands, width) * 0.02)

    def forward(self, patches_PTNK: Tensor) -> Tensor:
        """(P, steps, bands, numbers) -> (P, steps x bands, D)."""
        made_PTND = self.embed(patches_PTNK)
        at_T1D = sinusoids(made_PTND.shape[1], made_PTND.shape[3]).to(made_PTND)[:, None]
        placed_PTND: Tensor = self.drop(made_PTND + at_T1D + self.band_ND)
        return placed_PTND.flatten(1, 2)


def _mask(packed: Packed) -> Tensor:
    features_PTF = packed.tensors["features"]
    return torch.ones(features_PTF.shape[:2], dtype=torch.bool, device=features_PTF.device) if packed.mask_PT is None else packed.mask_PT


def _masked_max(tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
    return tokens_PTD.masked_fill(~mask_PT[:, :, None], torch.finfo(tokens_PTD.dtype).min).amax(1)


ENCODERS: dict[str, type[CnnEncoder] | type[TransformerEncoder]] = {"cnn": CnnEncoder, "transformer": TransformerEncoder}
