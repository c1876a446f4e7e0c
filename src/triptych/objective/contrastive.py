"""Contrastive losses of two columns, a number a row. Over large batches the matrix of similarities is never whole.

Beyond `STRIP` similarities they are made some rows at a time, and made again when gradients are taken: the memory is that
of the embeddings, their gradients and a few strips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 2**21  # similarities at once: 8 MB, some five times that with what is made of them
BLOCK = 64  # numbers of an embedding at once, where rows of a group are summed


def contrastive_softmax(a_BD: Tensor, b_BD: Tensor, scale: Tensor, group_B: Tensor) -> Tensor:
    """InfoNCE both ways (CLIP, Radford et al. 2021), with any number of positives a row; its mean over rows is CLIP's loss.

    Rows of one group belong together, each with itself at least. With several, the answer wanted of a row is spread
    evenly over them (as in supervised contrastive learning, Khosla et al. 2020, their L_out). With s = scale a b', a row's
    loss is half of logsumexp(s) over its row and over its column, less the mean s of what belongs together; the latter
    comes from the groups' means and needs no matrix.
    """
    _, index_B, count_G = group_B.unique(return_inverse=True, return_counts=True)
    if len(a_BD) * len(b_BD) > STRIP:
        loss_B: Tensor = _Softmax.apply(a_BD, b_BD, scale, index_B, count_G)
        return loss_B
    logits_BB = scale * a_BD @ b_BD.T
    together_B = (a_BD * _group_mean(b_BD, index_B, count_G) + b_BD * _group_mean(a_BD, index_B, count_G)).sum(1)
    return 0.5 * (logits_BB.logsumexp(1) + logits_BB.logsumexp(0) - scale * together_B)


def contrastive_sigmoid(a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, group_B: Tensor) -> Tensor:
    """Every pair judged for itself (SigLIP, Zhai et al. 2023): a row's sum over its pairs; the mean over rows is SigLIP's loss."""
    if len(a_BD) * len(b_BD) > STRIP:
        loss_B: Tensor = _Sigmoid.apply(a_BD, b_BD, scale, bias, group_B)
        return loss_B
    logits_BB = scale * a_BD @ b_BD.T + bias
    return -F.logsigmoid(_signed(logits_BB, group_B, group_B)).sum(1)


def _signed(logits_RB: Tensor, group_R: Tensor, group_B: Tensor) -> Tensor:
    return torch.where(group_R[:, None] == group_B[None, :], logits_RB, -logits_RB)


def _group_mean(x_BD: Tensor, index_B: Tensor, count_G: Tensor) -> Tensor:
    """Each row's mean over the rows of its group."""
    sums_GD = x_BD.new_zeros(len(count_G), x_BD.shape[1]).index_add_(0, index_B, x_BD)
    return (sums_GD / count_G[:, None])[index_B]


def _strips(rows: int, columns: int) -> Iterator[slice]:
    each = max(1, STRIP // columns)
    return (slice(start, min(start + each, rows)) for start in range(0, rows, each))


def _blocks(x_BD: Tensor) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, x_BD.shape[1], BLOCK))


class _Softmax(torch.autograd.Function):
    """`contrastive_softmax` of many rows; `index_B` and `count_G` are the rows' groups and their sizes."""

    @staticmethod
    def forward(ctx: Any, a_BD: Tensor, b_BD: Tensor, scale: Tensor, index_B: Tensor, count_G: Tensor) -> Tensor:
        """The two logsumexps are kept for the way back; nothing else is."""
        over_columns_B, over_rows_B = a_BD.new_empty(len(a_BD)), a_BD.new_full((len(b_BD),), -torch.inf)
        for strip in _strips(len(a_BD), len(b_BD)):
            logits_RB = scale * a_BD[strip] @ b_BD.T
            over_columns_B[strip] = logits_RB.logsumexp(1)
            over_rows_B = torch.logaddexp(over_rows_B, logits_RB.logsumexp(0))
        together_B = torch.zeros_like(over_rows_B)
        for block in _blocks(a_BD):
            for x_BD, y_BD in ((a_BD, b_BD), (b_BD, a_BD)):
                together_B += (x_BD[:, block] * _group_mean(y_BD[:, block], index_B, count_G)).sum(1)
        ctx.save_for_backward(a_BD, b_BD, scale, index_B, count_G, over_columns_B, over_rows_B)
        return 0.5 * (over_columns_B + over_rows_B - scale * together_B)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of a logsumexp is a softmax; that of what belongs together is a mean over the group."""
        a_BD, b_BD, scale, index_B, count_G, over_columns_B, over_rows_B = ctx.saved_tensors
        half_B = 0.5 * above[0]

        def of_logits(strip: slice, logits_RB: Tensor) -> Tensor:
            back_RB = (logits_RB - over_rows_B).exp_().mul_(half_B)
            return logits_RB.sub_(over_columns_B[strip, None]).exp_().mul_(half_B[strip, None]).add_(back_RB)

        def together(a_grad_BD: Tensor, b_grad_BD: Tensor) -> None:
            for block in _blocks(a_BD):
                for grad_BD, y_BD in ((a_grad_BD, b_BD[:, block]), (b_grad_BD, a_BD[:, block])):
                    grad_BD[:, block] -= half_B[:, None] * _group_mean(y_BD, index_B, count_G)
                    grad_BD[:, block] -= _group_mean(half_B[:, None] * y_BD, index_B, count_G)

        return *_gradients(a_BD, b_BD, scale, torch.zeros_like(scale), of_logits, together)[:3], None, None


class _Sigmoid(torch.autograd.Function):
    """A row's sum over its pairs; its gradient by a logit is how wrong that is, between 0 and 1."""

    @staticmethod
    def forward(ctx: Any, a_BD: Tensor, b_BD: Tensor, scale: Tensor, bias: Tensor, group_B: Tensor) -> Tensor:
        """Nothing but the inputs is kept."""
        ctx.save_for_backward(a_BD, b_BD, scale, bias, group_B)
        loss_B = a_BD.new_empty(len(a_BD))
        for strip in _strips(len(a_BD), len(b_BD)):
            logits_RB = scale * a_BD[strip] @ b_BD.T + bias
            loss_B[strip] = -F.logsigmoid(_signed(logits_RB, group_B[strip], group_B)).sum(1)
        return loss_B

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        """See the class."""
        a_BD, b_BD, scale, bias, group_B = ctx.saved_tensors

        def of_logits(strip: slice, logits_RB: Tensor) -> Tensor:
            wrong_RB = torch.sigmoid(-_signed(logits_RB, group_B[strip], group_B))
            return _signed(wrong_RB, group_B[strip], group_B).mul_(-above[0][strip, None])

        return *_gradients(a_BD, b_BD, scale, bias, of_logits), None


def _gradients(
    a_AD: Tensor,
    b_BD: Tensor,
    scale: Tensor,
    bias: Tensor,
    of_logits: Callable[[slice, Tensor], Tensor],
    besides: Callable[[Tensor, Tensor], None] = lambda a_grad_AD, b_grad_BD: None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a, b, scale and bias; `of_logits` gives the loss's gradient by a strip of scale a b' + bias, which it may overwrite.

    `besides` may add to the gradients of a and b, before they are times the scale.
    """
    a_grad_AD, b_grad_BD = torch.empty_like(a_AD), torch.zeros_like(b_BD)
    scale_grad, bias_grad = torch.zeros_like(scale), torch.zeros_like(bias)
    for strip in _strips(len(a_AD), len(b_BD)):
        grad_RB = of_logits(strip, scale * a_AD[strip] @ b_BD.T + bias)
        torch.mm(grad_RB, b_BD, out=a_grad_AD[strip])
        b_grad_BD.addmm_(grad_RB.T, a_AD[strip])
        bias_grad += grad_RB.sum()
    besides(a_grad_AD, b_grad_BD)
    for strip in _strips(len(a_AD), a_AD.shape[1]):  # before the scale is in it: the sum of grad times a b'
        scale_grad += (a_grad_AD[strip] * a_AD[strip]).sum()
    return a_grad_AD.mul_(scale), b_grad_BD.mul_(scale), scale_grad, bias_grad
