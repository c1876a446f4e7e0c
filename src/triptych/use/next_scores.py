"""How two versions of a run fare on the same remarks: what was held out, and what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from triptych.data.rows import Listed
from triptych.data.table import Table
from triptych.run.again import on_rows
from triptych.run.fit import measured_on
from triptych.run.measure import Measured
from triptych.run.progress import Voice
from triptych.run.verdict import verdict
from triptych.use.lessons import CHOSEN, REJECTED, Lesson, Sorted
from triptych.use.opened import Run


def before_and_after(old: Run, new: Run, lessons: Sorted) -> dict[str, Any]:
    """Both versions on what was held out, and on what was learnt, task by task."""
    told: dict[str, Any] = {}
    for side, rows in (("held_out", lessons.held), ("learnt", lessons.learnt)):
        told[side] = {}
        for name in dict.fromkeys(task for one in rows for task in one.tasks):
            mine = [one for one in rows if name in one.tasks and CHOSEN not in one.row.cells]
            pairs = [one for one in rows if name in one.tasks and CHOSEN in one.row.cells]
            if mine:
                told[side][name] = _compared(name, mine, old, new)
            if pairs:
                told[side][f"{name}, better of two"] = _preferred(name, pairs, old, new)
    told["old_test"] = new.folder.read("verdicts.json", default={})
    return told


def _compared(name: str, lessons: Sequence[Lesson], old: Run, new: Run) -> dict[str, Any]:
    before, after = (_measured(name, lessons, run) for run in (old, new))
    found = verdict(name, old.recipe.tasks[name], before, after, {}, None) or {}
    return {"rows": len(lessons), **found, **_turned(name, old.recipe.tasks[name], before, after)}


def _preferred(name: str, lessons: Sequence[Lesson], old: Run, new: Run) -> dict[str, Any]:
    """How often the better of two gained more than the worse; of the old version nothing has: half, by its definition.

    That the pairs were learnt does not say yet that the run would write the better one: how often it is the likelier of the two, of
    either version, is told beside it.
    """
    task = f"better_{name}"
    after = _measured(task, lessons, new)
    before = replace(after, answers={task: torch.zeros_like(after.answers[task])})
    likelier = {f"likelier_{when}": _likelier(name, lessons, run) for when, run in (("before", old), ("after", new))}
    return {"rows": len(lessons), **(verdict(task, new.recipe.tasks[task], before, after, {}, None) or {}), **likelier}


def _likelier(name: str, lessons: Sequence[Lesson], run: Run) -> int:
    """On how many rows a version takes the better answer for likelier than the worse, as a whole."""
    task: Any = run.recipe.tasks[name]
    nll = []
    for column in (CHOSEN, REJECTED):
        rows = [replace(one, row=replace(one.row, cells={**one.row.cells, task.target: one.row.cells[column]})) for one in lessons]
        nll.append(_measured(name, rows, run).answers[name][:, 2])
    return int((nll[0] < nll[1]).sum())


def _turned(name: str, task: Any, before: Measured, after: Measured) -> dict[str, int]:
    """Of answers that are right or wrong: how many were right before and after, and how many turned."""
    if task.kind != "classify":
        return {}
    has = before.has_truth[name]
    first, second = ((one.answers[name].argmax(1) == one.truth[name])[has] for one in (before, after))
    turned = {"gained": int((~first & second).sum()), "lost": int((first & ~second).sum())}
    return {"right_before": int(first.sum()), "right_after": int(second.sum()), **turned}


def _measured(name: str, lessons: Sequence[Lesson], run: Run) -> Measured:
    """A run's answers to one task on rows of feedback."""
    task = run.recipe.tasks[name]
    alone = task.model_copy(update={"prompt": None}) if hasattr(task, "prompt") else task
    data = run.recipe.data.model_copy(update={"added": None})
    slim = run.recipe.model_copy(update={"tasks": {name: alone}, "data": data})
    columns = list(dict.fromkeys([*run.recipe.columns().values(), *(c for one in lessons for c in one.row.cells)]))
    table = Table(columns, Listed([one.row for one in lessons]), "feedback", Path(), ["test"] * len(lessons))
    bench = on_rows(slim, table, run.model, run.inputs, run.script)
    return measured_on(bench, Voice(quiet=True), "")
