"""What watches over a training: the weighting of its tasks, the ledger and the monitors, and all that they remember.

One `Watch` goes through all stages of a run. Everything that must survive a stop is in `state_dict`, the weighting's learnt
numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from triptych.contract.values import Batch, Output
from triptych.data.settings import SOURCE
from triptych.model.assemble import Model
from triptych.objective.chance import Bounds, constant_answer, of_contrast
from triptych.objective.losses import Term
from triptych.run import gradients
from triptych.run.balance import remarks
from triptych.run.bench import Bench
from triptych.run.folder import RunFolder
from triptych.run.ledger import Ledger
from triptych.run.measure import Measured
from triptych.run.monitors import Moment, Notice, Step, all_monitors
from triptych.run.nonfinite import NotANumber
from triptych.run.recipe import Stage
from triptych.run.weighting import build_weighting

Found = Mapping[str, Mapping[str, Term]]


class Watch:
    """Sees every step and every epoch of a run; says what is noticed as soon as it is."""

    def __init__(self, bench: Bench, run: RunFolder, say: Callable[[str], None]) -> None:
        """`say` takes a line for the user."""
        recipe = bench.recipe
        self.recipe, self.run, self.say, self.ranks = recipe, run, say, bench.ranks
        self.blind = recipe.training.strategy == "fsdp" and bench.ranks.size > 1  # gradients lie in parts
        self.weighting = build_weighting(recipe.training.weighting, {name: task.weight for name, task in recipe.tasks.items()})
        self.ledger = Ledger(list(recipe.inputs), list(self.weighting.own), _classes(bench), _source_of(bench))
        self.monitors, self.broken = {monitor.name: monitor for monitor in all_monitors()}, NotANumber(run)
        self.bounds = _bounds(bench)
        self.now, self.said, self.fresh = Moment(), list[Notice](), list[Notice]()
        self.steps = self.index = self.warm = 0
        self._write()

    def begin(self, number: int, stage: Stage, epochs_before: int, steps_an_epoch: int) -> None:
        """A stage begins."""
        rates = dict(stage.lr) if isinstance(stage.lr, dict) else {}
        rate = stage.lr if isinstance(stage.lr, float) else max(rates.values())
        self.now = Moment(self.now.step, epochs_before + 1, number, 0, True, rate, rates)
        self.steps, self.index = steps_an_epoch, 0
        self.warm = round(stage.warmup * stage.epochs * steps_an_epoch)
        self.broken.begin(steps_an_epoch)
        for monitor in self.monitors.values():
            monitor.begin()

    def tell(self, notice: Notice | None) -> None:
        """Say it at once, and remember it for the log, run.json and the report."""
        if notice is not None:
            self.said.append(notice)
            self.fresh.append(notice)
            self.say(f"  {notice.severity}: {notice.text}\n    try: {notice.fix}")
            self._write()

    def step(
        self, model: Model, own: Batch, batch: Batch, outputs: Mapping[str, Output], found: Found, losses: Mapping[str, Tensor]
    ) -> bool:
        """After the forward pass; False where a loss is no number, and the step must be left out.

        `losses` and `found` are those of all tasks, unweighted, over `batch`: of it, `own` are the rows of this process.
        """
        in_stage = self.now.in_stage + 1
        self.now = replace(self.now, step=self.now.step + 1, in_stage=in_stage, warm=in_stage <= self.warm)
        self.index += 1
        learnt = {name: losses[name] for name in self.weighting.own if found[name] and losses[name].requires_grad}
        values = {name: float(loss.detach()) for name, loss in learnt.items()}
        if wrong := [name for name, value in values.items() if not math.isfinite(value)]:
            self.tell(self.broken.bad(self.now, model, own, f"the loss of {wrong[0]}"))
            return False
        self._look(model, batch, outputs, found, learnt)
        self.ledger.add(batch, {name: found[name] for name in self.weighting.own}, self.weighting.weights())
        self._monitored(values, batch, outputs, found)
        return True

    def _look(self, model: Model, batch: Batch, outputs: Mapping[str, Output], found: Found, learnt: Mapping[str, Tensor]) -> None:
        """Measure gradients, on the steps on which the weighting or the ledger asks for them."""
        for_ledger, for_weights = self._measured(), self.weighting.due(self.now.step - 1)
        if self.blind or not (for_ledger or for_weights):
            return
        # Each process has its own rows' share of them; the first one's serves for all, so that all weigh alike.
        norms = {} if self._alone() else self.ranks.told(gradients.by_task(learnt, gradients.shared(model)))
        if for_weights:
            self.weighting.observe(norms)
        if for_ledger:
            weights = self.weighting.weights()
            by_row = {name: gradients.by_row(loss, outputs[name]) for name, loss in learnt.items()}
            self.ledger.look(batch, found, {name: weights[name] * norm for name, norm in norms.items()}, by_row)

    def _alone(self) -> bool:
        """Whether one task is learnt: then its gradient is what the step goes back through anyway."""
        return len(self.weighting.own) == 1

    def _measured(self) -> bool:
        return self.ledger.due(self.index - 1, self.steps)

    def _monitored(self, values: Mapping[str, float], batch: Batch, outputs: Mapping[str, Output], found: Found) -> None:
        bounds = {name: self._bound(name, batch, found[name]) for name in values}
        scales = {name: float(outputs[name]["scale"].detach()) for name in values if self.recipe.tasks[name].kind == "contrast"}
        seen = Step(self.now, dict(values), bounds, self.weighting.own, scales)
        for monitor in self.monitors.values():
            for notice in monitor.step(seen):
                self.tell(notice)

    def _bound(self, name: str, batch: Batch, found: Mapping[str, Term]) -> Bounds:
        """Of a contrast, it depends on the batch."""
        return self.bounds[name] if name in self.bounds else of_contrast(self.recipe.tasks[name], found, batch.targets[name])

    def gradient(self, model: Model, batch: Batch, norm: Tensor) -> bool:
        """After the backward pass, before clipping; False where the gradient is no number, and the step must be left out."""
        if not bool(norm.isfinite()):
            self.tell(self.broken.bad(self.now, model, batch, "the gradient"))
            return False
        self.broken.fine()
        if self._measured() and not self.blind:
            if self._alone():
                whole = float(gradients.norm([p.grad for p in gradients.shared(model)]))
                self.ledger.look_at_tasks(dict.fromkeys(self.weighting.own, whole))
            self.ledger.look_at_encoders(gradients.by_encoder(model))
        return True

    def epoch(self, epoch: int, measured: Measured | None) -> dict[str, Any]:
        """After an epoch: writes the ledger; returns what belongs into the log."""
        entry = {"epoch": epoch, "stage": self.now.stage, **self.ledger.entry()}
        self.ledger.clear()
        self.run.log(entry, "ledger.jsonl")
        for notice in remarks(entry, self.now):
            if notice.text.split(":")[0] not in {said.text.split(":")[0] for said in self.said if said.monitor == notice.monitor}:
                self.tell(notice)
        if measured is not None:
            for monitor in self.monitors.values():
                for notice in monitor.epoch(self.now, measured):
                    self.tell(notice)
        told, self.fresh = self.fresh, []
        if self.broken.steps:  # not all of them were told
            self._write()
        self.now, self.index = replace(self.now, epoch=epoch + 1), 0
        weights = {f"weight {name}": weight for name, weight in self.weighting.weights().items()} if len(self.weighting.own) > 1 else {}
        return {**weights, **({"notices": [notice.text for notice in told]} if told else {})}

    def _write(self) -> None:
        names = [*self.monitors, self.broken.name, "balance"]
        self.run.about(
            {"monitors": {"watched": names, "said": [notice.as_dict() for notice in self.said], "left_out": self.broken.summary()}}
        )

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered: tensors and plain values."""
        return {
            "weighting": self.weighting.state_dict(),
            "now": vars(self.now).copy(),
            "counts": {"steps": self.steps, "index": self.index, "warm": self.warm},
            "said": [notice.as_dict() for notice in self.said],
            "fresh": len(self.fresh),
            "ledger": self.ledger.state_dict(),
            "monitors": {name: monitor.state_dict() for name, monitor in self.monitors.items()},
            "broken": self.broken.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.now, self.said = Moment(**state["now"]), [Notice(**one) for one in state["said"]]
        self.fresh = self.said[len(self.said) - state["fresh"] :]
        vars(self).update(state["counts"])
        self.weighting.load_state_dict(state["weighting"])
        self.ledger.load_state_dict(state["ledger"])
        for name, monitor in self.monitors.items():
            monitor.load_state_dict(state["monitors"][name])
        self.broken.load_state_dict(state["broken"])
        self._write()


def _classes(bench: Bench) -> dict[str, list[str]]:
    tasks = bench.recipe.tasks
    return {name: bench.targets[name].facts["labels"] for name, task in tasks.items() if task.kind == "classify"}


def _source_of(bench: Bench) -> dict[str, str]:
    """Of each training row, where the recipe mixes several sources."""
    if isinstance(bench.recipe.data.source, str):
        return {}
    rows = bench.table.rows.take(bench.table.at("train"), [SOURCE])
    return {row.id: str(row.cells.get(SOURCE)) for row in rows}


def _bounds(bench: Bench) -> dict[str, Bounds]:
    """Of the tasks with a target, over the training rows; those of a contrast depend on the batch."""
    train = torch.tensor(bench.table.at("train"))
    named = {name: task for name, task in bench.recipe.tasks.items() if task.kind != "contrast"}
    return {name: constant_answer(task, bench.targets[name].values[train], bench.targets[name].has[train]) for name, task in named.items()}
