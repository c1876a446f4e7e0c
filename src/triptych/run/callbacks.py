"""What happens at the end of each step and epoch: the bar, the log, the best weights kept, the stop."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.progress import Progress

from triptych.base.training import L
from triptych.contract.tasks import headline
from triptych.data.loader import Loader
from triptych.model.assemble import Model
from triptych.objective.scores import Score, better
from triptych.run.folder import RunFolder
from triptych.run.lit import Lit
from triptych.run.measure import Measured
from triptych.run.recipe import LAST
from triptych.run.resume import Clock, Course, write_course

Listener = Callable[[int, list[Score]], None]
"""Hears of every epoch: its number and its validation scores. What it raises ends the training."""

LEAST_GAIN = 1e-3
"""How much lower the loss must be, at an equal score, for patience to start anew: a loss near zero may fall for ever."""


@dataclass
class Best:
    """The best epoch so far by the score the recipe selects; of two equal scores the one with the lower loss is better.

    An accuracy soon reaches its ceiling, and the first epoch that touches it is seldom the one to keep.
    """

    name: str
    value: float | None = None
    loss: float | None = None
    epoch: int = 0
    gained: int = 0
    """The last epoch that was better by enough to go on for, and its loss."""
    gained_loss: float | None = None

    def beaten_by(self, scores: list[Score], epoch: int) -> bool:
        """Whether this epoch is better; remembers it if so. Without validation scores every epoch is, with a loss of NaN none."""
        chosen = next((score for score in scores if score.name == self.name), None)
        loss = next((score.value for score in scores if score.name == "loss"), None)
        if chosen is not None and (not self._better(chosen, loss) or (loss is not None and loss != loss)):
            return False
        tied = chosen is not None and chosen.value == self.value
        if not tied or loss is None or self.gained_loss is None or self.gained_loss - loss >= LEAST_GAIN:
            self.gained, self.gained_loss = epoch, loss
        self.value, self.loss, self.epoch = (chosen.value if chosen else None), loss, epoch
        return True

    def _better(self, chosen: Score, loss: float | None) -> bool:
        if chosen.value == self.value and loss is not None:
            return better("lower", loss, self.loss)
        return better(chosen.direction, chosen.value, self.value)


class Bar(L.Callback):
    """A progress bar over the steps of all stages, with rows a second and the last loss."""

    def __init__(self, bar: Progress, total: int, batch_size: int) -> None:
        """`total` steps of all stages."""
        self.bar, self.batch_size = bar, batch_size
        self.task = bar.add_task("training", total=total, note="")
        self.started = time.perf_counter()
        self.rows = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int) -> None:
        """Advance by a step."""
        self.rows += len(batch)
        rate = self.rows / (time.perf_counter() - self.started)
        loss = f"  loss {float(outputs['loss']):.3f}" if outputs else ""
        self.bar.update(self.task, advance=1, note=f"{rate:,.0f} rows/s{loss}")


class Keep(L.Callback):
    """Logs every epoch, keeps the weights of the best one, stops when none was better for `patience` epochs."""

    def __init__(self, run: RunFolder, model: Model, best: Best, course: Course, say: Any, listener: Listener | None = None) -> None:
        """`course` says how many epochs were done before; `say` takes a line for the user."""
        self.run, self.model, self.best, self.course, self.say, self.listener = run, model, best, course, say, listener
        self.clock = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Judge the epoch."""
        assert isinstance(module, Lit)
        self.course.epochs += 1
        epoch = self.course.before + self.course.epochs
        measured = module.validated()
        scores = module.ranks.told(measured.scores if measured else [])  # what they decide must be decided alike
        improved = self.best.beaten_by(scores, epoch)
        if improved and module.ranks.first:
            keep_weights(self.run, self.model)
        self._log(module, trainer, epoch, measured, improved)
        if self.listener is not None:
            self.listener(epoch, scores)
        patience = module.stage.patience
        if patience is not None and measured and epoch - max(self.best.gained, self.course.before, self.course.since) >= patience:
            self.course.early = trainer.should_stop = True
        self.course.ended = self.course.early or self.course.epochs >= module.stage.epochs

    def _log(self, module: Lit, trainer: L.Trainer, epoch: int, measured: Measured | None, improved: bool) -> None:
        means = {f"train {name}": value for name, value in module.take_means().items()}
        found = {f"validation {score.name}": score.value for score in measured.scores} if measured else {}
        watched = module.watch.epoch(epoch, measured)
        rates = {f"lr {group['name']}": group["lr"] for group in trainer.optimizers[0].param_groups}
        seconds, self.clock = time.perf_counter() - self.clock, time.perf_counter()
        row = {"epoch": epoch, "stage": self.course.stage, "seconds": round(seconds, 3), "best": improved, **means, **found, **rates}
        samples = measured.samples() if measured else {}
        self.run.log({**row, **watched, **({"samples": samples} if samples else {})})
        self.say(f"  epoch {epoch:3d}   train loss {means['train loss']:.3f}{self._tail(module, found, improved)}")
        if measured and (also := self._also(module, measured.scores)):
            self.say(f"              {also}")
        for name, (said, expected) in samples.items():
            self.say(f"             {name}: {said!r} for {expected!r}")

    def _tail(self, module: Lit, found: dict[str, float], improved: bool) -> str:
        """The score that decides, then the headline of every other task."""
        names = self._heads(module)
        told = [f"{name} {found[f'validation {name}']:.3f}" for name in names if f"validation {name}" in found]
        return f"   validation {', '.join(told)}{'  (best so far)' if improved and self.best.name != LAST else ''}" if told else ""

    def _heads(self, module: Lit) -> dict[str, None]:
        return dict.fromkeys([self.best.name, *(f"{name}.{headline(task)}" for name, task in module.recipe.tasks.items())])

    def _also(self, module: Lit, scores: list[Score]) -> str:
        """The loss and all other scores over all rows, by task; each direction and mixture of inputs stands in log and report."""
        told, groups = self._heads(module), dict[str, list[str]]()
        for score in scores:
            if not score.of and score.name not in told and (score.task == "loss" or score.metric != "loss"):
                groups.setdefault(score.task, []).append(f"{score.metric} {score.value:.3f}".strip())
        return "; ".join(f"{task} {', '.join(values)}" for task, values in groups.items())


class Save(L.Callback):
    """Writes the state of the training when it is due: after a step, after an epoch, at the end of a stage."""

    def __init__(
        self, run: RunFolder, course: Course, best: Best, loader: Loader, clock: Clock, cost: Callable[[], dict[str, float]]
    ) -> None:
        """`cost` says what the training has taken so far, earlier parts included. It stands behind `Keep` in the list."""
        self.run, self.course, self.best, self.loader, self.clock, self.cost = run, course, best, loader, clock, cost

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int) -> None:
        """In the middle of an epoch; after its last step the epoch is judged first."""
        assert isinstance(module, Lit)
        if self.loader.state_dict()["position"] and module.ranks.told(self.clock.due()):
            self._write(module)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """After the epoch was judged."""
        assert isinstance(module, Lit)
        if module.ranks.told(self.course.ended or self.clock.due()):
            self._write(module)

    def _write(self, module: Lit) -> None:
        with self.clock.written():
            self.course.best, self.course.seconds = asdict(self.best), self.cost()
            write_course(self.run, self.course, {**module.learnt(), "loader": self.loader.state_dict()}, module.ranks)


def keep_weights(run: RunFolder, model: Model) -> None:
    """Write the model aside and put it in the place of the last best one."""
    aside, old = run.path / ".model.new", run.path / ".model.old"
    for folder in (aside, old):
        shutil.rmtree(folder, ignore_errors=True)
    model.save(aside)
    if run.model.exists():
        run.model.rename(old)
    aside.rename(run.model)
    model.settle(run.model)
    shutil.rmtree(old, ignore_errors=True)
