"""Monitors: each looks for one way in which a training goes wrong, and says so in plain words as soon as it can.

A monitor sees every step (`step`) and the end of every epoch (`epoch`), starts afresh with every stage (`begin`), and speaks
once a stage of each thing. What it remembers are plain numbers and lists, so that a run that is taken up again goes on watching.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor

from triptych.contract.examined import Severity
from triptych.objective.chance import Bounds
from triptych.run.measure import Measured

WINDOW = 10
"""Steps that are looked at together: one step's loss says little."""
HIGH = 0.01
"""A rate from which nobody is sent to a higher one: AdamW's usual ones are a tenth of it and less."""


@dataclass(frozen=True)
class Notice:
    """What a monitor says: what happened, from which step to which, and what to try."""

    severity: Severity
    monitor: str
    text: str
    fix: str
    since: int
    step: int
    epoch: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class Moment:
    """Where training is: steps and epochs over all stages, both counted from 1; `stage` from 0, `in_stage` its steps so far."""

    step: int = 0
    epoch: int = 0
    stage: int = 0
    in_stage: int = 0
    warm: bool = False
    """Whether the rate is still rising."""
    rate: float = 0.0
    """Highest learning rate of the stage."""
    rates: dict[str, float] = field(default_factory=dict)
    """Rate of each part, where the recipe gives them one by one."""

    def notice(self, monitor: str, text: str, fix: str, since: int, severity: Severity = "warning") -> Notice:
        """A notice of now."""
        return Notice(severity, monitor, text, fix, since, self.step, self.epoch)


@dataclass(frozen=True)
class Step:
    """What the monitors see of a step."""

    now: Moment
    losses: dict[str, float]
    """Of the tasks that are learnt and of which the batch has rows."""
    bounds: dict[str, Bounds]
    """What each of them is at chance, and at best."""
    weights: dict[str, float]
    """The tasks' own weights."""
    scales: dict[str, float] = field(default_factory=dict)
    """One over the temperature, by contrast task."""


class Monitor:
    """Base: remembers whatever stands in the fields of a subclass."""

    name = ""

    def begin(self) -> None:
        """A stage begins."""
        self.load_state_dict(copy.deepcopy(type(self)().state_dict()))

    def step(self, seen: Step) -> Iterator[Notice]:
        """After the forward pass of a step."""
        yield from ()

    def epoch(self, now: Moment, measured: Measured) -> Iterator[Notice]:
        """After an epoch, with what the validation rows gave."""
        yield from ()

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, as plain values."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        vars(self).update(state)


@dataclass
class AtChance(Monitor):
    """A task's loss does not leave the loss of an answer that does not look at its row (ln of the classes, ln of the batch)."""

    STEPS, EPOCHS, LONG = 60, 2, 1000
    """Said after so many steps at chance that are also so many epochs, or after LONG steps."""
    BAND = 0.02
    """Share of the way from chance to the best loss that counts as nothing."""
    ABOVE = 1.1
    """Times chance, from where it is worse than chance."""

    MOVED = 0.25
    """Share of the first step's loss by which a later one differs that has gone anywhere."""

    sums: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    """Loss of the first step."""
    pinned: dict[str, list[int]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    name = "at chance"

    def step(self, seen: Step) -> Iterator[Notice]:
        """See the class."""
        for task, loss in seen.losses.items():
            bounds = seen.bounds[task]
            self.first.setdefault(task, loss)
            if seen.now.warm or not bounds.chance > bounds.floor:
                continue
            sums = self.sums.setdefault(task, [0.0, 0.0, 0.0, 0.0])
            self.sums[task] = sums = [a + b for a, b in zip(sums, (1.0, loss, bounds.chance, bounds.floor), strict=True)]
            if sums[0] == WINDOW:
                yield from self._window(task, seen.now, sums)
                self.sums[task] = [0.0, 0.0, 0.0, 0.0]

    def _window(self, task: str, now: Moment, sums: list[float]) -> Iterator[Notice]:
        _, loss, chance, floor = sums
        if chance - loss > self.BAND * (chance - floor):
            self.pinned.pop(task, None)
            return
        since, epoch = self.pinned.setdefault(task, [now.step - WINDOW + 1, now.epoch])
        steps, epochs = now.step - since + 1, now.epoch - epoch
        if task not in self.told and steps >= self.STEPS and (epochs >= self.EPOCHS or steps >= self.LONG):
            self.told.append(task)
            above, first = loss > self.ABOVE * chance, self.first[task]
            moved = abs(loss / WINDOW - first) > self.MOVED * first
            where = f"{'above' if above else 'at'} chance{', where it began' if above and not moved else ''}"
            text = (
                f"{task}: the loss has stayed {where} ({loss / WINDOW:.3g}; {chance / WINDOW:.3g} is what an answer costs that does "
                f"not look at its row) for {steps} steps, since step {since}"
            )
            fix = (
                f"{other_rate(now, lower=above and moved)}; check that its target belongs to "
                "its row and that the stage trains what the task needs; --set training.check_batch=true tries to learn one batch by heart"
            )
            yield now.notice(self.name, text, fix, since)


@dataclass
class Rising(Monitor):
    """The loss is higher than before the first step, or climbs back after it had fallen: the rate is too high.

    Levels are shares of what the same tasks cost at first (or at chance, where that is more), as a batch may lack a task.
    """

    ABOVE = 1.25
    """Times the first loss ..."""
    BACK = 4.0
    """... or times the lowest level so far, and above half of the first."""

    first: dict[str, float] = field(default_factory=dict)
    recent: list[float] = field(default_factory=list)
    lowest: list[float] = field(default_factory=list)
    """The lowest level, and its step."""
    told: bool = False

    name = "loss rising"

    def step(self, seen: Step) -> Iterator[Notice]:
        """See the class."""
        for task, loss in seen.losses.items():
            self.first.setdefault(task, max(loss, seen.bounds[task].chance))  # max keeps the loss where chance is not known
        before = sum(seen.weights[task] * self.first[task] for task in seen.losses)
        if before <= 0:
            return
        self.recent = [*self.recent[-WINDOW + 1 :], sum(seen.weights[task] * loss for task, loss in seen.losses.items()) / before]
        level = median(self.recent)
        if len(self.recent) < WINDOW or self.told:
            return
        back = self.lowest and level > self.BACK * self.lowest[0] and level > 0.5
        if level > self.ABOVE or back:
            self.told = True
            once, since = (self.lowest[0], int(self.lowest[1])) if back else (1.0, seen.now.step - seen.now.in_stage + 1)
            text = (
                f"the loss rose from {once * before:.3g} at step {since} to {level * before:.3g} at step {seen.now.step}: "
                "the learning rate is too high"
            )
            yield seen.now.notice(self.name, text, lower_rate(seen.now), since)
        elif not self.lowest or level < self.lowest[0]:
            self.lowest = [level, float(seen.now.step)]


@dataclass
class Temperature(Monitor):
    """The learnt temperature of a contrast runs: three times as far within a hundred steps, or at its bound for long."""

    FAR, STEPS = 3.0, 100
    COLDEST, HOTTEST = 99.9, 0.1001
    """Scales at the bounds that `model/heads.py` keeps."""

    past: dict[str, list[float]] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    name = "temperature"

    def step(self, seen: Step) -> Iterator[Notice]:
        """See the class."""
        now = seen.now
        for task, scale in seen.scales.items():
            past = self.past[task] = [*self.past.get(task, [])[-self.STEPS :], scale]
            if task in self.told:
                continue
            least, most = min(past), max(past)
            if scale in (least, most) and most > self.FAR * least:
                self.told.append(task)
                since = now.step - len(past) + 1
                text = f"{task}: the temperature went from {1 / past[0]:.3g} to {1 / scale:.3g} within {len(past) - 1} steps"
                yield now.notice(self.name, text, lower_rate(now, task), since)
            elif self.HOTTEST < scale < self.COLDEST:
                self.bound.pop(task, None)
            elif now.step - self.bound.setdefault(task, now.step) >= self.STEPS:
                self.told.append(task)
                text = f"{task}: the temperature has been at its bound, {1 / scale:.2g}, since step {self.bound[task]}"
                yield now.notice(self.name, text, self._fix(task, scale, now), self.bound[task], "note")

    def _fix(self, task: str, scale: float, now: Moment) -> str:
        if scale < 1:
            return f"the embeddings say nothing yet: {lower_rate(now, task)}, and look whether rows of {task} belong together at all"
        return "usual late in long trainings; early, look for copies among the rows that do not count as belonging together (positives)"


@dataclass
class Collapse(Monitor):
    """Embeddings of the validation rows point all in one direction, or lie on a line, twice in a row.

    The mean cosine of different rows, and RankMe (Garrido et al. 2023): exp of the entropy of the shares of the singular values.
    """

    COSINE, RANK, GROUPS, STEPS = 0.95, 1.5, 8, 60
    """RankMe is looked at with so many groups at least: two groups that belong apart lie on a line as they should."""

    seen: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    name = "collapse"

    def epoch(self, now: Moment, measured: Measured) -> Iterator[Notice]:
        """See the class."""
        for task, by_column in measured.embeddings.items():
            for column, embedding_ND in by_column.items():
                there_N = measured.present[column]
                groups = len(measured.truth[task][there_N].unique())
                if now.in_stage >= self.STEPS and groups > 1:
                    yield from self._judged(now, f"{task}.{column}", embedding_ND[there_N], groups)

    def _judged(self, now: Moment, key: str, embedding_PD: Tensor, groups: int) -> Iterator[Notice]:
        cosine, rank = mean_cosine(embedding_PD), rank_me(embedding_PD)
        if cosine < self.COSINE and (groups < self.GROUPS or rank > self.RANK):
            self.seen.pop(key, None)
            return
        since = self.seen.setdefault(key, now.step)
        if since < now.step and key not in self.told:
            self.told.append(key)
            text = (
                f"{key}: the embeddings have collapsed (mean cosine of different rows {cosine:.2f}, effective rank {rank:.1f} of "
                f"{embedding_PD.shape[1]}), since step {since}"
            )
            fix = (
                f"{lower_rate(now)}, and weight_decay where it was raised; larger batches (training.batch_size, with training.chunk where "
                "memory is short); check the column"
            )
            yield now.notice(self.name, text, fix, since)


def mean_cosine(embedding_PD: Tensor) -> float:
    """Of all pairs of different rows; rows of any length."""
    unit_PD = torch.nn.functional.normalize(embedding_PD.double(), dim=1)
    rows = len(unit_PD)
    return float((unit_PD.sum(0).square().sum() - rows) / max(rows * (rows - 1), 1))


def rank_me(embedding_PD: Tensor, most: int = 1024) -> float:
    """Effective rank (Garrido et al. 2023) of the first `most` rows: from 1, on a line, up to the width."""
    values = torch.linalg.svdvals(embedding_PD[:most].double())
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())


def lower_rate(now: Moment, part: str = "") -> str:
    """A tenth of the rate, as words for the command line."""
    return f"a lower rate{f' for {part}' if part else ''}: {_set_rate(now, 0.1, part)}"


def other_rate(now: Moment, lower: bool) -> str:
    """A rate to try where nothing is learnt: a tenth; or ten times as much, unless the rate is `HIGH` or is to be `lower`."""
    if lower or now.rate >= HIGH:
        return lower_rate(now)
    return f"another rate: {_set_rate(now, 10)}, or a hundredth of that"


def _set_rate(now: Moment, factor: float, part: str = "") -> str:
    """What changes the stage's rate, or that of one part where each has its own."""
    path = f"stages.{now.stage}.lr"
    if part in now.rates:
        return f"--set {path}.{part}={now.rates[part] * factor:.1g}"
    if now.rates:
        return f"--set '{path}={{{', '.join(f'{name}: {rate * factor:.1g}' for name, rate in now.rates.items())}}}'"
    return f"--set {path}={now.rate * factor:.1g}"


def all_monitors() -> list[Monitor]:
    """One of each."""
    return [Rising(), AtChance(), Temperature(), Collapse()]
