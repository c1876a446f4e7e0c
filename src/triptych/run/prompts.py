"""Classes told by sentences: the class whose prompt lies nearest to a row in a joint space. Nothing is trained for it.

It says what a space knows before (zero-shot: Radford et al. 2021, section 3.1) and after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Batch
from triptych.model.assemble import Model
from triptych.model.heads import Contrast
from triptych.objective.scores import as_scores
from triptych.run.measure import Measured, score_values
from triptych.run.own_space import classes_told, scale_of, sentences, space_of
from triptych.run.own_space import nearest as own_nearest
from triptych.run.recipe import Recipe

BY_PROMPTS = "by prompts"
AT_ONCE = 64


def with_prompts(
    recipe: Recipe, model: Model, rooms: Mapping[str, tuple[Modality, Preparation]], labels: Mapping[str, Sequence[str]], measured: Measured
) -> Measured:
    """The same with the answers and scores, `of` "by prompts", of each task that has a prompt.

    Args:
        recipe: its tasks say the prompts.
        model: the one that was measured.
        rooms: the room and the fitted preparation of each input.
        labels: the classes of each such task, in their order.
        measured: rows whose embeddings are known.
    """
    scores, prompted, alike = list(measured.scores), {}, {}
    for name, task in recipe.tasks.items():
        if task.kind == "classify" and task.prompt is not None and (space := recipe.prompted(name)):
            contrast, column = space
            if not contrast:
                column = space_of(recipe, model, f"tasks.{name}")
                prompts_CD = classes_told(task.prompt, labels[name], partial(sentences, model, column))
                shown = measured.vectors[column], measured.present[column]
                prompted[name] = own_nearest(*shown, prompts_CD, scale_of(model, column))
            else:
                prompts_CD = classes_told(task.prompt, labels[name], partial(embedded, model, contrast, column, *rooms[column]))
                scale = float(cast(Contrast, model.parts()[contrast]).log_scale.detach().exp())
                prompted[name] = nearest(measured.embeddings[contrast], measured.present, column, prompts_CD, scale)
            alike[name] = float((prompts_CD @ prompts_CD.T).min())
            rows_N = measured.has_truth[name]
            if bool(rows_N.any()):
                values = score_values(task, prompted[name][rows_N], measured.truth[name][rows_N], 1.0)
                scores += as_scores(name, task.kind, BY_PROMPTS, values)
    return replace(measured, scores=scores, prompted=prompted, alike=alike)


def own_columns(recipe: Recipe, model: Model) -> list[str]:
    """Inputs whose encoders' vectors are compared with prompts, in the own space of their base."""
    spaces = {name: recipe.prompted(name) for name, task in recipe.tasks.items() if task.kind == "classify" and task.prompt is not None}
    return list(dict.fromkeys(space_of(recipe, model, f"tasks.{name}") for name, space in spaces.items() if space and not space[0]))


@torch.no_grad()
def embedded(model: Model, contrast: str, column: str, room: Modality, preparation: Preparation, sentences: Sequence[str]) -> Tensor:
    """Sentences (C) as unit vectors (C, D) of a contrast task's space, read and prepared like any value of the input."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found = []
    for start in range(0, len(sentences), AT_ONCE):
        values = [room.read(sentence) for sentence in sentences[start : start + AT_ONCE]]
        packed = preparation.collate(preparation.prepare(values))
        present = {c: torch.full((len(values),), c == column) for c in dict(model.encoders.items())}
        passed = model(Batch({column: packed}, present).to(device))
        found.append(passed.outputs[contrast][f"embedding.{column}_BD"].float().cpu())
    model.train(was_training)
    return torch.cat(found)


def nearest(embeddings: Mapping[str, Tensor], present: Mapping[str, Tensor], column: str, prompts_CD: Tensor, scale: float) -> Tensor:
    """Probabilities (N, C): the softmax of `scale` times a row's similarity to each prompt.

    A row's similarity is the mean over the inputs of the space that it has. The one that takes the sentences counts where
    the row has no other: it often says the class in words. A row with no input of the space gives all classes equal shares.
    """
    others = [c for c in embeddings if c != column]
    total_NC = torch.zeros(len(present[column]), len(prompts_CD))
    count_N = torch.zeros(len(total_NC))
    for c in others:
        total_NC += (embeddings[c].float() @ prompts_CD.T) * present[c][:, None]
        count_N += present[c]
    alone_N = (count_N == 0) & present[column]
    total_NC = torch.where(alone_N[:, None], embeddings[column].float() @ prompts_CD.T, total_NC)
    mean_NC: Tensor = total_NC / count_N.clamp(min=1)[:, None]
    return (scale * mean_NC).softmax(1)


def rooms_of(inputs: Mapping[str, Any]) -> dict[str, tuple[Modality, Preparation]]:
    """The rooms and preparations of a bench's inputs."""
    return {name: (held.room, held.preparation) for name, held in inputs.items()}
