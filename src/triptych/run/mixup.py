"""Rows of a batch mixed in pairs (mixup: Zhang et al. 2018): their prepared inputs, and what is asked of them.

Losses of classes, labels and numbers are linear in what is asked, but for a part that no weight has a say in. So the loss of a mixed
row is the mean, with the same shares, of its losses for the two answers; and targets stay what they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from triptych.contract.values import Batch, Output, Packed
from triptych.objective.losses import Term, terms

SHARE = "share of the row itself"
PARTNER = "of the partner of "
"""Names among a batch's targets; no task can be called so, and they travel between processes as targets do."""


def mixed(batch: Batch, alpha: float) -> Batch:
    """The batch with every row mixed with a row that has the same inputs and answers, itself where there is no other.

    How much of each row stays is drawn from Beta(alpha, alpha), one number a batch. What is drawn comes from torch's global numbers,
    whose state a run keeps.
    """
    partner_B = _partners(batch)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    inputs = {name: _mixed(packed, _among(batch.present[name], partner_B), share) for name, packed in batch.inputs.items()}
    targets = {**batch.targets, SHARE: torch.full((len(batch),), share, device=partner_B.device)}
    for name, target in batch.targets.items():
        targets[PARTNER + name] = target[partner_B]
    return replace(batch, inputs=inputs, targets=targets)


def _partners(batch: Batch) -> Tensor:
    """For each row another one of its kind, each taken once."""
    kinds_BK = torch.stack([*batch.present.values(), *batch.has_target.values()], 1).cpu()
    partner_B = torch.arange(len(batch))
    for kind_K in kinds_BK.unique(dim=0):
        rows = (kinds_BK == kind_K).all(1).nonzero()[:, 0]
        partner_B[rows] = rows[torch.randperm(len(rows))]
    return partner_B.to(next(iter(batch.present.values())).device)


def _among(there_B: Tensor, partner_B: Tensor) -> Tensor:
    """Partners as places among the rows that have an input."""
    place_B = there_B.cumsum(0) - 1
    return place_B[partner_B[there_B]]


def _mixed(packed: Packed, partner_P: Tensor, share: float) -> Packed:
    """Each row with its partner; real is what is real in either."""
    tensors = {name: tensor.lerp(tensor[partner_P], 1 - share) for name, tensor in packed.tensors.items()}
    return Packed(tensors, None if packed.mask_PT is None else packed.mask_PT | packed.mask_PT[partner_P])


def mixed_terms(name: str, output: Output, batch: Batch, task: Any) -> dict[str, Term]:
    """What a task's loss on a mixed batch is made of; on one that is not mixed, what it always is."""
    rows_B = batch.has_target[name]
    own = terms(output, batch.targets[name], rows_B, task, batch.present)
    if SHARE not in batch.targets:
        return own
    share_B = batch.targets[SHARE]
    other = terms(output, batch.targets[PARTNER + name], rows_B, task, batch.present)
    return {part: Term(term.rows_B, torch.lerp(other[part].loss_P, term.loss_P, share_B[term.rows_B])) for part, term in own.items()}
