"""From a sequence to one vector, over real tokens only."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_mean(tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the tokens whose mask is true; zero for a row that has none. Returns (B, D)."""
    weights_BT1 = mask_BT.unsqueeze(-1).to(tokens_BTD.dtype)
    return (tokens_BTD * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)


class AttentionPool(nn.Module):
    """One learnt query that looks over the real tokens (multi-head attention pooling, Lee et al. 2019, "Set Transformer")."""

    def __init__(self, width: int, heads: int) -> None:
        """`width` must be divisible by `heads`."""
        super().__init__()
        self.query_1D = nn.Parameter(torch.randn(1, width) * width**-0.5)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens_BTD, mask_BT) -> (pooled_BD, weights_BT); a row without any real token gives zeros."""
        some_B1 = mask_BT.any(1, keepdim=True)
        hidden_BT = ~(mask_BT | ~some_B1)  # a row with nothing may look anywhere: its answer is set to zero below
        query_B1D = self.query_1D.expand(len(tokens_BTD), -1, -1)
        pooled_B1D, weights_B1T = self.attend(query_B1D, tokens_BTD, tokens_BTD, key_padding_mask=hidden_BT)
        return pooled_B1D.squeeze(1) * some_B1, weights_B1T.squeeze(1) * some_B1
