"""A random part of a sequence is left out in training: what is not seen is not computed either."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd


class PatchDropout(_DropoutNd):
    """Leaves out a share `p` of each row's tokens while training (Li et al. 2022, "Scaling Language-Image Pre-training via Masking").

    It stands behind the codes of places, so that those that are left know where they were; they stay in their order. Each row
    loses tokens of its own, drawn from torch's generator as every dropout is, and keeps one at least. Nothing is scaled up for
    them: what follows takes means, not sums. In eval mode, and with `p` 0, all are seen.
    """

    def __init__(self, p: float = 0.0) -> None:
        """`p` may be another for a while: see `take`."""
        super().__init__(p)
        self.own = p

    def take(self, share: float | None) -> None:
        """Leave out another share from here on, or its own again (None); a module that leaves out nothing of its own never does."""
        self.p = self.own if share is None or not self.own else share

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, K, D) and its mask, real tokens first; None where there was none. A masked row's real tokens alone are drawn."""
        if not self.training or not self.p:
            return x_BTD, mask_BT
        places_BK, real_BK = self.drawn(torch.ones_like(x_BTD[..., 0], dtype=torch.bool) if mask_BT is None else mask_BT)
        return x_BTD.gather(1, places_BK[..., None].expand(-1, -1, x_BTD.shape[2])), None if mask_BT is None else real_BK

    def drawn(self, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Places that each row keeps, in their order, then any others up to the longest row's K; and which of them are kept (B, K)."""
        wanted_B = (mask_BT.sum(1) * (1 - self.p)).round().clamp(min=1)
        chance_BT = torch.rand(mask_BT.shape, device=mask_BT.device).masked_fill(~mask_BT, 2.0)
        kept_BT = (chance_BT.argsort(1).argsort(1) < wanted_B[:, None]) & mask_BT
        most = int(wanted_B.max()) if wanted_B.numel() else 1
        places_BK = (~kept_BT).byte().argsort(dim=1, stable=True)[:, :most]
        return places_BK, kept_BT.gather(1, places_BK)
