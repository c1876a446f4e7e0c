"""Every stage of a recipe in turn, through Lightning, each from the best weights so far."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from torch import nn

from triptych.base.errors import TriptychError
from triptych.base.runtime import Stopwatch
from triptych.base.training import L
from triptych.data.loader import Loader
from triptych.layers.dropped import PatchDropout
from triptych.layers.held import Held
from triptych.run.bench import Bench
from triptych.run.callbacks import Bar, Best, Keep, Listener, Save
from triptych.run.folder import RunFolder
from triptych.run.lit import Lit, freeze_all_but
from triptych.run.memory import remember
from triptych.run.progress import Voice
from triptych.run.recipe import LAST, Stage
from triptych.run.rehearsal import check_one_batch
from triptych.run.resume import Clock, Course, Start, cut_log, restore_of, seed_random, write_course
from triptych.run.strategy import trainer_words
from triptych.run.watch import Watch


def train_stages(
    bench: Bench, run: RunFolder, voice: Voice, spent: Stopwatch, start: Start | None = None, listener: Listener | None = None
) -> Best:
    """Every stage in turn, each from the best weights so far; leaves the best weights in the model.

    `start` is where an earlier training of this run was stopped. `listener` hears of every epoch.
    """
    recipe = bench.recipe
    loader = bench.loader("train", shuffled=True)
    validation = bench.loader("validation") if bench.table.at("validation") else None
    course, state = start or (Course(), None)
    best, watching = Best(**course.best) if course.best else Best(recipe.selected()), Watch(bench, run, voice.say)
    if bench.ranks.rank:  # what is drawn by chance (dropout, hidden inputs) is drawn for each process's own rows
        seed_random(recipe.training.seed + bench.ranks.rank)
    if state is not None:
        _put_back(bench, run, loader, watching, course, state, voice)
    clock = Clock(recipe.training.save_seconds)
    with voice.bar() as bar:
        steps_bar = Bar(bar, sum(stage.epochs for stage in recipe.stages) * len(loader), bench.batch_size)
        for number, stage in enumerate(recipe.stages[course.stage :], start=course.stage):
            remember(bench, number, voice)
            count = freeze_all_but(bench.model, stage)
            bench.model.train()  # what is frozen now is in eval mode from the first step on
            leave_out(bench.model, stage)
            most = f"{stage.epochs} epoch{'s' if stage.epochs > 1 else ''}"
            voice.say(f"stage {number}: training {', '.join(stage.train)} ({count:,} parameters), at most {most}")
            if state is None or "optimizer" not in state:  # it begins; otherwise it goes on
                watching.begin(number, stage, course.before, len(loader))
            if start is None and number == 0:
                check_one_batch(bench, loader, watching, voice)
            if not course.ended:
                lit = Lit(bench.model, recipe, stage, validation, stage.epochs * len(loader), watching, state, bench.ranks, bench.pen())
                keep = Keep(run, bench.model, best, course, voice.say, listener)
                callbacks = [steps_bar, keep, Save(run, course, best, loader, clock, spent.read)]
                with lean(bench):
                    run_stage(bench, lit, loader, stage.epochs - course.epochs, callbacks)
            course.stops.append({"stage": number, "epochs": course.epochs, "of": stage.epochs, "early": course.early, "parameters": count})
            course, state = course.following(), None
            bench.ranks.wait()
            if run.model.exists():
                bench.model.load_weights(run.model)
            if number + 1 < len(recipe.stages):  # its own epochs may soon overwrite the weights that it starts from
                course.best = asdict(best)
                write_course(run, course, _between(bench, loader, watching), bench.ranks)
    bench.stops = course.stops
    _say_kept(best, validation is not None, run, voice)
    return best


def _say_kept(best: Best, validated: bool, run: RunFolder, voice: Voice) -> None:
    """Which epoch's weights the run holds, and why.

    Raises:
        TriptychError: none of them gave a score that is a number.
    """
    if not run.model.exists():
        fix = "lower the learning rate: --set stages.0.lr=1e-4"
        raise TriptychError(f"no epoch gave a {best.name} that is a number", where=str(run.path), fix=fix)
    if best.value is not None:
        voice.say(f"best: epoch {best.epoch}, validation {best.name} {best.value:.3f}")
        return
    unjudged = f"no validation row has what {best.name} needs" if validated else "no validation rows"
    voice.say(f"{'training.select: last' if best.name == LAST else unjudged}: the last epoch is kept")


def _between(bench: Bench, loader: Loader, watching: Watch) -> dict[str, Any]:
    """What a stage starts from."""
    return {"model": bench.model.kept(), "loader": loader.state_dict(), "watch": watching.state_dict()}


def _put_back(
    bench: Bench, run: RunFolder, loader: Loader, watching: Watch, course: Course, state: Mapping[str, Any], voice: Voice
) -> None:
    """Bring weights, order of rows, log and random numbers to where the state was written."""
    bench.model.take(state["model"])
    loader.load_state_dict(state["loader"])
    watching.load_state_dict(state["watch"])
    cut_log(run, course.before + course.epochs)
    voice.say(f"going on in stage {course.stage} after {course.epochs} of {bench.recipe.stages[course.stage].epochs} epochs")
    restore_of(state, run, bench.ranks)


def leave_out(model: nn.Module, stage: Stage) -> None:
    """Let what leaves a random part of each row out leave out as much as the stage says, or its own share."""
    for module in model.modules():
        if isinstance(module, PatchDropout):
            module.take(stage.patch_dropout)


@contextmanager
def lean(bench: Bench) -> Iterator[None]:
    """Where products are in bf16 anyway, weights of pretrained parts that the stage leaves alone lie in bf16 too."""
    with ExitStack() as held:
        if bench.precision == "bf16" and not (bench.ranks.size > 1 and bench.recipe.training.strategy == "fsdp"):  # it wants one type
            for part in bench.model.parts().values():
                if isinstance(part, Held):
                    held.enter_context(part.lean())
        yield


def run_stage(bench: Bench, lit: Lit, loader: Loader, epochs: int, callbacks: list[L.Callback]) -> None:
    """One stage, or what is left of it, through Lightning."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_epochs=epochs,
        **trainer_words(bench.ranks, bench.device, bench.recipe.training.strategy),
        precision="bf16-mixed" if bench.precision == "bf16" else "32-true",
        gradient_clip_val=bench.recipe.training.clip,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")  # advice on torch's own loaders, which are not used here
        try:
            trainer.fit(lit, loader)
        except SystemExit:  # on Ctrl-C Lightning switches the signal off and leaves the process; a library must do neither
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None
    bench.model.to(bench.device)
