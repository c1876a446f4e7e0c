"""What tuning cost of what the base knew: a task of the base on rows of another table, untouched, tuned, and in between.

In between lie weights that are a mixture of the base's and the tuned ones (Wortsman et al. 2022): often most of what was
learnt is there already where little is forgotten yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import permutations
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.tasks import Classify, unwritten
from triptych.data.inputs import InputColumn
from triptych.data.order import Order
from triptych.data.table import Table
from triptych.layers.tower import Tower
from triptych.model.assemble import Model
from triptych.objective.retrieval import retrieval_scores
from triptych.run.again import other_rows
from triptych.run.bench import Bench
from triptych.run.measure import measure
from triptych.run.memory import remember
from triptych.run.own_space import classes_told, dual, nearest, scale_of, sentences, space_of
from triptych.run.progress import Voice


@dataclasses.dataclass(frozen=True)
class BaseTask:
    """The base's task: inputs that it compares, and its rows, as a bench over the same model."""

    columns: list[str]
    bench: Bench


def base_task(bench: Bench, voice: Voice) -> BaseTask:
    """Open the base's task before anything is trained: what is wrong with it must not be said when all else is paid for.

    Raises:
        InputError: the base has no space of its own, or its task's rows cannot be used.
    """
    asked = bench.recipe.forgetting
    assert asked is not None
    columns = asked.between or [space_of(bench.recipe, bench.model, "forgetting")]
    if strange := [name for name in columns if name not in dual(bench.model)]:
        what = f"forgetting.between names {strange[0]!r}, whose encoder shares no space with another input"
        raise InputError(what, where="forgetting.between", known=dual(bench.model))
    return BaseTask(columns, _other(bench, columns, voice))


def forgetting(bench: Bench, task: BaseTask, voice: Voice) -> dict[str, Any]:
    """The base's task and each task's headline score at every share of the tuning that the recipe names, and at none and all.

    Returns:
        `score` (what is measured of the base's task), `source`, `rows`, `tuned` (inputs whose base was trained) and `points`: of each
        `share` the value `kept` and the headline scores by name. Without anything tuned one point says it all.
    """
    asked, columns, other = bench.recipe.forgetting, task.columns, task.bench
    assert asked is not None
    remember(other, len(bench.recipe.stages) - 1, voice)
    towers = {name: encoder for name, encoder in bench.model.encoders.items() if isinstance(encoder, Tower)}
    tuned = {name: learnt for name, tower in towers.items() if (learnt := tower.learnt())}
    shares = sorted({0.0, 1.0, *asked.shares}) if tuned else [1.0]
    points = []
    for share in voice.track(shares, len(shares), "measuring what was forgotten"):
        with blended(towers, tuned, share):
            points.append({"share": share, "kept": _kept(bench.model, other, columns), **_scores(bench)})
    return {"score": _name(asked), "source": other.table.source, "rows": len(other.table.rows), "tuned": list(tuned), "points": points}


def _name(asked: Any) -> str:
    return f"recall@1 between {' and '.join(asked.between)}" if asked.between else "accuracy by prompts"


def _other(bench: Bench, columns: list[str], voice: Voice) -> Bench:
    """The rows of the base's task, as a bench over the same model."""
    recipe, asked = bench.recipe, bench.recipe.forgetting
    assert asked is not None
    task = Classify(target=asked.target, prompt=asked.prompt) if not asked.between else None
    tasks = {"kept": task} if task else {name: one for name, one in recipe.tasks.items() if one.kind == "contrast"}
    slim = recipe.model_copy(update={"tasks": tasks, "inputs": {name: recipe.inputs[name] for name in columns}})
    if not tasks:
        slim = slim.model_copy(update={"tasks": {"kept": _Between(columns)}})
    _, table = other_rows(slim, asked.source, voice)
    named = recipe.columns()
    inputs: dict[str, Any] = {
        name: InputColumn(bench.inputs[name].room, bench.inputs[name].preparation, named[name], table, 0) for name in columns
    }
    order = Order(np.arange(len(table.rows)), bench.batch_size)
    if not asked.between:
        _labels(table, asked.target)
    return dataclasses.replace(bench, table=table, inputs=inputs, targets={}, order=order, varied={})


@dataclasses.dataclass
class _Between:
    """Stands for a retrieval task where the rows are opened."""

    between: list[str]
    kind: str = "contrast"
    prompt: None = None


@contextmanager
def blended(towers: Mapping[str, Tower], tuned: Mapping[str, Mapping[str, Tensor]], share: float) -> Iterator[None]:
    """Weights that lie so far on the way from the base's to the tuned ones; afterwards all is as it was."""
    try:
        for name, learnt in tuned.items():
            before = towers[name].origin(learnt)
            mixed = {n: torch.lerp(before[n].to(t), t, share) if t.is_floating_point() else t for n, t in learnt.items()}
            towers[name].load_state_dict(mixed, strict=False)
        yield
    finally:
        for name, learnt in tuned.items():
            towers[name].load_state_dict(dict(learnt), strict=False)


@torch.no_grad()
def _kept(model: Model, bench: Bench, columns: list[str]) -> float:
    """The score of the base's task with the weights as they are now."""
    model.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in columns}
    present: dict[str, list[Tensor]] = {name: [] for name in columns}
    for batch in bench.loader("test"):
        for name in columns:
            present[name].append(batch.present[name])
            if name in batch.inputs:
                packed = batch.inputs[name].to(torch.device(bench.device))
                found[name].append(cast(Tower, model.encoders[name])(packed).together(packed.counts_P).pooled_BD.float().cpu())
    vectors = {name: torch.cat(rows) for name, rows in found.items()}
    there = {name: torch.cat(rows) for name, rows in present.items()}
    if len(columns) > 1:
        return _recall(vectors, there)
    return _by_prompts(model, bench, columns[0], vectors[columns[0]], there[columns[0]])


def _recall(vectors: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> float:
    """recall@1, the mean over directions, over the rows that have both sides."""
    told = []
    for a, b in permutations(vectors, 2):
        both = there[a] & there[b]
        group = torch.arange(int(both.sum()))
        one, other = (F.normalize(vectors[c][both[there[c]]], dim=-1) for c in (a, b))
        told.append(retrieval_scores(one, other, group, group)["recall@1"])
    return float(np.mean(told))


def _by_prompts(model: Model, bench: Bench, column: str, vectors_PD: Tensor, there_N: Tensor) -> float:
    asked = bench.recipe.forgetting
    assert asked is not None and asked.prompt is not None
    cells = _labels(bench.table, asked.target)
    labels = sorted({cell for cell in cells if cell is not None})
    prompts_CD = classes_told(asked.prompt, labels, partial(sentences, model, column))
    told_PC = nearest(vectors_PD, torch.ones(len(vectors_PD)), prompts_CD, scale_of(model, column))
    rows = [row for row, has in enumerate(there_N.tolist()) if has]
    judged = [(labels[guess], cells[row]) for guess, row in zip(told_PC.argmax(1).tolist(), rows, strict=True) if cells[row] is not None]
    return float(np.mean([said == truth for said, truth in judged])) if judged else float("nan")


def _labels(table: Table, target: str) -> list[str | None]:
    return [None if cell is None else str(cell) for cell in table.column(target, "forgetting.target")]


def _scores(bench: Bench) -> dict[str, float]:
    """Each task's headline score on the judged rows."""
    recipe = bench.recipe
    measured = measure(bench.model, bench.loader(bench.judged_side()), recipe.tasks, bench.device, every_mixture=False)
    return {f"{name}.{unwritten(task)}": measured.value(f"{name}.{unwritten(task)}") for name, task in recipe.tasks.items()}


def said(told: Mapping[str, Any]) -> str:
    """One line for the terminal: before, after, and the point between that keeps most of both."""
    points = told["points"]
    if not told["tuned"]:
        return f"forgetting: nothing of a base was tuned, so it is as it was ({told['score']} {points[0]['kept']:.3f})"
    first, last = points[0], points[-1]
    names = [name for name in last if name not in ("share", "kept")]
    between = max(points, key=lambda point: (point["kept"] + sum(point[name] for name in names)) if names else point["kept"])
    line = f"forgetting: {told['score']} {first['kept']:.3f} untouched, {last['kept']:.3f} tuned"
    if between["share"] in (first["share"], last["share"]):
        return line
    held = ", ".join(f"{name} {between[name]:.3f} (tuned {last[name]:.3f})" for name in names)
    return f"{line}; {between['share']:.0%} of the tuning: {between['kept']:.3f}, with {held}"
