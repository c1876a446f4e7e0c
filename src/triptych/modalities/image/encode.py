"""Encoders of square pictures, from scratch: cnn, vit, mobilenet.

Each is a row of steps. A step is a block as `last(N)` counts them: the first holds what the pixels enter by, and what
step n gives is kept by name as `block.n`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Packed
from triptych.layers.conv import ChannelNorm, ConvBlock
from triptych.layers.dropped import PatchDropout
from triptych.layers.transformer import Block, sinusoids
from triptych.modalities.image import settings as say


class _Steps(Encoder):
    """An encoder that is a row of steps, each from one tensor to the next."""

    steps: nn.ModuleList

    def blocks(self) -> list[nn.Module]:
        """The steps in order."""
        return list(self.steps)

    def through(self, packed: Packed) -> dict[str, Tensor]:
        """What each step gives, by name and in order."""
        x, inner = packed.tensors["pixels"], {}
        for number, step in enumerate(self.steps):
            x = inner[f"block.{number}"] = step(x)
        return inner


def _encoded(tokens_BTD: Tensor, pooled_BD: Tensor, inner: dict[str, Tensor]) -> Encoded:
    return Encoded(tokens_BTD, tokens_BTD.new_ones(tokens_BTD.shape[:2], dtype=torch.bool), pooled_BD, inner)


def _check(settings: say.Cnn | say.Vit | say.MobileNet, size: int) -> None:
    if clash := say.misfit(size, settings):
        raise InputError(clash[0].rstrip(";"), fix=clash[1])


class CnnEncoder(_Steps):
    """Convolutions with pooling, then flatten and dense. Tokens are the positions of the last map."""

    Settings = say.Cnn

    def __init__(self, settings: say.Cnn, channels: int, size: int) -> None:
        """`channels` and `size` (pixels) of the pictures."""
        super().__init__(settings, channels=channels, size=size)
        _check(settings, size)
        self.width = settings.width
        ins = (channels, *settings.widths[:-1])
        convs = [ConvBlock(a, b, settings.dropout) for a, b in zip(ins, settings.widths, strict=True)]
        side = math.ceil(size / 2 ** len(convs))
        last = SharedDense if settings.places == "shared" else FlattenDense
        self.steps = nn.ModuleList([*convs, last(settings.widths[-1], side * side, settings.width)])

    def forward(self, packed: Packed) -> Encoded:
        """Pixels (P, C, H, W) -> one token a position of the last map, pooled: the dense layer after GELU."""
        inner = self.through(packed)
        tokens_BTD = list(inner.values())[-1]
        return _encoded(tokens_BTD, F.gelu(tokens_BTD.sum(1) / math.sqrt(tokens_BTD.shape[1])), inner)


class FlattenDense(nn.Module):
    """The dense layer over a flattened map, kept apart by position.

    A dense layer's answer is a sum over positions t of W_t x_t. Each position's share, times sqrt(T), has the size of
    the whole answer and serves as a token; the sum of the tokens over sqrt(T) is the dense layer's answer. So fusion
    over tokens and fusion over the pooled vector train the same weights, and none lie idle.
    """

    def __init__(self, channels: int, positions: int, width: int) -> None:
        """As `nn.Linear(positions * channels, width)`, with its initial spread."""
        super().__init__()
        bound = 1 / math.sqrt(channels * positions)
        self.weight_TCD = nn.Parameter(torch.empty(positions, channels, width).uniform_(-bound, bound))
        self.bias_D = nn.Parameter(torch.zeros(width))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, D), T = H x W."""
        x_TBC = map_BCHW.flatten(2).permute(2, 0, 1)
        shares_TBD = torch.bmm(x_TBC, self.weight_TCD) * math.sqrt(len(self.weight_TCD))
        return shares_TBD.transpose(0, 1) + self.bias_D


class SharedDense(nn.Module):
    """One dense layer for all positions of a map, and each one's fixed code, as patches have it: red is red wherever it stands."""

    def __init__(self, channels: int, positions: int, width: int) -> None:
        """`positions` is a square number, `width` a multiple of 4."""
        super().__init__()
        self.dense = nn.Linear(channels, width)
        self.register_buffer("places_TD", _places(math.isqrt(positions), width), persistent=False)
        self.places_TD: Tensor

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, D), T = H x W."""
        tokens_BTD: Tensor = self.dense(map_BCHW.flatten(2).transpose(1, 2))
        return tokens_BTD + self.places_TD


def _places(side: int, width: int) -> Tensor:
    """Codes of a square's places, row by row (T, D): sines of the row in one half of the width, of the column in the other."""
    code_SD = sinusoids(side, width // 2)
    return torch.cat([code_SD.repeat_interleave(side, 0), code_SD.repeat(side, 1)], dim=1)


class VitEncoder(_Steps):
    """Vision Transformer. Tokens are the patches, row by row; pooled is their mean, which trains as well as a class token."""

    Settings = say.Vit

    def __init__(self, settings: say.Vit, channels: int, size: int) -> None:
        """`channels` and `size` (pixels) of the pictures."""
        super().__init__(settings, channels=channels, size=size)
        _check(settings, size)
        self.width = width = settings.width
        steps = [[_Everywhere(Block(width, settings.heads, settings.dropout))] for _ in range(settings.depth)]
        first, last = [Patches(channels, size, settings.patch, width, settings.patch_dropout)], [nn.LayerNorm(width)]
        self.steps = nn.ModuleList(
            nn.Sequential(*(first if n == 0 else []), *step, *(last if n == len(steps) - 1 else [])) for n, step in enumerate(steps)
        )

    def forward(self, packed: Packed) -> Encoded:
        """Pixels (P, C, H, W) -> one token a patch, pooled: their mean."""
        inner = self.through(packed)
        tokens_BTD = list(inner.values())[-1]
        return _encoded(tokens_BTD, tokens_BTD.mean(1), inner)


class Patches(nn.Module):
    """Cut into patches, project each, add its fixed place: sines of its row in one half of the width, of its column in the other."""

    def __init__(self, channels: int, size: int, patch: int, width: int, dropout: float = 0.0) -> None:
        """`patch` divides `size`; `width` is a multiple of 4; `dropout` is the share of patches that training does not see."""
        super().__init__()
        self.drop = PatchDropout(dropout)
        self.project = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("places_TD", _places(size // patch, width), persistent=False)
        self.places_TD: Tensor

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, T, D); fewer while training, with dropout."""
        patches_BTD: Tensor = self.project(pixels_BCHW).flatten(2).transpose(1, 2)
        seen_BKD, _ = self.drop(patches_BTD + self.places_TD)
        return seen_BKD


class _Everywhere(nn.Module):
    """A transformer block where every token is real."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x_BTD: Tensor) -> Tensor:
        made_BTD: Tensor = self.block(x_BTD, None)
        return made_BTD


# Table 2 of Sandler et al. 2018: expansion, channels, repeats, stride of the first. The stem before it halves too.
MOBILENET_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM, HALVINGS = 32, 5


class MobileNetEncoder(_Steps):
    """MobileNetV2 with ChannelNorm in place of BatchNorm. Tokens are the positions of the last map; pooled is their mean.

    The paper halves 224 pixels five times, to 7 x 7. Smaller pictures are halved less often, the early halvings left out,
    so that the last map has 4 x 4 positions or more; see `halvings`.
    """

    Settings = say.MobileNet

    def __init__(self, settings: say.MobileNet, channels: int, size: int) -> None:
        """`channels` and `size` (pixels) of the pictures."""
        super().__init__(settings, channels=channels, size=size)
        self.width = settings.width
        left_out = HALVINGS - halvings(size)
        made = scaled(STEM, settings.multiplier)
        stem = _conv(channels, made, 3, stride=1 if left_out > 0 else 2)
        blocks: list[nn.Module] = []
        halved = 1
        for expansion, planned, repeats, stride in MOBILENET_V2:
            halved += stride == 2
            first = stride if halved > left_out else 1
            for repeat in range(repeats):
                blocks.append(InvertedResidual(made, scaled(planned, settings.multiplier), first if repeat == 0 else 1, expansion))
                made = scaled(planned, settings.multiplier)
        last = nn.Sequential(*_conv(made, settings.width, 1), nn.Dropout2d(settings.dropout))
        self.steps = nn.ModuleList([nn.Sequential(stem, blocks[0]), *blocks[1:], last])

    def forward(self, packed: Packed) -> Encoded:
        """Pixels (P, C, H, W) -> one token a position of the last map, pooled: their mean."""
        inner = self.through(packed)
        tokens_BTD = list(inner.values())[-1].flatten(2).transpose(1, 2)
        return _encoded(tokens_BTD, tokens_BTD.mean(1), inner)


def halvings(size: int) -> int:
    """How often pictures of `size` pixels are halved: as often as leaves 4 or more a side, 5 times at most."""
    return min(HALVINGS, max(1, int(math.log2(size / 4))))


def scaled(channels: int, multiplier: float) -> int:
    """Channels times multiplier, rounded to a multiple of 8 and never down by more than a tenth (the paper's own code)."""
    rounded = max(8, int(channels * multiplier + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * multiplier else rounded


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, ChannelNorm(channels_out), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Widen (1x1), look around in each channel (3x3 depthwise), narrow again (1x1, linear); added to its input where shapes agree."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        """`expansion` 1 leaves the widening out."""
        super().__init__()
        hidden = channels_in * expansion
        widen = [_conv(channels_in, hidden, 1)] if expansion > 1 else []
        narrow = nn.Sequential(nn.Conv2d(hidden, channels_out, 1, bias=False), ChannelNorm(channels_out))
        self.body = nn.Sequential(*widen, _conv(hidden, hidden, 3, stride, groups=hidden), narrow)
        self.added = stride == 1 and channels_in == channels_out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        made_BCHW: Tensor = self.body(x_BCHW)
        return x_BCHW + made_BCHW if self.added else made_BCHW


ENCODERS = {"cnn": CnnEncoder, "vit": VitEncoder, "mobilenet": MobileNetEncoder}
