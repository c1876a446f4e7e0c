"""The modality gap: how far apart the embeddings of two columns lie as clouds, whatever their rows say."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F


class Gap(NamedTuple):
    """Of two columns on the unit sphere, over the rows that have both.

    `distance` of the two centroids (Liang et al. 2022, section 2). `share` of the mean squared distance of partners that is
    this one shift, the same for all rows: |mean(a) - mean(b)|^2 / mean(|a - b|^2), from 0 to 1. Rows drawn from one cloud
    have a share near 1 / rows.
    """

    distance: float
    share: float
    rows: int


def gap(a_ND: Tensor, b_ND: Tensor) -> Gap:
    """The gap of N pairs of embeddings of any length; not a number without a pair.

    Neither way is better: a gap can help retrieval or hurt it. It says why the nearest of all rows is of the same column.
    """
    a, b = F.normalize(a_ND.double(), dim=-1), F.normalize(b_ND.double(), dim=-1)
    if not len(a):
        return Gap(float("nan"), float("nan"), 0)
    shift = (a.mean(0) - b.mean(0)).square().sum()
    apart = (a - b).square().sum(1).mean()
    return Gap(float(shift.sqrt()), float(shift / apart) if float(apart) > 0 else 0.0, len(a))
