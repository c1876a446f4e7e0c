"""Losses: (output, target) -> one number, in float32.

Every kind of task has one signature, `loss(output, target_B, rows_B, settings) -> scalar`, where `rows_B` marks the rows
that have the target. A batch in which no row has it gives a zero that still has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.contract.values import Output


def contrastive_softmax(a_BD: Tensor, b_BD: Tensor, scale: Tensor, same_BB: Tensor) -> Tensor:
    """InfoNCE both ways (CLIP, Radford et al. 2021), with any number of positives a row.

    `same_BB` marks the pairs that belong together (the diagonal at least). With several, the answer wanted of a row is
    spread evenly over them (as in supervised contrastive learning, Khosla et al. 2020, their L_out).
    """
    logits_BB = scale * a_BD @ b_BD.T
    same_BB = same_BB.to(logits_BB.dtype)
    forth = -(same_BB * logits_BB.log_softmax(1)).sum(1) / same_BB.sum(1)
    back = -(same_BB * logits_BB.log_softmax(0)).sum(0) / same_BB.sum(0)
    return 0.5 * (forth.mean() + back.mean())


def contrastive_sigmoid(a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, same_BB: Tensor) -> Tensor:
    """Every pair judged for itself (SigLIP, Zhai et al. 2023): the sum over pairs divided by the number of rows."""
    logits_BB = scale * a_BD @ b_BD.T + bias
    sign_BB = 2.0 * same_BB.to(logits_BB.dtype) - 1.0
    return -F.logsigmoid(sign_BB * logits_BB).sum() / len(a_BD)


def _classify(output: Output, target_B: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    return F.cross_entropy(output["logits_BC"][rows_B], target_B[rows_B], label_smoothing=settings.label_smoothing)


def _multilabel(output: Output, target_BC: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(output["logits_BC"][rows_B], target_BC[rows_B])


def _regress(output: Output, target_B: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    return F.mse_loss(output["standard_B"][rows_B], target_B[rows_B])


def contrast_pairs(output: Output, groups_B: Tensor, settings: Any, present: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """The loss of each pair of columns over the rows that have both; pairs that fewer than two rows have are left out.

    `groups_B` holds a number a row; equal numbers belong together. Products are in float32 whatever the model computes in:
    at a scale of 100, bf16 would be off by a quarter.
    """
    with torch.autocast(groups_B.device.type, enabled=False):
        return _pairs(output, groups_B, settings, present)


def rows_judged(settings: Any, rows_B: Tensor, present: Mapping[str, Tensor]) -> int:
    """How many rows of a batch its loss is of, for means over batches: those with a target, or with two inputs to bring together."""
    if settings.kind != "contrast":
        return int(rows_B.sum())
    pairs = [both_B for a, b in combinations(settings.between, 2) if int((both_B := present[a] & present[b]).sum()) > 1]
    return int(torch.stack(pairs).any(0).sum()) if pairs else 0


def _pairs(output: Output, groups_B: Tensor, settings: Any, present: Mapping[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    terms = {}
    for a, b in combinations(settings.between, 2):
        both_B = present[a] & present[b]
        if int(both_B.sum()) < 2:
            continue
        groups = groups_B[both_B]
        pair = output[f"embedding.{a}_BD"][both_B], output[f"embedding.{b}_BD"][both_B]
        same_BB = groups[:, None] == groups[None, :]
        if settings.form == "sigmoid":
            terms[a, b] = contrastive_sigmoid(*pair, output["scale"], output["bias"], same_BB)
        else:
            terms[a, b] = contrastive_softmax(*pair, output["scale"], same_BB)
    return terms


Loss = Callable[[Output, Tensor, Tensor, Any], Tensor]
_LOSSES: dict[str, Loss] = {"classify": _classify, "multilabel": _multilabel, "regress": _regress}


def task_loss(output: Output, target: Tensor, rows_B: Tensor, settings: Any, present: Mapping[str, Tensor]) -> Tensor:
    """The unweighted loss of one task on one batch."""
    if settings.kind == "contrast":
        terms = list(contrast_pairs(output, target, settings, present).values())
        return torch.stack(terms).mean() if terms else _zero(output)
    return _LOSSES[settings.kind](output, target, rows_B, settings) if bool(rows_B.any()) else _zero(output)


def _zero(output: Output) -> Tensor:
    """A zero with a gradient, where there is anything to learn."""
    return torch.stack([tensor.float().sum() * 0.0 for tensor in output.tensors.values() if tensor.ndim]).sum()
