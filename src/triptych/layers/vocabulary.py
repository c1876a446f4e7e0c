"""Cross-entropy over a large vocabulary without the whole logits: some rows of them at a time, as in Liger (Hsu et al. 2024).

The logits of N places over V entries are N x V numbers, and a plain loss holds them several times: 805 MB each for 4,096 places
over 49,152 entries. Here they are made `LOGITS` at a time, always in the same memory, and changed there into what is wanted of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LOGITS = 3 * 2**22
"""At once: 50 MB in float32. Fewer make the products slow, more gain nothing."""
LOGITS_GPU = 2**25
"""A GPU wants larger products: 128 MB."""


class _How(NamedTuple):
    """What is no tensor: the cap, the rows at once, and the type in which products are taken."""

    softcap: float | None
    chunk: int
    dtype: torch.dtype


def vocabulary_loss(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    target_N: Tensor,
    bias_V: Tensor | None = None,
    *,
    softcap: float | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The negative log-likelihood of each target, nll_N in float32: `cross_entropy(hidden weight' + bias, target, reduction="none")`.

    `target_N` are entries, 0 to V - 1. `softcap` c turns a logit z into c tanh(z / c) (Gemma 2, 2024). `chunk` is the number of
    rows whose logits are held at once; left out, what fits `LOGITS`. Products are taken in the type of `hidden_ND`, or in that
    of an autocast around the call; sums are in float32. Gradients are taken of what asks for them: of a frozen weight none is.
    """
    kind = hidden_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_ND.dtype
    rows = chunk or max(1, (LOGITS if kind == "cpu" else LOGITS_GPU) // len(weight_VD))
    how = _How(softcap, rows, dtype)
    with torch.autocast(kind, enabled=False):
        if torch.is_grad_enabled():
            nll_N: Tensor = _Vocabulary.apply(hidden_ND, weight_VD, target_N, bias_V, how)
            return nll_N
        return _nll(hidden_ND, weight_VD.to(dtype), target_N, bias_V, how)


def _chunks(rows: int, each: int) -> Iterator[slice]:
    return (slice(start, min(start + each, rows)) for start in range(0, rows, each))


class _Room:
    """Memory for the logits of some rows, taken once and used for each of them: what the cache holds need not be fetched, nor cleared."""

    def __init__(self, hidden_ND: Tensor, weight_VD: Tensor, how: _How) -> None:
        self.how, self.rows = how, min(how.chunk, len(hidden_ND))
        self.memory = hidden_ND.new_empty(self.rows * len(weight_VD), dtype=torch.float32)

    def logits(self, hidden_RD: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """Of some rows (R, V) in float32, before the cap."""
        logits_RV = self.memory[: len(hidden_RD) * len(weight_VD)].view(len(hidden_RD), len(weight_VD))
        if self.how.dtype == torch.float32:
            torch.mm(hidden_RD.to(self.how.dtype), weight_VD.T, out=logits_RV)
        else:
            logits_RV.copy_(hidden_RD.to(self.how.dtype) @ weight_VD.T)
        return logits_RV if bias_V is None else logits_RV.add_(bias_V)


def _nll_of(logits_RV: Tensor, target_R: Tensor, how: _How) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of some rows: the loss of each; the sum (R, 1) of what the logits are now, e to them less the largest; the slope of the cap."""
    slope_RV = None
    if how.softcap is not None:
        tanh_RV = logits_RV.div_(how.softcap).tanh_()
        slope_RV = tanh_RV.square().neg_().add_(1)
        logits_RV.mul_(how.softcap)
    wanted_R1, top_R1 = logits_RV.gather(1, target_R[:, None]), logits_RV.amax(1, keepdim=True)
    sum_R1 = logits_RV.sub_(top_R1).exp_().sum(1, keepdim=True)
    return (sum_R1.log() + top_R1 - wanted_R1).squeeze(1), sum_R1, slope_RV


def _nll(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, bias_V: Tensor | None, how: _How) -> Tensor:
    nll_N, room = hidden_ND.new_empty(len(hidden_ND), dtype=torch.float32), _Room(hidden_ND, weight_VD, how)
    for rows in _chunks(len(hidden_ND), how.chunk):
        nll_N[rows], _, _ = _nll_of(room.logits(hidden_ND[rows], weight_VD, bias_V), target_N[rows], how)
    return nll_N


def _slopes(room: _Room, hidden_RD: Tensor, weight_VD: Tensor, target_R: Tensor, bias_V: Tensor | None, how: _How) -> tuple[Tensor, Tensor]:
    """Of some rows: the loss of each, and its gradient by the logits: softmax less what was wanted. The latter lies in the room."""
    logits_RV = room.logits(hidden_RD, weight_VD, bias_V)
    nll_R, sum_R1, cap_RV = _nll_of(logits_RV, target_R, how)
    slope_RV = logits_RV.div_(sum_R1)
    slope_RV.scatter_add_(1, target_R[:, None], slope_RV.new_full((len(target_R), 1), -1.0))
    return nll_R, slope_RV if cap_RV is None else slope_RV.mul_(cap_RV)


class _Vocabulary(torch.autograd.Function):
    """With a frozen weight, the gradient of hidden is made on the way forward, where the logits are: a row's is only scaled later.

    That of a weight is a sum over rows which cannot be scaled afterwards, so where one is asked for the logits are made again.
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, bias_V: Tensor | None, how: _How) -> Tensor:
        """Keeps the gradient of hidden (frozen weight) or the inputs."""
        ctx.how, ctx.ahead = how, ctx.needs_input_grad[0] and not (ctx.needs_input_grad[1] or ctx.needs_input_grad[3])
        cast_VD = weight_VD.to(how.dtype)
        if not ctx.ahead:
            ctx.save_for_backward(hidden_ND, weight_VD, target_N, bias_V)
            return _nll(hidden_ND, cast_VD, target_N, bias_V, how)
        nll_N, grad_ND = hidden_ND.new_empty(len(hidden_ND), dtype=torch.float32), torch.empty_like(hidden_ND)
        room = _Room(hidden_ND, weight_VD, how)
        for rows in _chunks(len(hidden_ND), how.chunk):
            nll_N[rows], slope_RV = _slopes(room, hidden_ND[rows], cast_VD, target_N[rows], bias_V, how)
            grad_ND[rows] = slope_RV.to(how.dtype) @ cast_VD
        ctx.save_for_backward(grad_ND)
        return nll_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above_N: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        if ctx.ahead:
            (grad_ND,) = ctx.saved_tensors
            return (grad_ND * above_N[:, None]).to(grad_ND.dtype), None, None, None, None
        hidden_ND, weight_VD, target_N, bias_V = ctx.saved_tensors
        how, cast_VD = ctx.how, weight_VD.to(ctx.how.dtype)
        of_hidden, of_weight, _, of_bias, _ = ctx.needs_input_grad
        hidden_grad_ND = torch.empty_like(hidden_ND) if of_hidden else None
        weight_grad_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if of_weight else None
        bias_grad_V = torch.zeros_like(bias_V, dtype=torch.float32) if of_bias and bias_V is not None else None
        room = _Room(hidden_ND, weight_VD, how)
        for rows in _chunks(len(hidden_ND), how.chunk):
            _, slope_RV = _slopes(room, hidden_ND[rows], cast_VD, target_N[rows], bias_V, how)
            slope_RV.mul_(above_N[rows, None])
            if bias_grad_V is not None:
                bias_grad_V += slope_RV.sum(0)
            slope_RV = slope_RV.to(how.dtype)
            if hidden_grad_ND is not None:
                hidden_grad_ND[rows] = slope_RV @ cast_VD
            if weight_grad_VD is not None:
                _add_product(weight_grad_VD, slope_RV.T, hidden_ND[rows].to(how.dtype))
        return (
            hidden_grad_ND,
            None if weight_grad_VD is None else weight_grad_VD.to(weight_VD.dtype),
            None,
            None if bias_grad_V is None or bias_V is None else bias_grad_V.to(bias_V.dtype),
            None,
        )


def _add_product(sum_VD: Tensor, a_VR: Tensor, b_RD: Tensor) -> None:
    """Add a b to the sum, which is in float32 whatever the product is in."""
    if a_VR.dtype == sum_VD.dtype:
        sum_VD.addmm_(a_VR, b_RD)
    else:
        sum_VD += a_VR @ b_RD
