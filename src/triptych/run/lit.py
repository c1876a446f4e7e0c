"""What Lightning runs: one step from batch to loss, one validation, one optimiser a stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from triptych.base.errors import InputError
from triptych.base.ranks import ALONE, Ranks
from triptych.base.training import L
from triptych.contract.values import Batch, Output
from triptych.layers.adapter import MARK
from triptych.model.assemble import Model
from triptych.objective.losses import rows_judged, task_loss
from triptych.run.chunked import answers
from triptych.run.clashes import TRAINABLE
from triptych.run.gather import gathered
from triptych.run.gradients import norm
from triptych.run.measure import Measured, measure
from triptych.run.mixup import mixed, mixed_terms
from triptych.run.recipe import Recipe, Stage
from triptych.run.strategy import clip, come_home, put_optimizer, sharded, whole_optimizer
from triptych.run.watch import Watch
from triptych.run.weighting import Uncertainty
from triptych.run.writing import Pen


class Lit(L.LightningModule):
    """One stage of a recipe over a model."""

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        stage: Stage,
        validation: Iterable[Batch] | None,
        steps: int,
        watch: Watch,
        state: Mapping[str, Any] | None = None,
        ranks: Ranks = ALONE,
        pen: Pen | None = None,
    ) -> None:
        """`steps` of the whole stage shape the schedule; `validation` None measures nothing between epochs; `watch` is the run's.

        `state` is what `learnt` gave when the stage was left: it goes on from there. `ranks` share every step.
        `pen` writes answers when the model is measured.
        """
        super().__init__()
        self.state, self.ranks, self.pen = state, ranks, pen
        self.home = model
        self.model, self.recipe, self.stage, self.steps = model, recipe, stage, steps
        self.validation, self.watch, self.weighting = validation, watch, watch.weighting
        self.batch: Batch | None = None
        self.sums: dict[str, tuple[float, int]] = {name: (total, rows) for name, (total, rows) in (state or {}).get("sums", {}).items()}

    def training_step(self, batch: Batch, index: int) -> Tensor | None:
        """The weighted sum of the tasks' losses on one batch; None where the batch teaches nothing that this stage trains."""
        if self.recipe.training.mixup:
            batch = mixed(batch, self.recipe.training.mixup)
        outputs, own = self._answers(batch), batch
        outputs, batch = gathered(outputs, batch, self.ranks)
        found = {name: mixed_terms(name, outputs[name], batch, task) for name, task in self.recipe.tasks.items()}
        losses = {name: task_loss(outputs[name], made) for name, made in found.items()}
        if not self.watch.step(self.model, own, batch, outputs, found, losses):
            return None
        rows = {name: rows_judged(made) for name, made in found.items()}
        loss = self.weighting(losses, rows)
        self._count(losses, rows)
        self.batch = own
        return loss if loss.requires_grad else None

    def _answers(self, batch: Batch) -> dict[str, Output]:
        if self.sharded:
            return {task: Output(tensors) for task, tensors in self.model(batch).items()}
        return answers(self.model, batch, self.recipe.training.chunk)

    @property
    def sharded(self) -> bool:
        """Whether the weights lie in parts on several devices; `home` then has them whole, as they last came home."""
        return self.model is not self.home

    def configure_model(self) -> None:
        """Cut the weights up, where the strategy is to."""
        if self.ranks.size > 1 and self.recipe.training.strategy == "fsdp" and not self.sharded:
            assert self.device_mesh is not None
            for part in self.home.parts().values():
                part.ready()  # what is read later would not be cut up
            self.model = sharded(self.home, self.device_mesh["data_parallel"])

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradient of the model; where it is no number, take it away, and the optimiser leaves the step out.

        The weighting's own parameters are left alone: how large their gradient is must not make the model's smaller.
        """
        there = [p for p in self.model.parameters() if p.grad is not None]
        if not there or self.batch is None:
            return
        if self.sharded:
            if not self.watch.gradient(self.model, self.batch, clip(there, gradient_clip_val)):
                optimizer.zero_grad(set_to_none=True)
            return
        whole = norm([p.grad for p in there])
        if not self.watch.gradient(self.model, self.batch, whole):
            optimizer.zero_grad(set_to_none=True)
        elif gradient_clip_val and whole + 1e-6 > gradient_clip_val:  # else torch would go over all of it to multiply by one
            torch.nn.utils.clip_grads_with_norm_(there, gradient_clip_val, whole)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Put parameters that ran out of their bounds back."""
        self.model.constrain()

    def _count(self, losses: Mapping[str, Tensor], rows: Mapping[str, int]) -> None:
        """Sum each task's loss over the rows it is of; one number a task is read back, once a step."""
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        for (name, count), value in zip(rows.items(), values, strict=True):
            total, counted = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + value * count, counted + count

    def take_means(self) -> dict[str, float]:
        """Mean training losses since the last call: each task's over its own rows, and their weighted sum."""
        means = {name: total / max(rows, 1) for name, (total, rows) in self.sums.items()}
        self.sums = {}
        whole = sum(self.recipe.tasks[name].weight * mean for name, mean in means.items())
        return {"loss": whole if means else math.nan, **{f"{name}.loss": mean for name, mean in means.items()}}

    def learnt(self) -> dict[str, Any]:
        """All that the stage has learnt so far, the model's weights included, for the state of the run."""
        (optimizer,), (schedule,) = self.trainer.optimizers, self.trainer.lr_scheduler_configs
        self.bring_home()
        return {
            "model": self.home.kept(),
            "optimizer": whole_optimizer(self.model, optimizer) if self.sharded else optimizer.state_dict(),
            "schedule": schedule.scheduler.state_dict(),
            "sums": self.sums,
            "watch": self.watch.state_dict(),
        }

    def bring_home(self) -> None:
        """Put weights that lie in parts together; every process must ask for it."""
        if self.sharded:
            come_home(self.model, self.home)

    def validated(self) -> Measured | None:
        """The model as it is now on the validation rows; None where there are none."""
        self.bring_home()
        if self.validation is None:
            return None
        with self.trainer.precision_plugin.forward_context():
            return measure(self.home, self.validation, self.recipe.tasks, str(self.device), every_mixture=False, pen=self.pen)

    def configure_optimizers(self) -> Any:
        """AdamW over the stage's parts, each at its rate, and over what the weighting learns; warm-up, then the schedule."""
        groups = parameter_groups(self.model, self.stage)
        if learnt := list(self.weighting.parameters()):
            groups.append({"params": learnt, "lr": Uncertainty.RATE, "weight_decay": 0.0, "name": "weighting"})
        # In one kernel a step of the demo's model takes a third of the time; it knows no weights that lie in parts.
        foreach, fused = (False, None) if self.sharded else (None, True)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), foreach=foreach, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(self.stage, self.steps))
        if self.state is not None and "optimizer" in self.state:  # there is none yet where a stage begins
            if self.sharded:
                put_optimizer(self.model, optimizer, self.state["optimizer"])
            else:
                optimizer.load_state_dict(_as_made(self.state["optimizer"], optimizer))
            schedule.load_state_dict(dict(self.state["schedule"]))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _as_made(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's state that was written down: lists are tuples again where the optimiser has such."""
    groups = [
        {name: tuple(value) if isinstance(now.get(name), tuple) else value for name, value in group.items()}
        for group, now in zip(state["param_groups"], optimizer.state_dict()["param_groups"], strict=True)
    ]
    return {"state": state["state"], "param_groups": groups}


def rate_factor(stage: Stage, steps: int) -> Callable[[int], float]:
    """Step -> factor of the highest rate: linear up over the warm-up, then a half cosine down to zero, or flat."""
    warm = round(stage.warmup * steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if stage.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1.0)))

    return factor


def trainable(model: Model, stage: Stage) -> dict[str, list[nn.Parameter]]:
    """Parameters that a stage trains, by part; what is fresh in a pretrained part is among them in every stage."""
    parts = model.parts()
    chosen: dict[str, dict[int, nn.Parameter]] = {}
    for words in stage.train:
        match = TRAINABLE.match(words)
        assert match, words  # the recipe was checked
        for name in parts if match["part"] == "all" else [match["part"]]:
            parts[name].ready()
            pieces = parts[name].blocks()[-int(match["last"]) :] if match["last"] else [parts[name]]
            named = [(path, p) for piece in pieces for path, p in piece.named_parameters()]
            chosen.setdefault(name, {}).update({id(p): p for path, p in named if not match["lora"] or MARK in path})
    for name, part in parts.items():
        if found := {id(p): p for piece in part.fresh() for p in piece.parameters()}:
            chosen.setdefault(name, {}).update(found)
    return {name: list(found.values()) for name, found in chosen.items()}


def check_depths(model: Model, stages: Iterable[Stage]) -> None:
    """Raise InputError where a stage's last(N) counts more blocks than the part has."""
    for number, stage in enumerate(stages):
        for match in filter(None, map(TRAINABLE.match, stage.train)):
            if match["last"] and int(match["last"]) > (there := model.parts()[match["part"]].depth()):
                name, blocks = match["part"], f"{there} block{'s' * (there > 1)}"
                what = f"{name}.last({match['last']}) asks for more blocks than {name} has: it has {blocks}"
                raise InputError(what, where=f"stages.{number}.train", fix=f"{name}.last({there}) or fewer; {name} alone trains all of it")


def _by_depth(model: Model, stage: Stage) -> Iterator[tuple[str, int, list[nn.Parameter]]]:
    """Name, depth and parameters of all that a stage trains; the depth counts blocks up from the last where rates decay with it."""
    for name, parameters in trainable(model, stage).items():
        if stage.decay == 1.0:
            yield name, 0, parameters
            continue
        blocks = model.parts()[name].blocks()
        depth = {id(p): number for number, block in enumerate(reversed(blocks)) for p in block.parameters()}
        for number in sorted({depth.get(id(p), 0) for p in parameters}):
            yield name, number, [p for p in parameters if depth.get(id(p), 0) == number]


def freeze_all_but(model: Model, stage: Stage) -> int:
    """Let only the stage's parameters have gradients; returns how many numbers that is."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    count = 0
    for parameters in trainable(model, stage).values():
        for parameter in parameters:
            parameter.requires_grad_(True)
            count += parameter.numel()
    return count


def parameter_groups(model: Model, stage: Stage) -> list[dict[str, Any]]:
    """One group a part for matrices (decayed) and one for biases, norms and scalars (not decayed)."""
    groups = []
    for name, depth, parameters in _by_depth(model, stage):
        # What is fresh in a part that the stage does not name learns as fast as the fastest that it does.
        rate = stage.lr.get(name, max(stage.lr.values())) if isinstance(stage.lr, dict) else stage.lr
        parameters = [p for p in parameters if p.requires_grad]
        for decay, chosen in ((stage.weight_decay, [p for p in parameters if p.ndim > 1]), (0.0, [p for p in parameters if p.ndim <= 1])):
            if chosen:
                lower = f" {depth} blocks down" if depth else ""
                groups.append({"params": chosen, "lr": rate * stage.decay**depth, "weight_decay": decay, "name": name + lower})
    return groups
