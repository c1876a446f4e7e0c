"""Losses: (output, target) -> one number a row, in float32.

Every kind of task has one signature, `loss(output, target_B, settings) -> loss_B`; the mean over the rows that have the
target is the task's loss. A batch in which no row has it gives a zero that still has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.contract.boxes import converted
from triptych.contract.values import Output
from triptych.objective.boxes import giou_loss, iou
from triptych.objective.contrastive import contrastive_sigmoid, contrastive_softmax


def _classify(output: Output, target_P: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    loss_P = F.cross_entropy(output["logits_BC"][rows_B], target_P, label_smoothing=settings.label_smoothing, reduction="none")
    weights_CK = output.tensors.get("weights_CK")
    return loss_P if weights_CK is None else loss_P * weights_CK[target_P, 0]


def _multilabel(output: Output, target_PC: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    loss_PC = F.binary_cross_entropy_with_logits(output["logits_BC"][rows_B], target_PC, reduction="none")
    weights_CK = output.tensors.get("weights_CK")
    return (loss_PC if weights_CK is None else loss_PC * torch.where(target_PC > 0.5, weights_CK[:, 1], weights_CK[:, 0])).mean(1)


def _regress(output: Output, target_P: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    return F.mse_loss(output["standard_B"][rows_B], target_P, reduction="none")


def _ground(output: Output, target_P4: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    """The box loss, and of the confidence the cross-entropy with how well the box fits (as YOLO's: Redmon et al. 2016)."""
    box_P4, target_P4 = output["box_B4"][rows_B].float(), target_P4.float()
    fits_P = iou(box_P4.detach(), target_P4)
    sure_P = F.binary_cross_entropy_with_logits(output["sure_B"][rows_B].float(), fits_P, reduction="none")
    return box_loss(box_P4, target_P4, settings.l1, settings.giou) + settings.sure * sure_P


def box_loss(guess_P4: Tensor, target_P4: Tensor, l1: float, giou: float) -> Tensor:
    """DETR's loss of a box, a number a row: L1 summed over middle, width and height, and 1 - GIoU (Carion et al. 2020, eq. 9)."""
    apart_P4 = converted(guess_P4, "xyxy", "cxcywh") - converted(target_P4, "xyxy", "cxcywh")
    return l1 * apart_P4.abs().sum(1) + giou * giou_loss(guess_P4, target_P4)


def _generate(output: Output, target_P: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    """Scaled so that the mean over rows is the mean over all pieces of their answers, as language models are trained."""
    count_P = output["count_B"][rows_B]
    return output["nll_B"][rows_B] / count_P.mean().clamp(min=1)


def _prefer(output: Output, target_P: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    """Rafailov et al. 2023, equation 7."""
    return -F.logsigmoid(settings.beta * (output["chosen_B"] - output["rejected_B"])[rows_B])


def _ctc(output: Output, target_PL: Tensor, rows_B: Tensor, settings: Any) -> Tensor:
    """Negative logarithm of the chance of the text, a symbol. What no class stands for (a symbol of no training row) is left out."""
    logits_PTC, frames_P = output["logits_BTC"][rows_B].float(), output["frames_B"][rows_B]
    known_PL = (target_PL > 0) & (target_PL < logits_PTC.shape[2])
    count_P = known_PL.sum(1)
    with torch.autocast(logits_PTC.device.type, enabled=False):
        logs_TPC = logits_PTC.log_softmax(2).transpose(0, 1)
        loss_P = F.ctc_loss(logs_TPC, target_PL[known_PL].long(), frames_P, count_P, reduction="none", zero_infinity=True)
    return loss_P / count_P.clamp(min=1)


Loss = Callable[[Output, Tensor, Tensor, Any], Tensor]
_LOSSES: dict[str, Loss] = {
    "classify": _classify,
    "multilabel": _multilabel,
    "regress": _regress,
    "ground": _ground,
    "ctc": _ctc,
    "generate": _generate,
    "prefer": _prefer,
}


@dataclass(frozen=True)
class Term:
    """One part of a task's loss: `loss_P`, a number for each of the rows that `rows_B` marks."""

    rows_B: Tensor
    loss_P: Tensor


def terms(output: Output, target: Tensor, rows_B: Tensor, settings: Any, present: Mapping[str, Tensor]) -> dict[str, Term]:
    """What a task's loss on one batch is made of: one term, or one a pair of inputs to bring together; none where no row counts.

    Args:
        output: the task's answer.
        target: of each row; numbers of groups for a contrast, equal ones belong together.
        rows_B: which rows have the target.
        settings: the task's.
        present: which rows have which input.
    """
    if settings.kind == "ctc":
        rows_B = rows_B & (output["frames_B"] > 0)  # a row that lacks the input, or from which it is hidden, teaches nothing
    if settings.kind != "contrast":
        return {"": Term(rows_B, _LOSSES[settings.kind](output, target[rows_B], rows_B, settings))} if bool(rows_B.any()) else {}
    # Products are in float32 whatever the model computes in: at a scale of 100, bf16 would be off by a quarter.
    with torch.autocast(target.device.type, enabled=False):
        pairs = {(a, b): present[a] & present[b] for a, b in combinations(settings.between, 2)}
        return {
            f"{a}, {b}": Term(both, _pair(output, a, b, both, target[both], settings))
            for (a, b), both in pairs.items()
            if int(both.sum()) > 1
        }


def _pair(output: Output, a: str, b: str, both_B: Tensor, groups_P: Tensor, settings: Any) -> Tensor:
    pair = output[f"embedding.{a}_BD"][both_B], output[f"embedding.{b}_BD"][both_B]
    if settings.form == "sigmoid":
        return contrastive_sigmoid(*pair, output["scale"], output["bias"], groups_P)
    return contrastive_softmax(*pair, output["scale"], groups_P)


def task_loss(output: Output, found: Mapping[str, Term]) -> Tensor:
    """The unweighted loss of one task: the mean over its terms of their means; a zero with a gradient where there is none.

    A column of a contrast that no pair of the batch has is in it with a zero too: the weights behind it then have a gradient in
    one process as in several, where rows of all come and go together, and an optimiser treats them alike.
    """
    if found:
        loss = torch.stack([term.loss_P.mean() for term in found.values()]).mean()
        used = {f"embedding.{column}_BD" for pair in found for column in pair.split(", ")}
        unpaired = [tensor for name, tensor in output.tensors.items() if name.startswith("embedding.") and name not in used]
        return loss + _nothing(unpaired) if unpaired else loss
    return _nothing([tensor for tensor in output.tensors.values() if tensor.ndim])


def _nothing(tensors: Sequence[Tensor]) -> Tensor:
    """A zero whose gradient reaches all of them."""
    return torch.stack([tensor.float().sum() * 0.0 for tensor in tensors]).sum()


def rows_judged(found: Mapping[str, Term]) -> int:
    """How many rows of a batch its loss is of, for means over batches."""
    return int(torch.stack([term.rows_B for term in found.values()]).any(0).sum()) if found else 0
