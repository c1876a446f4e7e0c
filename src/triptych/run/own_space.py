"""The shared space that a pretrained dual encoder brings along: rows and sentences compared in it, without any training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.modality import Modality, Preparation
from triptych.contract.part import Encoder
from triptych.contract.tasks import LABEL, wordings
from triptych.data.kept import key
from triptych.layers.tower import Tower
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.run.memory import opened_store, vectors_of
from triptych.run.recipe import Recipe


@dataclass(frozen=True)
class _Half:
    """The half of a base that reads sentences, as `memory` takes an input."""

    room: Modality
    preparation: Preparation


def dual(model: Model) -> list[str]:
    """Inputs whose encoder is half of a base with a space of its own, of files: what sentences can be compared with."""
    named = {name: cast(Encoder, encoder) for name, encoder in model.encoders.items()}
    return [name for name, encoder in named.items() if isinstance(encoder, Tower) and "scale" in encoder.facts]


def space_of(recipe: Recipe, model: Model, asked: str) -> str:
    """The input in whose own space prompts lie; `asked` is where the recipe has them: `tasks.mood`, `forgetting`.

    Raises:
        InputError: no input of files has such a base.
    """
    of_files = [name for name in dual(model) if rooms()[recipe.inputs[name].modality].by_reference]
    if not of_files:
        names = ", ".join(str(getattr(settings.encoder, "name", settings.encoder.kind)) for settings in recipe.inputs.values())
        what = f"{asked} has a prompt, and no encoder here shares a space with sentences ({names})"
        fix = "use a base with two halves (CLIP, SigLIP, CLAP), a contrast task with an input of texts, or remove the prompt"
        raise InputError(what, where=f"{asked}.prompt", fix=fix)
    return of_files[0]


def sentences(model: Model, column: str, told: Sequence[str]) -> Tensor:
    """Sentences (C) as unit vectors (C, D) of the space of an input's base.

    The other half is the base's as it came: what was tuned since is measured against what it knew. What it gives is kept.
    """
    encoder = cast(Tower, model.encoders[column])
    half, tower = _other_half(encoder)
    kept = opened_store(tower, half, "float32", {"input": "prompts", "of": encoder.settings.name})
    keys = [key(f"cell {json.dumps(sentence)}") for sentence in told]
    missing = [sentence for sentence, place in zip(told, kept.places(keys).tolist(), strict=True) if place < 0]
    if missing := list(dict.fromkeys(missing)):
        packed = half.preparation.collate(half.preparation.prepare([half.room.read(sentence) for sentence in missing]))
        kept.add([key(f"cell {json.dumps(sentence)}") for sentence in missing], vectors_of(tower, packed))
    vectors_CD = torch.cat([item["pooled_PD"] for item in kept.items(keys)]).float()
    return F.normalize(vectors_CD, dim=-1)


def scale_of(model: Model, column: str) -> float:
    """By how much similarities are scaled in the space of an input's base."""
    return float(cast(Tower, model.encoders[column]).facts["scale"])


def classes_told(prompt: str | list[str], labels: Sequence[str], vectors: Callable[[list[str]], Tensor]) -> Tensor:
    """Unit vectors (C, D) of classes; of several wordings the mean (prompt ensembles: Radford et al. 2021, section 3.1.4).

    `vectors` gives those of sentences, of length one.
    """
    told = [vectors([wording.replace(LABEL, label) for label in labels]) for wording in wordings(prompt)]
    return told[0] if len(told) == 1 else F.normalize(torch.stack(told).mean(0), dim=-1)


def _other_half(encoder: Tower) -> tuple[_Half, Tower]:
    for room in rooms().values():
        if not room.by_reference and "pretrained" in json.dumps(room.Input.model_json_schema()):
            settings = cast(Any, room.Input)(encoder={"kind": "pretrained", "name": str(encoder.folder)})
            preparation = room.preparation(settings)
            preparation.fit([])
            return _Half(room, preparation), cast(Tower, room.encoder(settings, preparation.facts()))
    raise InputError("no room here reads sentences", fix="remove the prompt")


def nearest(vectors_ND: Tensor, present_N: Tensor, prompts_CD: Tensor, scale: float) -> Tensor:
    """Probabilities (N, C): the softmax of `scale` times the cosine to each prompt; a row without the input gives equal shares."""
    similar_NC = F.normalize(vectors_ND.float(), dim=-1) @ prompts_CD.T
    shares_NC: Tensor = (scale * similar_NC * present_N[:, None]).softmax(1)
    return shares_NC


def base_facts(recipe: Recipe, encoders: Mapping[str, Encoder], task: str) -> dict[str, Any]:
    """What a contrast task in the own space of its inputs' base must know: widths, scale and bias.

    Raises:
        InputError: its inputs are not all halves of one base.
    """
    between = recipe.tasks[task].between  # type: ignore[union-attr]
    held = {name: encoders[name] for name in between}
    lacking = [name for name, encoder in held.items() if not (isinstance(encoder, Tower) and "scale" in encoder.facts)]
    where, fix = f"tasks.{task}.space", "remove space: own, or give all of them one base with two halves (CLIP, SigLIP, CLAP)"
    if lacking:
        raise InputError(f"the encoder of {lacking[0]} has no space of its own that it shares with another input", where=where, fix=fix)
    if len({encoder.facts["digest"] for encoder in held.values()}) > 1:
        raise InputError(
            f"{' and '.join(between)} have different bases, whose spaces have nothing to do with each other", where=where, fix=fix
        )
    first = held[between[0]].facts
    return {"own": {"widths": {name: encoder.width for name, encoder in held.items()}, "scale": first["scale"], "bias": first.get("bias")}}
