"""In which order the training rows come, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from triptych.base.runtime import Choices
from triptych.data.added import ADDED
from triptych.data.order import Order, alike, padded_share
from triptych.data.sampling import NONE, Plan, sampling_plan
from triptych.data.settings import SOURCE
from triptych.data.sheet import listed
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.run.recipe import Recipe

WINDOW = 50
"""Batches that are sorted together: enough for rows of like length, few enough that an epoch is still a mixture."""
WORTH = 0.2
"""Share of what is computed that must be spared before rows are brought together unasked."""


def training_order(recipe: Recipe, table: Table, batch_size: int, choices: Choices) -> Order:
    """The order of the training rows; what was decided about it is noted."""
    rows_R = np.array(table.at("train"), np.int64)
    plan = plan_of(recipe, table)
    if plan is not None:
        choices.note("rows an epoch", len(plan), f"{len(rows_R)} training rows, drawn by {plan.by}: see the plan")
    order = Order(rows_R, batch_size, recipe.training.seed, plan)
    return _bucketed(recipe, table, order, choices)


def note_weights(recipe: Recipe, targets: Mapping[str, Target], choices: Choices) -> None:
    """Say how much each class counts, where they do not count the same."""
    for name, target in targets.items():
        if weights := target.facts.get("class_weights"):
            told = [f"{label} {weight[-1]:.3g}" for label, weight in zip(target.facts["labels"], weights, strict=True)]
            asked = recipe.tasks[name].class_weights  # type: ignore[union-attr]
            reason = "rows / (classes x rows of the class)" if asked == "balanced" else "as the recipe says"
            choices.note(f"class weights of {name}", listed(told, 10), reason)


def plan_of(recipe: Recipe, table: Table) -> Plan | None:
    """How often training rows are drawn; None where each comes once an epoch."""
    weights = recipe.data.weights
    if recipe.data.added is not None and recipe.data.added.weight != 1:
        others = {NONE if cell is None else str(cell) for cell in table.rows.cells(SOURCE)} - {ADDED}
        weights = {**dict.fromkeys(others, 1.0), **weights, ADDED: recipe.data.added.weight}
    return sampling_plan(table, recipe.data.balance, weights, recipe.columns(), table.at("train"))


def _bucketed(recipe: Recipe, table: Table, order: Order, choices: Choices) -> Order:
    """With rows of like length together, where the recipe says so or it pays."""
    lengths = {name: table.lengths[column] for name, column in recipe.columns().items() if column in table.lengths}
    asked = recipe.training.buckets
    if not lengths:
        if asked not in ("auto", 0):
            choices.note("length buckets", "none", "every row of an input has the same length")
        return order
    sorted_order = replace(order, lengths_R=alike(lengths, order.rows_R), window=WINDOW if asked == "auto" else asked)
    before, after = ([padded_share(made.batches(0), lengths_N) for lengths_N in lengths.values()] for made in (order, sorted_order))
    pads = ", ".join(f"{name} {a:.0%} to {b:.0%}" for name, a, b in zip(lengths, before, after, strict=True))
    spared = np.mean([1 - (1 - a) / (1 - b) for a, b in zip(before, after, strict=True)])
    if asked == "auto":
        contrasts = any(task.kind == "contrast" for task in recipe.tasks.values())
        why = (
            "a task contrasts each row with the others of its batch, which should be any"
            if contrasts
            else f"it would take padding from {pads}"
        )
        if contrasts or spared < WORTH:
            choices.note("length buckets", "none", why)
            return order
    elif asked == 0:
        choices.note("length buckets", "none", "as the recipe says")
        return order
    reason = "as the recipe says" if asked != "auto" else "rows of like length together"
    choices.note("length buckets", f"{sorted_order.window} batches sorted together", f"{reason}; padding of {pads} of what is computed")
    return sorted_order
