"""What happens at the end of each step and epoch: the bar, the log, the best weights kept, the stop."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Any

import lightning as L
from rich.progress import Progress

from triptych.contract.tasks import headline
from triptych.model.assemble import Model
from triptych.objective.scores import Score, better
from triptych.run.folder import RunFolder
from triptych.run.lit import Lit

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

    def __init__(self, run: RunFolder, model: Model, best: Best, stage: int, before: int, say: Any) -> None:
        """`before` epochs were done in earlier stages; `say` takes a line for the user."""
        self.run, self.model, self.best, self.stage, self.before, self.say = run, model, best, stage, before, say
        self.stopped = False
        self.clock = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Judge the epoch."""
        assert isinstance(module, Lit)
        epoch = self.before + trainer.current_epoch + 1
        measured = module.validated()
        scores = measured.scores if measured else []
        improved = self.best.beaten_by(scores, epoch)
        if improved:
            keep_weights(self.run, self.model)
        self._log(module, trainer, epoch, scores, improved)
        patience = module.stage.patience
        if patience is not None and measured and epoch - max(self.best.gained, self.before) >= patience:
            self.stopped = trainer.should_stop = True

    def _log(self, module: Lit, trainer: L.Trainer, epoch: int, scores: list[Score], improved: bool) -> None:
        means = {f"train {name}": value for name, value in module.take_means().items()}
        found = {f"validation {score.name}": score.value for score in scores}
        rates = {f"lr {group['name']}": group["lr"] for group in trainer.optimizers[0].param_groups}
        seconds, self.clock = time.perf_counter() - self.clock, time.perf_counter()
        self.run.log({"epoch": epoch, "stage": self.stage, "seconds": round(seconds, 3), "best": improved, **means, **found, **rates})
        self.say(f"  epoch {epoch:3d}   train loss {means['train loss']:.3f}{self._tail(module, found, improved)}")

    def _tail(self, module: Lit, found: dict[str, float], improved: bool) -> str:
        """The score that decides, then the headline of every other task; the log has all of them."""
        heads = [f"{name}.{headline(task)}" for name, task in module.recipe.tasks.items()]
        names = dict.fromkeys([self.best.name, *heads])
        told = [f"{name} {found[f'validation {name}']:.3f}" for name in names if f"validation {name}" in found]
        return f"   validation {', '.join(told)}{'  (best so far)' if improved else ''}" if told else ""


def keep_weights(run: RunFolder, model: Model) -> None:
    """Write the model aside and put it in the place of the last best one."""
    aside, old = run.path / ".model.new", run.path / ".model.old"
    for folder in (aside, old):
        shutil.rmtree(folder, ignore_errors=True)
    model.save(aside)
    if run.model.exists():
        run.model.rename(old)
    aside.rename(run.model)
    shutil.rmtree(old, ignore_errors=True)
