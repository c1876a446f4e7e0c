"""What several trainings share: tables opened and checked once, inputs read and prepared once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.ranks import ranks
from triptych.base.settings import spelled_out
from triptych.data.loader import InputColumn
from triptych.data.table import Table
from triptych.run.folder import RunFolder
from triptych.run.recipe import LAST, Recipe

Report = Callable[[RunFolder], Path]
"""Writes the report of a finished run and says where."""


@dataclass
class Shared:
    """Kept from one training to the next by what decides it; a training alone has one of its own."""

    tables: dict[str, Table] = field(default_factory=dict)
    inputs: dict[str, InputColumn] = field(default_factory=dict)

    def table(self, recipe: Recipe, make: Callable[[], Table]) -> Table:
        """The table of equal data settings, or a new one."""
        key = rows_of(recipe)
        if key not in self.tables:
            self.tables[key] = make()
        return self.tables[key]

    def column(self, recipe: Recipe, name: str, make: Callable[[], InputColumn]) -> InputColumn:
        """An input over that table, with what it has kept, or a new one."""
        key = f"{name} of {rows_of(recipe)}"
        if key not in self.inputs:
            self.inputs[key] = make()
        return self.inputs[key]


def rows_of(recipe: Recipe) -> str:
    """All that decides which rows there are, on which side they stand, what was found in them and how they are prepared."""
    inputs = {
        name: [settings.modality, recipe.columns()[name], spelled_out(settings.prepare), _base_of(settings.encoder)]
        for name, settings in recipe.inputs.items()
    }
    words = ("kind", "target", "positives", "between", "separator")
    tasks = {name: [getattr(task, word, None) for word in words] for name, task in recipe.tasks.items()}
    return json.dumps([spelled_out(recipe.data), inputs, tasks, recipe.start])


def _base_of(encoder: Any) -> dict[str, Any] | None:
    """What of an encoder decides how an input is prepared: which base it is, if it is one."""
    return spelled_out(encoder) if encoder.kind == "pretrained" else None


def alone_only(recipe: Recipe, what: str) -> None:
    """Raise InputError where several processes would do the same trainings side by side, or no score chooses between them."""
    if recipe.selected() == LAST:
        raise InputError(f"{what} chooses by a score, and training.select is {LAST}", fix="--set training.select=TASK.SCORE")
    if recipe.training.devices > 1 or ranks().size > 1:
        raise InputError(
            f"{what} trains in one process", where="training.devices", fix="--set training.devices=1; train the winner on all of them"
        )
