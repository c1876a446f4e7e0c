"""`init` with a pretrained model: which inputs it fits, and what they say then."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from triptych.base import catalogue, hub, trust
from triptych.base.errors import InputError
from triptych.base.settings import read_yaml
from triptych.modalities import rooms
from triptych.use.look import Look
from triptych.use.models import families


@dataclass(frozen=True)
class Base:
    """A pretrained model that a recipe is to begin with."""

    encoder: Any
    """What stands in a recipe: its name, or the long form where a name alone means something else."""
    called: str
    takes: tuple[str, ...]
    """The modalities that it has an encoder for."""

    @property
    def dual(self) -> bool:
        """Whether it brings two modalities into one space."""
        return len(self.takes) > 1


def chosen_base(name: str, beside: Path) -> Base:
    """What is known of a base, for a recipe in the folder `beside`. The Hub is asked only for what the catalogue does not know.

    Raises:
        InputError: there is none of that name or in that folder, the Hub cannot be reached, or no encoder here is so.
    """
    if entry := catalogue.find(name):
        family, takes, code = entry.family, tuple(entry.towers), False
    else:
        told = hub.config_of(name)
        family, code = str(told["model_type"]), bool(told.get("auto_map"))
        takes = tuple(rooms())
    known = families()
    takes = tuple(room for room in takes if family in known.get(room, ()))
    if not takes:
        every = sorted(set().union(*known.values()))
        fix = "triptych models lists models that can be one"
        if code:
            fix = f"only code of its own builds it. Read that; if you trust it, write into a recipe: {trust.words_of(name)}"
        raise InputError(f"{name} is a {family} model, which no input can have as its encoder", known=every, fix=fix)
    return Base(_as_encoder(name, beside), name, takes)


def _as_encoder(name: str, beside: Path) -> Any:
    """A folder as it is seen from the recipe; a name without a slash in its long form."""
    if hub.is_folder(name):
        seen = os.path.relpath(Path(name).expanduser().resolve(), beside)
        return seen if seen.startswith(".") else f"./{seen}"
    return name if "/" in name else {"kind": "pretrained", "name": name}


def fitted(base: Base, look: Look) -> dict[str, dict[str, Any]]:
    """The settings of each input: those that the base fits have it as their encoder, and no word that it answers itself.

    Raises:
        InputError: it fits none of them.
    """
    fitting = [name for name, modality in look.inputs.items() if modality in base.takes]
    if not fitting:
        there = " and ".join(dict.fromkeys(look.inputs.values()))
        fix = f"triptych models --modality {next(iter(look.inputs.values()))} lists models that take it"
        raise InputError(f"{base.called} takes {' and '.join(base.takes)}, and these files have {there} only", fix=fix)
    made = dict(look.settings)
    for name in fitting:
        prepare = _left(base, look.inputs[name], made[name].get("prepare", {}))
        rest = {word: value for word, value in made[name].items() if word not in ("prepare", "encoder")}
        made[name] = {"encoder": base.encoder, **({"prepare": prepare} if prepare else {}), **rest}
    return made


def _left(base: Base, modality: str, prepare: dict[str, Any]) -> dict[str, Any]:
    """The words that a base leaves to the recipe. A longer limit than usual may be longer than the base's own, so none is set."""
    kind = rooms()[modality].Input
    default = kind.model_validate({"modality": modality}).prepare
    encoder = base.encoder if "/" in str(base.encoder) else {"kind": "pretrained", "name": base.called}
    left = {}
    for word, value in prepare.items():
        usual = getattr(default, word)
        longer = isinstance(value, int | float) and not isinstance(value, bool) and value > usual
        if longer or value == usual:
            continue
        try:
            kind.model_validate({"modality": modality, "prepare": {word: value}, "encoder": encoder})
        except ValidationError:
            continue
        left[word] = value
    return left


def accepted(text: str) -> bool:
    """Whether a recipe as it is written is one, but for folders that are seen from where it will stand."""
    from triptych.base.settings import parse
    from triptych.run.recipe import Recipe

    try:
        parse(Recipe, read_yaml(text), "recipe")
    except InputError:
        return False
    return True
