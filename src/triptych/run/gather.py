"""The rows of all processes in each of them, so that a loss over them is that of one process with all the rows.

A contrast needs the other processes' rows as negatives; a mean over rows that have a target needs their number. Each process
computes the whole loss from the gathered outputs. Going back, the gradients that all processes have for a row are summed
where the row came from; the strategy (DDP, FSDP) then takes the mean over processes, which is the gradient of the one loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from triptych.base.ranks import Ranks
from triptych.contract.values import SEQUENCE, Batch, Output, level


def gathered(outputs: Mapping[str, Output], batch: Batch, ranks: Ranks) -> tuple[dict[str, Output], Batch]:
    """Outputs, targets and presence of all processes' rows, by rank. The inputs stay this process's own.

    A process whose share of a batch is empty was given one row to compute, whose id is left out: it is left out here too.
    """
    if ranks.size == 1:
        return dict(outputs), batch
    sizes = [len(ids) for ids in batch.shares]
    split = {(task, name): tensor for task, output in outputs.items() for name, tensor in output.tensors.items() if tensor.ndim}
    split = _level(split)
    # One journey for all of them, in one order everywhere: a process whose rows lack an input must not miss one.
    whole = _rows([tensor.float() for tensor in split.values()], len(batch.ids), sizes)
    told: dict[str, dict[str, Tensor]] = {task: dict(output.tensors) for task, output in outputs.items()}
    for (task, name), tensor in zip(split, whole, strict=True):
        told[task][name] = tensor if outputs[task][name].is_floating_point() else tensor.long()
    return {task: Output(tensors) for task, tensors in told.items()}, _batch(batch, sizes)


def _level(split: dict[tuple[str, str], Tensor]) -> dict[tuple[str, str], Tensor]:
    """Answers with a step for each token, as long as those of the process whose rows are the longest."""
    long = [key for key in split if key[1].endswith(SEQUENCE)]
    if long:
        most = torch.tensor([split[key].shape[1] for key in long], device=split[long[0]].device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        split |= {key: level(key[1], [split[key]], length)[0] for key, length in zip(long, most.tolist(), strict=True)}
    return split


def _rows(tensors: Sequence[Tensor], own: int, sizes: Sequence[int]) -> list[Tensor]:
    """Each tensor (B, ...) with the rows of all processes, with gradients."""
    widths = [prod(tensor.shape[1:]) for tensor in tensors]
    flat = torch.cat([tensor[:own].reshape(own, width) for tensor, width in zip(tensors, widths, strict=True)], 1)
    anchor = torch.zeros((), device=flat.device, requires_grad=True)  # no process may stay away on the way back
    whole = _Gather.apply(flat, anchor, sizes)
    return [part.reshape(-1, *tensor.shape[1:]) for part, tensor in zip(whole.split(widths, 1), tensors, strict=True)]


def _batch(batch: Batch, sizes: Sequence[int]) -> Batch:
    """Presence and targets of all rows; numbers travel as float64, which holds every whole number a target may be."""
    kinds = {"present": batch.present, "targets": batch.targets, "has_target": batch.has_target}
    named = {(kind, name): tensor for kind, tensors in kinds.items() for name, tensor in tensors.items()}
    own, widths = len(batch.ids), [prod(tensor.shape[1:]) for tensor in named.values()]
    flat = torch.cat([tensor[:own].reshape(own, width).double() for tensor, width in zip(named.values(), widths, strict=True)], 1)
    whole = _every(flat, sizes)
    found: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
    for ((kind, name), tensor), part in zip(named.items(), whole.split(widths, 1), strict=True):
        found[kind][name] = part.reshape(-1, *tensor.shape[1:]).to(tensor.dtype)
    ids = tuple(row for share in batch.shares for row in share)
    return Batch(batch.inputs, found["present"], found["targets"], found["has_target"], ids)


def _every(flat_BF: Tensor, sizes: Sequence[int]) -> Tensor:
    """The rows of all processes one below the other; on the way they are filled up to one length."""
    filled = flat_BF.new_zeros(max(sizes), flat_BF.shape[1])
    filled[: len(flat_BF)] = flat_BF
    received = [torch.empty_like(filled) for _ in sizes]
    dist.all_gather(received, filled)
    return torch.cat([rows[:size] for rows, size in zip(received, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """`_every`, with the gradients brought back to where each row came from."""

    @staticmethod
    def forward(ctx: Any, flat_BF: Tensor, anchor: Tensor, sizes: Sequence[int]) -> Tensor:
        """`anchor` only sees to it that the way back is gone in every process."""
        rank = dist.get_rank()
        ctx.place = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        return _every(flat_BF, sizes)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        """The sum over processes of what each has for this one's rows."""
        whole_NF = above[0].contiguous().clone()
        dist.all_reduce(whole_NF)
        return whole_NF[ctx.place], torch.zeros((), device=whole_NF.device), None
