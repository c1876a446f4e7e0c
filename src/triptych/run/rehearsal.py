"""Before a long training: can a copy of the model learn one batch by heart? Where it cannot, hours would be lost."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from triptych.contract.values import Batch
from triptych.data.loader import Loader
from triptych.model.assemble import Model
from triptych.objective.chance import Bounds, constant_answer, of_contrast
from triptych.objective.losses import task_loss, terms
from triptych.run.bench import Bench
from triptych.run.chunked import answers
from triptych.run.lit import parameter_groups
from triptych.run.monitors import Moment, Notice, other_rate
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe, Stage
from triptych.run.watch import Watch

LONG = 1000
"""Steps from which a training is long."""
STEPS = 50
"""Of the check: a twentieth of the shortest long training."""
LEARNT = 0.2
"""Share of the way from chance to the best loss that a batch learnt by heart has at least behind it."""
ROSE = 1.25
"""Times the first loss, above which the rate was too high."""
RATE = 1e-3
"""Highest rate of the check at least: with a rate for fine tuning, fifty steps would show nothing."""


@dataclass(frozen=True)
class Rehearsed:
    """What came of it: loss of each task before and after, and what it is at chance and at best."""

    rows: int
    steps: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    bounds: Mapping[str, Bounds]

    def failed(self) -> list[str]:
        """Tasks that were not learnt; one for which all rows are alike cannot be."""
        found = []
        for task, after in self.after.items():
            chance, floor = self.bounds[task]
            if not math.isfinite(after) or (chance > floor and not chance - after > LEARNT * (chance - floor)):
                found.append(task)
        return found

    def told(self) -> str:
        """`label 2.31 to 0.02, match 4.1 to 0.3`."""
        return ", ".join(f"{task} {self.before[task]:.3g} to {after:.3g}" for task, after in self.after.items())

    def notices(self, now: Moment) -> Iterator[Notice]:
        """A warning where a task was not learnt."""
        if failed := self.failed():
            shown = ", ".join(f"{t} {self.before[t]:.3g} to {self.after[t]:.3g} (chance {self.bounds[t].chance:.3g})" for t in failed)
            text = f"a copy of the model could not learn one batch of {self.rows} rows by heart in {self.steps} steps: {shown}"
            rose = any(not self.after[task] <= self.before[task] * ROSE for task in failed)
            rate = other_rate(now, lower=rose)
            fix = (
                "on so few rows any model that can learn should: "
                + (f"the loss rose, so first {rate}; " if rose else "")
                + "check that targets belong to their rows and inputs are not empty; "
                + ("" if rose else f"{rate}; ")
                + "less dropout; a larger model"
            )
            yield now.notice("one batch", text, fix, 0)


def rehearse(model: Model, batch: Batch, recipe: Recipe, stage: Stage, device: str) -> Rehearsed:
    """Train a copy of the model on one batch. Weights, random states and everything else are as before.

    The loss is the sum over the tasks that are learnt, each with its own weight; dropout is off as far as modules do it, and no
    input is hidden: both make learning by heart harder, which is not what is asked here.
    """
    with untouched_chance():
        twin = copy.deepcopy(model)
        twin.drop_inputs = 0.0
        twin.train()
        for module in twin.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0.0
        batch = batch.to(torch.device(device))
        groups = parameter_groups(twin, stage)
        factor = max(1.0, RATE / max(group["lr"] for group in groups))
        optimizer = torch.optim.AdamW([{**group, "lr": group["lr"] * factor} for group in groups], betas=(0.9, 0.98))
        losses, bounds = _losses(twin, batch, recipe)
        before = {task: float(loss.detach()) for task, loss in losses.items()}
        for _ in range(STEPS if losses else 0):
            optimizer.zero_grad()
            torch.stack([recipe.tasks[task].weight * loss for task, loss in losses.items()]).sum().backward()
            if recipe.training.clip:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), recipe.training.clip)
            optimizer.step()
            twin.constrain()
            losses, _ = _losses(twin, batch, recipe)
        return Rehearsed(len(batch), STEPS, before, {task: float(loss.detach()) for task, loss in losses.items()}, bounds)


def _losses(model: Model, batch: Batch, recipe: Recipe) -> tuple[dict[str, Any], dict[str, Bounds]]:
    """Of the tasks that are learnt, that the batch has rows of, and that the stage can change."""
    outputs = answers(model, batch, recipe.training.chunk)
    losses, bounds = {}, {}
    for name, task in recipe.tasks.items():
        target, has = batch.targets[name], batch.has_target[name]
        found = terms(outputs[name], target, has, task, batch.present)
        loss = task_loss(outputs[name], found)
        if task.weight > 0 and found and loss.requires_grad:
            losses[name] = loss
            bounds[name] = of_contrast(task, found, target) if task.kind == "contrast" else constant_answer(task, target, has)
    return losses, bounds


@contextmanager
def untouched_chance() -> Iterator[None]:
    """Random states of Python, numpy and torch, on every device, are afterwards what they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(list(range(torch.cuda.device_count()))):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def check_one_batch(bench: Bench, loader: Loader, watch: Watch, voice: Voice) -> None:
    """Do it where the recipe says so, or the training is long; the batch is the first of the training."""
    asked, stages = bench.recipe.training.check_batch, bench.recipe.stages
    steps = sum(stage.epochs for stage in stages) * len(loader)
    if asked is False or (asked == "auto" and steps < LONG):
        reason = "as the recipe says" if asked is False else f"at most {steps:,} steps: from {LONG:,} on it is tried first"
        bench.choices.note("one batch by heart", "not tried", reason)
        return
    with voice.waiting("trying to learn one batch by heart"):
        batch = loader.batch(loader.order.batches(0)[0].tolist())
        found = rehearse(bench.model, batch, bench.recipe, stages[0], bench.device)
    reason = "as the recipe says" if asked is True else f"up to {steps:,} steps are to come"
    bench.choices.note("one batch by heart", found.told() or "nothing to learn in it", f"{reason}; {found.rows} rows, {found.steps} steps")
    voice.say(f"  {found.told()} in {found.steps} steps")
    for notice in found.notices(watch.now):
        watch.tell(notice)
