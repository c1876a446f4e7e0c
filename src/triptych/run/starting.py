"""A training that starts from a finished run: its weights, how it prepares each input, the classes and units it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.runtime import Choices
from triptych.base.settings import spelled_out
from triptych.contract.modality import Preparation
from triptych.contract.part import ABOUT, read_about
from triptych.contract.tasks import IN_WRITING
from triptych.contract.writes import Script
from triptych.data.asked import AskedRows
from triptych.data.table import Table
from triptych.data.targets import Target, known_target
from triptych.model.assemble import Model
from triptych.run.folder import RunFolder, open_folder
from triptych.run.recipe import Recipe

LEARNT = ("width",)
"""What the facts of a head say besides its target's."""
FREE = ("weight", "label_smoothing", "dropout", "prompt", "beam", "threshold", "l1", "giou", "sure")
"""Words of a task that change nothing of its head's form."""


@dataclass(frozen=True)
class Beginning:
    """The run that a training starts from."""

    recipe: Recipe
    run: RunFolder
    old: Recipe

    def read_preparation(self, name: str, preparation: Preparation) -> None:
        """Prepare an input as the run does."""
        preparation.load(self.run.input(name))

    def read_script(self, script: Script | None) -> bool:
        """Ask in writing as the run does; False where the recipe has another decoder, which brings its own words."""
        if script is None or not self._same_decoder():
            return False
        script.load(self.run.script)
        return True

    def targets(self, table: Table, asked: Mapping[str, AskedRows]) -> dict[str, Target]:
        """What every task asks of each row, in the classes and units that the run has learnt."""
        return {name: asked[name].target() if name in asked else self._known(name, task, table) for name, task in self.recipe.tasks.items()}

    def _known(self, name: str, task: Any, table: Table) -> Target:
        facts = {key: value for key, value in read_about(self.run.model / "heads" / name / ABOUT)["facts"].items() if key not in LEARNT}
        return known_target(name, task, table, self.recipe.columns(), facts)

    def give(self, model: Model) -> None:
        """Put the run's weights into the model; a decoder that is another one keeps its own."""
        model.load_weights(self.run.model, among=lambda part: part != "decoder" or self._same_decoder())

    def _same_decoder(self) -> bool:
        return self.recipe.decoder == self.old.decoder


def beginning(recipe: Recipe, choices: Choices) -> Beginning | None:
    """The run that a recipe starts from, if it names one.

    Raises:
        InputError: it is no finished run, is damaged, or of another form than the recipe.
    """
    if recipe.start is None:
        return None
    run = open_folder(Path(recipe.start))
    old = run.recipe()
    if differing := list(_differing(recipe, old)):
        known = "".join(f"\n    {line}" for line in differing[:10])
        fix = "keep inputs, fusion and tasks as the run has them, or remove start"
        raise InputError(f"the recipe is of another form than the run that it starts from:{known}", where=f"start: {run.path}", fix=fix)
    run.verify(lambda name: name.startswith(("model/", "inputs/", "script/")))
    choices.note("starts from", str(run.path), "start: its weights, preparations and classes")
    return Beginning(recipe, run, old)


def _differing(recipe: Recipe, old: Recipe) -> list[str]:
    """What of a recipe the weights of the run would not fit."""
    found = [f"input {name}: only one of the two has it" for name in sorted(set(recipe.inputs) ^ set(old.inputs))]
    for name in [name for name in recipe.inputs if name in old.inputs]:
        for word in ("modality", "prepare", "encoder"):
            if getattr(recipe.inputs[name], word) != getattr(old.inputs[name], word):
                found.append(f"inputs.{name}.{word}")
    if recipe.fusion != old.fusion:
        found.append("fusion")
    learnt = {name for name, task in {**recipe.tasks, **old.tasks}.items() if task.kind not in IN_WRITING}
    found += [f"task {name}: only one of the two has it" for name in sorted(learnt) if (name in recipe.tasks) != (name in old.tasks)]
    both = [name for name in learnt if name in recipe.tasks and name in old.tasks]
    return found + [f"tasks.{name}" for name in both if _form(recipe.tasks[name]) != _form(old.tasks[name])]


def _form(task: Any) -> dict[str, Any]:
    return {key: value for key, value in spelled_out(task).items() if key not in FREE}
