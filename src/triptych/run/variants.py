"""What training sees of its rows where the recipe says `augment`: which inputs vary, how, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.base.runtime import Choices
from triptych.data.loader import InputColumn
from triptych.data.targets import Target
from triptych.data.varied import Varied
from triptych.run.recipe import Recipe


def varied_inputs(recipe: Recipe, inputs: Mapping[str, InputColumn], targets: Mapping[str, Target], choices: Choices) -> dict[str, Varied]:
    """The inputs that vary; what is done to them is noted. What answers are called, no variant of a text may lose.

    Raises:
        InputError: a step needs a package or a file that is not there.
    """
    words = frozenset(str(label) for target in targets.values() for label in target.facts.get("labels", ()))
    most, found = recipe.training.variants, {}
    for name, settings in recipe.inputs.items():
        if settings.augment:
            augmenter = inputs[name].room.augmenter(settings, words)
            found[name] = Varied(name, inputs[name], augmenter, recipe.training.seed, most)
            reason = "training rows alone; " + (f"{most} variants a row, kept aside" if most else "a new variant in every epoch")
            choices.note(f"augmented {name}", ", ".join(_told(step) for step in settings.augment), reason)
    return found


def _told(step: Any) -> str:
    """`noise (half the time)`."""
    return f"{step.kind} ({step.chance:.0%} of the time)" if step.chance < 1 else str(step.kind)
