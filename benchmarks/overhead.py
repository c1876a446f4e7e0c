"""What triptych's loop adds to a step: the digits model in it, and in a bare loop over the same batches in memory.

python -m benchmarks overhead
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import lightning as L
import torch

from triptych.base.runtime import Stopwatch
from triptych.objective.losses import task_loss, terms
from triptych.run import stages as story
from triptych.run.bench import Bench
from triptych.run.building import build
from triptych.run.folder import RunFolder
from triptych.run.lit import parameter_groups
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

EPOCHS, TURNS = 4, 3


def bare(bench: Bench) -> float:
    """Seconds of a step: forward, losses, backward, clipping, optimiser; nothing is logged, counted or kept."""
    stage, tasks = bench.recipe.stages[0], bench.recipe.tasks
    optimizer = torch.optim.AdamW(parameter_groups(bench.model, stage), betas=(0.9, 0.98))
    batches = list(bench.loader("train", shuffled=True))
    bench.model.train()
    began = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in batches:
            outputs = bench.model(batch).outputs
            found = {n: terms(outputs[n], batch.targets[n], batch.has_target[n], t, batch.present) for n, t in tasks.items()}
            loss = torch.stack([task.weight * task_loss(outputs[name], found[name]) for name, task in tasks.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bench.model.parameters(), bench.recipe.training.clip or 1e9)
            optimizer.step()
    return (time.perf_counter() - began) / (EPOCHS * len(batches))


class Clock(L.Callback):
    """When the epochs' steps begin and end; what stands between epochs (validation) is no part of a step."""

    seconds = 0.0
    steps = 0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *rest: object) -> None:
        self.steps += 1
        self.until = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.seconds += self.until - self.began


def looped(bench: Bench, folder: Path) -> float:
    """Seconds of a step in the whole loop: Lightning, ledger, monitors, log, bar, saved states."""
    clock, before = Clock(), story.run_stage

    def timed(bench, lit, loader, epochs, callbacks):  # type: ignore[no-untyped-def]
        return before(bench, lit, loader, epochs, [clock, *callbacks])

    list(bench.loader("train", shuffled=True))  # prepared rows are kept, as in the bare loop
    run = RunFolder.create(bench.recipe, folder)
    story.run_stage = timed
    try:
        story.train_stages(bench, run, Voice(quiet=True), Stopwatch())
    finally:
        story.run_stage = before
    return clock.seconds / clock.steps


def main() -> None:
    recipe, quiet = read("digits", [f"stages.0.epochs={EPOCHS}"]), Voice(quiet=True)
    table = open_table(recipe, quiet)
    found: dict[str, list[float]] = {"bare loop": [], "triptych": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            found["bare loop"].append(bare(build(recipe, table, quiet)))
            found["triptych"].append(looped(build(recipe, table, quiet), Path(folder) / str(turn)))
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    for name, seconds in medians.items():
        print(f"{name:>10}  {seconds * 1000:8.2f} ms a step")
    print(f"{'overhead':>10}  {medians['triptych'] / medians['bare loop'] - 1:8.1%}")


if __name__ == "__main__":
    main()
