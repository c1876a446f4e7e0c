"""Contrastive losses of two columns. Over large batches the matrix of similarities is never whole, forward or backward.

Beyond `STRIP` similarities they are made some rows at a time, and made again when gradients are taken: the memory is that
of the embeddings, their gradients and a few strips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 2**22  # similarities at once: 16 MB, some four times that with what is made of them


def contrastive_softmax(a_BD: Tensor, b_BD: Tensor, scale: Tensor, group_B: Tensor) -> Tensor:
    """InfoNCE both ways (CLIP, Radford et al. 2021), with any number of positives a row.

    Rows of one group belong together, each with itself at least. With several, the answer wanted of a row is spread
    evenly over them (as in supervised contrastive learning, Khosla et al. 2020, their L_out).
    """
    if len(a_BD) ** 2 > STRIP:
        loss: Tensor = _Softmax.apply(a_BD, b_BD, scale, group_B)
        return loss
    logits_BB = scale * a_BD @ b_BD.T
    same_BB = (group_B[:, None] == group_B[None, :]).to(logits_BB.dtype)
    forth = -(same_BB * logits_BB.log_softmax(1)).sum(1) / same_BB.sum(1)
    back = -(same_BB * logits_BB.log_softmax(0)).sum(0) / same_BB.sum(0)
    return 0.5 * (forth.mean() + back.mean())


def contrastive_sigmoid(a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, group_B: Tensor) -> Tensor:
    """Every pair judged for itself (SigLIP, Zhai et al. 2023): the sum over pairs divided by the number of rows."""
    if len(a_BD) ** 2 > STRIP:
        loss: Tensor = _Sigmoid.apply(a_BD, b_BD, scale, bias, group_B)
        return loss
    logits_BB = scale * a_BD @ b_BD.T + bias
    return -F.logsigmoid(_signed(logits_BB, group_B, group_B)).sum() / len(a_BD)


def _signed(logits_RB: Tensor, group_R: Tensor, group_B: Tensor) -> Tensor:
    return torch.where(group_R[:, None] == group_B[None, :], logits_RB, -logits_RB)


def _strips(rows: int, columns: int) -> Iterator[slice]:
    each = max(1, STRIP // columns)
    return (slice(start, min(start + each, rows)) for start in range(0, rows, each))


class _Softmax(torch.autograd.Function):
    """With s = scale a b', the loss is the mean over rows and columns of logsumexp(s), less the mean s of what belongs together.

    The latter is a product of the groups' sums and needs no matrix.
    """

    @staticmethod
    def forward(ctx: Any, a_BD: Tensor, b_BD: Tensor, scale: Tensor, group_B: Tensor) -> Tensor:
        """Two logsumexps are kept for the way back, a number a row and a column."""
        rows = len(a_BD)
        over_columns_B, over_rows_B = a_BD.new_empty(rows), a_BD.new_full((rows,), -torch.inf)
        for strip in _strips(rows, rows):
            logits_RB = scale * a_BD[strip] @ b_BD.T
            over_columns_B[strip] = logits_RB.logsumexp(1)
            over_rows_B = torch.logaddexp(over_rows_B, logits_RB.logsumexp(0))
        ctx.save_for_backward(a_BD, b_BD, scale, group_B, over_columns_B, over_rows_B)
        together = (a_BD * _group_mean(b_BD, group_B)).sum() / rows
        return 0.5 * (over_columns_B.mean() + over_rows_B.mean()) - scale * together

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of s is half the softmaxes over rows and columns, less what belongs together."""
        a_BD, b_BD, scale, group_B, over_columns_B, over_rows_B = ctx.saved_tensors
        rows = len(a_BD)

        def of_logits(strip: slice, logits_RB: Tensor) -> Tensor:
            back_RB = (logits_RB - over_rows_B).exp_()
            return logits_RB.sub_(over_columns_B[strip, None]).exp_().add_(back_RB).mul_(0.5 / rows)

        a_grad_BD, b_grad_BD, scale_grad, _ = _gradients(a_BD, b_BD, scale, torch.zeros_like(scale), of_logits)
        b_mean_BD = _group_mean(b_BD, group_B)
        scale_grad = scale_grad - (a_BD * b_mean_BD).sum() / rows
        a_grad_BD -= scale / rows * b_mean_BD
        b_grad_BD -= scale / rows * _group_mean(a_BD, group_B)
        return above[0] * a_grad_BD, above[0] * b_grad_BD, above[0] * scale_grad, None


class _Sigmoid(torch.autograd.Function):
    """The sum over strips; its gradient by a logit is the sigmoid of how wrong it is."""

    @staticmethod
    def forward(ctx: Any, a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, group_B: Tensor) -> Tensor:
        """Nothing but the inputs is kept."""
        ctx.save_for_backward(a_BD, b_BD, scale, bias, group_B)
        total = a_BD.new_zeros(())
        for strip in _strips(len(a_BD), len(b_BD)):
            logits_RB = scale * a_BD[strip] @ b_BD.T + bias
            total -= F.logsigmoid(_signed(logits_RB, group_B[strip], group_B)).sum()
        return total / len(a_BD)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        a_BD, b_BD, scale, bias, group_B = ctx.saved_tensors

        def of_logits(strip: slice, logits_RB: Tensor) -> Tensor:
            wrong_RB = torch.sigmoid(-_signed(logits_RB, group_B[strip], group_B))
            return _signed(wrong_RB, group_B[strip], group_B).mul_(-1 / len(a_BD))

        gradients = _gradients(a_BD, b_BD, scale, bias, of_logits)
        return *(above[0] * gradient for gradient in gradients), None


def _gradients(
    a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, of_logits: Callable[[slice, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a, b, scale and bias; `of_logits` gives the loss's gradient by a strip of scale a b' + bias, which it may overwrite."""
    a_grad_BD, b_grad_BD = torch.empty_like(a_BD), torch.zeros_like(b_BD)
    bias_grad = torch.zeros_like(bias)
    for strip in _strips(len(a_BD), len(b_BD)):
        grad_RB = of_logits(strip, scale * a_BD[strip] @ b_BD.T + bias)
        a_grad_BD[strip] = grad_RB @ b_BD
        b_grad_BD.addmm_(grad_RB.T, a_BD[strip])
        bias_grad += grad_RB.sum()
    scale_grad = (a_grad_BD * a_BD).sum()  # before the scale is in them: sum of grad times a b'
    return a_grad_BD.mul_(scale), b_grad_BD.mul_(scale), scale_grad, bias_grad


def _group_mean(x_BD: Tensor, group_B: Tensor) -> Tensor:
    """Each row's mean over the rows of its group."""
    _, index_B, count_G = group_B.unique(return_inverse=True, return_counts=True)
    sums_GD = x_BD.new_zeros(len(count_G), x_BD.shape[1]).index_add_(0, index_B, x_BD)
    return (sums_GD / count_G[:, None])[index_B]
