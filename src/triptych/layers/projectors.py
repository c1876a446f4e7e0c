"""From a sequence of one width to one of another, which may be shorter: how what was encoded enters a decoder.

All have one signature: forward(tokens_BTD, mask_BT) -> (tokens_BUE, mask_BU). Padding never changes a row; what is masked is zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from triptych.base.errors import InputError, unknown_word
from triptych.layers.mlp import mlp
from triptych.layers.transformer import CrossBlock


def stacked(tokens_BTD: Tensor, mask_BT: Tensor, by: int) -> tuple[Tensor, Tensor]:
    """Each `by` neighbours side by side as one (B, ceil(T / by), by D), zeros where there are none; real where any of them is."""
    tokens_BTD = tokens_BTD * mask_BT[..., None]
    lacking = -tokens_BTD.shape[1] % by
    if lacking:
        tokens_BTD = nn.functional.pad(tokens_BTD, (0, 0, 0, lacking))
        mask_BT = nn.functional.pad(mask_BT, (0, lacking))
    return tokens_BTD.unflatten(1, (-1, by)).flatten(2), mask_BT.unflatten(1, (-1, by)).any(2)


class Projector(nn.Module, ABC):
    """Shortens a sequence by putting `shorten` neighbours side by side, and then projects it."""

    def __init__(self, width_in: int, width_out: int, shorten: int = 1) -> None:
        """From `width_in` to `width_out`; 1 leaves the length as it is."""
        super().__init__()
        self.shorten, self.width = shorten, width_out
        self.norm: nn.Module = nn.LayerNorm(width_in * shorten)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """See the module's text."""
        tokens_BTD, mask_BT = stacked(tokens_BTD, mask_BT, self.shorten)
        tokens_BUE, mask_BU = self.through(self.norm(tokens_BTD), mask_BT)
        return tokens_BUE * mask_BU[..., None], mask_BU

    @abstractmethod
    def through(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The projection itself."""


class Linear(Projector):
    """One dense layer (LLaVA, Liu et al. 2023)."""

    def __init__(self, width_in: int, width_out: int, shorten: int = 1) -> None:
        """See `Projector`."""
        super().__init__(width_in, width_out, shorten)
        self.dense: nn.Module = nn.Linear(width_in * shorten, width_out)

    def through(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """See `Projector.through`."""
        return self.dense(tokens_BTD), mask_BT


class Mlp(Linear):
    """Two dense layers of the width that goes out, GELU between them (LLaVA-1.5, Liu et al. 2024)."""

    def __init__(self, width_in: int, width_out: int, shorten: int = 1) -> None:
        """See `Projector`."""
        super().__init__(width_in, width_out, shorten)
        self.dense = mlp(width_in * shorten, [width_out], width_out)


class Resampler(Projector):
    """Learnt queries look at the sequence and one another, `layers` times: they are what comes out (Flamingo, Alayrac et al. 2022)."""

    def __init__(self, width_in: int, width_out: int, shorten: int = 1, *, queries: int = 64, layers: int = 2) -> None:
        """See `Projector`; heads of 64 numbers, where they divide the width."""
        super().__init__(width_in, width_out, shorten)
        heads = next(count for count in range(max(1, width_out // 64), 0, -1) if width_out % count == 0)
        self.to_width = nn.Linear(width_in * shorten, width_out)
        self.query_QE = nn.Parameter(torch.randn(queries, width_out) * width_out**-0.5)
        self.layers = nn.ModuleList(CrossBlock(width_out, heads) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width_out)

    def through(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """A row without any real token gives no real one."""
        tokens_BTE = self.to_width(tokens_BTD)
        found_BQE = self.query_QE.to(tokens_BTE.dtype).expand(len(tokens_BTE), -1, -1)
        mask_BQ = mask_BT.any(1, keepdim=True).expand(-1, found_BQE.shape[1])
        for layer in self.layers:
            found_BQE = layer(found_BQE, torch.cat([tokens_BTE, found_BQE], 1), torch.cat([mask_BT, mask_BQ], 1))
        return self.norm_out(found_BQE), mask_BQ


class AsItIs(Projector):
    """Nothing is changed: for a decoder that was trained with the encoder."""

    def __init__(self, width_in: int, width_out: int, shorten: int = 1) -> None:
        """Raises InputError where the widths differ."""
        if width_in != width_out or shorten != 1:
            what = f"projector none leaves a sequence as it is, {width_in} numbers a step, and the decoder takes {width_out}"
            raise InputError(what, where="fusion.projector", known=[kind for kind in PROJECTORS if kind != "none"], fix="projector: mlp")
        super().__init__(width_in, width_out)
        self.norm = nn.Identity()

    def through(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """See `Projector.through`."""
        return tokens_BTD, mask_BT


PROJECTORS: dict[str, type[Projector]] = {"linear": Linear, "mlp": Mlp, "resampler": Resampler, "none": AsItIs}


def projector(kind: str, width_in: int, width_out: int, shorten: int = 1, *, queries: int = 64, layers: int = 2) -> Projector:
    """The projector of that name; `queries` and `layers` are a resampler's.

    Raises:
        InputError: there is none of that name.
    """
    if kind == "resampler":
        return Resampler(width_in, width_out, shorten, queries=queries, layers=layers)
    if kind not in PROJECTORS:
        raise unknown_word("projector", kind, PROJECTORS)
    return PROJECTORS[kind](width_in, width_out, shorten)
