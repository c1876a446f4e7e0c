"""What training sees of its rows where the recipe says `augment`: which inputs vary, how, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triptych.base.errors import InputError
from triptych.base.runtime import Choices
from triptych.data.loader import InputColumn
from triptych.data.remembered import VariedColumn
from triptych.data.targets import Target
from triptych.data.varied import Varied
from triptych.run.recipe import Recipe

SHOWN = 3
"""Variants that the report shows of one row."""


def varied_inputs(
    recipe: Recipe, inputs: Mapping[str, InputColumn], targets: Mapping[str, Target], choices: Choices
) -> dict[str, VariedColumn]:
    """The inputs that vary; what is done to them is noted. What answers are called, no variant of a text may lose.

    Raises:
        InputError: a step needs a package or a file that is not there, or rows that have several values would vary or be mixed.
    """
    _refuse_several(recipe, inputs)
    words = frozenset(str(label) for target in targets.values() for label in target.facts.get("labels", ()))
    most = recipe.training.variants
    found: dict[str, VariedColumn] = {}
    for name, settings in recipe.inputs.items():
        if settings.augment:
            augmenter = inputs[name].room.augmenter(settings, words)
            found[name] = Varied(name, inputs[name], augmenter, recipe.training.seed, most)
            reason = "training rows alone; " + (f"{most} variants a row, kept aside" if most else "a new variant in every epoch")
            choices.note(f"augmented {name}", ", ".join(_told(step) for step in settings.augment), reason)
    return found


def _refuse_several(recipe: Recipe, inputs: Mapping[str, InputColumn]) -> None:
    for name in (name for name, held in inputs.items() if held.several):
        if recipe.inputs[name].augment or recipe.training.mixup:
            word = f"inputs.{name}.augment" if recipe.inputs[name].augment else "training.mixup"
            what = f"{word} takes one value a row, and some rows have several of {name}"
            raise InputError(what, where=inputs[name].table.source, fix=f"remove {word}, or leave one in each row")


def variants_shown(varied: Mapping[str, VariedColumn], rows: Sequence[int]) -> list[dict[str, Any]]:
    """Of each input that varies, a row's value and some of its variants, as they are and as the network sees them."""
    pieces = []
    for name, held in varied.items():
        index = next((index for index in rows if held.column.has(index)), None)
        if index is None:
            continue
        room, preparation = held.column.room, held.column.preparation
        values = [held.column.value(index), *(held.value(index, variant) for variant in range(SHOWN))]
        items = [*held.column.items([index]), *held.items([index] * SHOWN, range(SHOWN))]
        made = [{"value": room.show(value), "seen": room.seen(item, preparation)} for value, item in zip(values, items, strict=True)]
        pieces.append({"column": name, "whole": made[0], "variants": made[1:]})
    return pieces


def came_of(varied: Mapping[str, VariedColumn]) -> dict[str, dict[str, int]]:
    """What is worth knowing of the variants that this process made, by input."""
    return {name: dict(held.augmenter.counts) for name, held in varied.items() if held.augmenter.counts}


def _told(step: Any) -> str:
    """`noise (half the time)`."""
    return f"{step.kind} ({step.chance:.0%} of the time)" if step.chance < 1 else str(step.kind)
