"""From the sequence of an encoder to that of a decoder: (tokens_BTD, mask_BT) -> (tokens_BTD, mask_BT), in another width and length."""

from __future__ import annotations

from torch import Tensor, nn


class Dense(nn.Module):
    """One dense layer, or two with GELU between them (LLaVA-1.5: Liu et al. 2023)."""

    def __init__(self, width: int, into: int, layers: int) -> None:
        """`layers` is 1 or 2."""
        super().__init__()
        more = [nn.GELU(), nn.Linear(into, into)] if layers == 2 else []
        self.dense = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, into), *more)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """See the module's text."""
        return self.dense(tokens_BTD), mask_BT


def projector(kind: str, width: int, into: int, *, shorten: int = 1, queries: int = 32, layers: int = 2) -> nn.Module:
    """The projector of that name."""
    return Dense(width, into, 2 if kind == "mlp" else 1)
