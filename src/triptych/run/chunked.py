"""Large batches in small memory: the model is run some rows at a time, the losses are over all of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from triptych.contract.values import Batch, Output, level
from triptych.model.assemble import Model


def answers(model: Model, batch: Batch, chunk: int | None = None) -> dict[str, Output]:
    """Every task's answer for the batch; with `chunk`, no more than so many rows go through the model at once.

    This is gradient caching (GradCache, Gao et al. 2021): a first pass keeps the answers alone, losses are taken over the whole
    batch, and a second pass goes back chunk by chunk with the gradients of the answers. A chunk is a checkpoint (Chen et al.
    2016), so torch runs the second pass when gradients are asked for, with the chunk's own random state and number format: the
    gradients are those of the plain step. What is held is one chunk's way through the model and every row's answers; the price
    is one more pass forward. Which inputs are hidden is drawn once for the batch.
    """
    shown = model.shown(batch)
    if chunk is None or chunk >= len(batch):
        return _answers(model, batch, shown)
    pieces = []
    for start in range(0, len(batch), chunk):
        part, seen = batch.part(start, start + chunk), {column: there[start : start + chunk] for column, there in shown.items()}
        pieces.append(checkpoint(_answers, model, part, seen, use_reentrant=False, preserve_rng_state=True))
    return {task: _joined([piece[task] for piece in pieces]) for task in pieces[0]}


def _answers(model: Model, part: Batch, shown: Mapping[str, Tensor]) -> dict[str, Output]:
    return dict(model(part, shown).outputs)


def _joined(pieces: list[Output]) -> Output:
    """Rows one after the other; what is one number for all rows (a scale) is that of the first piece."""
    names = pieces[0].tensors
    return Output({n: torch.cat(level(n, [piece[n] for piece in pieces])) if names[n].ndim else names[n] for n in names})
