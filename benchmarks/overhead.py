"""What triptych's loop adds to a step: the digits model in it, and in a bare loop over the same batches in memory.

One thread, in turns. Processor seconds are told beside those of the clock: they hold on a machine that does other things too,
and count what the loop's own threads do while the model computes.

    python -m benchmarks overhead
"""

from __future__ import annotations

import argparse
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

Seconds = tuple[float, float]
"""By the clock, and of the processor."""


def now() -> Seconds:
    return time.perf_counter(), time.process_time()


def bare(bench: Bench, epochs: int) -> Seconds:
    """Of a step: forward, losses, backward, clipping, optimiser; nothing is logged, counted or kept."""
    stage, tasks = bench.recipe.stages[0], bench.recipe.tasks
    optimizer = torch.optim.AdamW(parameter_groups(bench.model, stage), betas=(0.9, 0.98))
    batches = list(bench.loader("train", shuffled=True))
    bench.model.train()
    began = now()
    for _ in range(epochs):
        for batch in batches:
            outputs = bench.model(batch).outputs
            found = {n: terms(outputs[n], batch.targets[n], batch.has_target[n], t, batch.present) for n, t in tasks.items()}
            loss = torch.stack([task.weight * task_loss(outputs[name], found[name]) for name, task in tasks.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bench.model.parameters(), bench.recipe.training.clip or 1e9)
            optimizer.step()
    clock, processor = ((end - start) / (epochs * len(batches)) for start, end in zip(began, now(), strict=True))
    return clock, processor


class Clock(L.Callback):
    """When the epochs' steps begin and end; what stands between epochs (validation) is no part of a step."""

    def __init__(self) -> None:
        self.seconds, self.steps = [0.0, 0.0], 0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.began = now()

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *rest: object) -> None:
        self.steps += 1
        self.until = now()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.seconds = [sum_ + end - start for sum_, start, end in zip(self.seconds, self.began, self.until, strict=True)]


def looped(bench: Bench, folder: Path) -> Seconds:
    """Of a step in the whole loop: Lightning, ledger, monitors, log, bar, saved states."""
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
    return clock.seconds[0] / clock.steps, clock.seconds[1] / clock.steps


def main() -> None:
    parser = argparse.ArgumentParser(prog="overhead", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    recipe, quiet = read("digits", [f"stages.0.epochs={asked.epochs}", "training.threads=1"]), Voice(quiet=True)
    table = open_table(recipe, quiet)
    found: dict[str, list[Seconds]] = {"bare loop": [], "triptych": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(asked.turns):
            found["bare loop"].append(bare(build(recipe, table, quiet), asked.epochs))
            found["triptych"].append(looped(build(recipe, table, quiet), Path(folder) / str(turn)))
    for number, what in enumerate(("by the clock", "processor")):
        middle = {name: statistics.median(seconds[number] for seconds in turns) for name, turns in found.items()}
        told = ", ".join(f"{name} {seconds * 1000:.1f} ms a step" for name, seconds in middle.items())
        ratios = [ours[number] / theirs[number] - 1 for theirs, ours in zip(*found.values(), strict=True)]
        print(f"{what:>12}: {told}; overhead {statistics.median(ratios):.1%} ({min(ratios):.1%} to {max(ratios):.1%})", flush=True)


if __name__ == "__main__":
    main()
