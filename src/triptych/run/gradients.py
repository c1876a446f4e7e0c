"""Sizes of gradients: of each task on what the tasks share, of each row, of each input's encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from triptych.contract.values import Output
from triptych.model.assemble import Model


def shared(model: Model) -> list[nn.Parameter]:
    """Where the tasks meet last, as GradNorm (Chen et al. 2018) has it: what of the fusion is trained.

    Where nothing of it is, the last blocks of the encoders that are trained; where none is, all that is trained.
    """
    last = [block for _, encoder in model.encoders.items() if encoder.made for block in encoder.blocks()[-1:]]  # type: ignore[operator]
    for pieces in ([model.fusion], last, [model]):
        found = {id(p): p for piece in pieces for p in piece.parameters() if p.requires_grad}
        if found:
            return list(found.values())
    return []


def norm(gradients: list[Tensor | None]) -> Tensor:
    """Of all of them as one vector."""
    there = [gradient for gradient in gradients if gradient is not None]
    return torch.nn.utils.get_total_norm(there) if there else torch.tensor(0.0)


def by_task(losses: Mapping[str, Tensor], parameters: list[nn.Parameter]) -> dict[str, float]:
    """Norm of each loss's gradient on the parameters; 0 where a loss does not reach them. The graph is kept."""
    found = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) if loss.requires_grad else []
        found[name] = float(norm(list(gradients)))
    return found


def by_row(loss: Tensor, output: Output) -> Tensor | None:
    """(B): norm of a loss's gradient on each row's own answer (logits, a number, embeddings); None where nothing is trained.

    Only the way from loss to answer is gone back, which costs next to nothing. The graph is kept.
    """
    answers = [tensor for tensor in output.tensors.values() if tensor.ndim and tensor.requires_grad]
    if not answers or not loss.requires_grad:
        return None
    gradients = torch.autograd.grad(loss, answers, retain_graph=True, allow_unused=True)
    squares = [g.double().square().reshape(len(g), -1).sum(1) for g in gradients if g is not None]
    return torch.stack(squares).sum(0).sqrt() if squares else None


def by_encoder(model: Model) -> dict[str, float]:
    """Norm of the gradient that lies on each input's encoder, of those that are trained."""
    found = {}
    for column, encoder in model.encoders.items():
        gradients = [p.grad for p in encoder.parameters() if p.requires_grad]
        if gradients:
            found[column] = float(norm(list(gradients)))
    return found
