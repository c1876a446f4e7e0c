"""Transformer encoder blocks (pre-norm, as in ViT: Dosovitskiy et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of queries over keys; keys whose mask is false are never looked at."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """`width` must be divisible by `heads`."""
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, query_BQD: Tensor, keys_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Queries (B, Q, D) over keys (B, T, D) -> (B, Q, D). A row whose keys are all masked gets the output bias only.

        Without a mask all keys are real, and torch's quickest kernel has nothing to add to the products.
        """
        query = self._split(self.to_query(query_BQD))
        key, value = (self._split(x) for x in self.to_key_value(keys_BTD).chunk(2, dim=-1))
        if mask_BT is None:
            all_found = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout if self.training else 0.0)
            return self.out(all_found.transpose(1, 2).flatten(2))
        some_B111 = mask_BT.any(1)[:, None, None, None]
        allowed = mask_BT[:, None, None, :] | ~some_B111  # softmax over nothing is not a number
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0)
        found = found * some_B111
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Self-attention and a feed-forward layer of four times the width, each after a LayerNorm, each added to its input."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """`dropout` acts on the attention weights and on both branches."""
        super().__init__()
        self.norm_attend, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = Attention(width, heads, dropout)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, D); no mask where all are real."""
        normed = self.norm_attend(x_BTD)
        x_BTD = x_BTD + self.drop(self.attend(normed, normed, mask_BT))
        return x_BTD + self.drop(self.feed(self.norm_feed(x_BTD)))


class CrossBlock(nn.Module):
    """The same, with queries from one sequence and keys from another."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """See `Block`."""
        super().__init__()
        self.norm_query, self.norm_keys, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.attend = Attention(width, heads, dropout)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, query_BQD: Tensor, keys_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """(B, Q, D) over (B, T, D) -> (B, Q, D)."""
        query_BQD = query_BQD + self.drop(self.attend(self.norm_query(query_BQD), self.norm_keys(keys_BTD), mask_BT))
        return query_BQD + self.drop(self.feed(self.norm_feed(query_BQD)))


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed position code (T, D) of Vaswani et al. 2017: sines in the first half of the width, cosines in the second."""
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 2) / max(width // 2 - 1, 1))
    angles = torch.arange(length)[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
