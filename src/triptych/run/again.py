"""A trained model on rows again: those it was judged on, or others that have its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.base.runtime import Choices, choose_device, choose_keep, choose_memory, choose_threads
from triptych.contract.modality import Modality, Preparation, Split
from triptych.contract.writes import Script
from triptych.data.check import screen
from triptych.data.loader import InputColumn
from triptych.data.order import Order
from triptych.data.remembered import Column
from triptych.data.table import Table
from triptych.data.targets import known_target
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.run.bench import Bench
from triptych.run.grounding import framed
from triptych.run.opening import read_rows
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.writing import asked_rows


def on_rows(
    recipe: Recipe, table: Table, model: Model, inputs: Mapping[str, tuple[Modality, Preparation]], script: Script | None = None
) -> Bench:
    """A bench for measuring: the run's weights, preparations and labels over a table's rows.

    Device and threads are chosen as for the training; the batch size is the recipe's.
    """
    choices = Choices()
    device = choose_device(recipe.training.device, choices)
    choose_threads(recipe.training.threads, choices)
    choose_memory(choices)
    keep, columns = choose_keep(choices) // len(inputs), recipe.columns()
    held: dict[str, Column] = {
        name: InputColumn(room, preparation, columns[name], table, keep) for name, (room, preparation) in inputs.items()
    }
    facts = {name: {k: v for k, v in part.facts.items() if k != "width"} for name, part in model.parts().items()}
    asked = asked_rows(recipe, script, table, {name: table.counts(column) for name, column in columns.items()})
    targets = {
        name: asked[name].target() if name in asked else known_target(name, task, table, columns, facts[name])
        for name, task in recipe.tasks.items()
    }
    targets = framed(recipe, table, targets, held, Voice(quiet=True))
    there = len(table.at("train"))
    batch_size = min(recipe.training.batch_size, there) if there else recipe.training.batch_size
    order = Order(np.array(table.at("train"), np.int64), batch_size)  # nothing is trained, so nothing is shuffled
    return Bench(
        recipe, choices, table, held, targets, model.to(device), device, "float32", batch_size, [], order, script=script, asked=asked
    )


def other_rows(recipe: Recipe, source: str, voice: Voice) -> tuple[Recipe, Table]:
    """All rows of another source, to be measured on, and the recipe with the tasks that they can judge.

    Raises:
        InputError: the source has no input of the recipe, or nothing to judge its answers by, or too many rows cannot be used.
    """
    data = recipe.data.model_copy(update={"source": source, "limit": None})
    recipe = recipe.model_copy(update={"data": data})
    columns = {recipe.columns()[name]: rooms()[settings.modality] for name, settings in recipe.inputs.items()}
    table = read_rows(recipe, columns, voice)
    there = {column: room for column, room in columns.items() if column in table.columns}
    if not there:
        raise InputError("nothing in it is an input of this run", where=source, known=list(columns), fix="name its columns as the run's")
    recipe, missing = _judged_tasks(recipe, table)
    missing += [f"no column {column!r}: every row is judged without that input" for column in columns if column not in there]
    table = screen(table, there, recipe.data.max_rejected, lambda rows, total: voice.track(rows, total, "reading rows"))
    sides: list[Split] = ["test"] * len(table.rows)
    return recipe, replace(table, splits=sides, findings=[*table.findings, *missing])


def _judged_tasks(recipe: Recipe, table: Table) -> tuple[Recipe, list[str]]:
    """The recipe without the tasks whose column is not there, and a sentence for each of them."""
    wanted = {
        name: getattr(task, "target", None) or getattr(task, "positives", None) or getattr(task, "messages", None)
        for name, task in recipe.tasks.items()
    }
    gone = {name: column for name, column in wanted.items() if column is not None and column not in table.columns}
    for name, task in recipe.tasks.items():
        if task.kind == "contrast" and sum(recipe.columns()[given] in table.columns for given in task.between) < 2:
            gone[name] = " and ".join(recipe.columns()[given] for given in task.between)
    if len(gone) == len(recipe.tasks):
        columns = ", ".join(repr(column) for column in gone.values())
        fix = "add the column with the true answers; triptych predict answers rows that have none"
        raise InputError(f"there is nothing to judge the answers by: no column {columns}", where=table.source, known=table.columns, fix=fix)
    spaces = {name: recipe.prompted(name) for name in recipe.tasks}
    tasks: dict[str, Any] = {
        name: task.model_copy(update={"prompt": None}) if (space := spaces[name]) and space[0] in gone else task
        for name, task in recipe.tasks.items()
        if name not in gone
    }
    group = recipe.data.split.group
    split = recipe.data.split.model_copy(update={"group": group if group in table.columns else None})
    data = recipe.data.model_copy(update={"split": split})
    said = [f"task {name}: no column {column!r}, so it is not measured" for name, column in gone.items()]
    return recipe.model_copy(update={"tasks": tasks, "data": data}), said
