"""Dense layers in a row."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(width_in: int, hidden: Sequence[int], width_out: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with GELU between them, each after dropout; with no hidden widths, one linear layer."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Dropout(dropout), nn.Linear(width_in, width), nn.GELU()]
        width_in = width
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(width_in, width_out))
