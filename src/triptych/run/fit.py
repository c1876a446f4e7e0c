"""The whole of training, top to bottom: a newcomer reads this file first.

open the table -> check it -> build -> measure the untouched model -> train each stage, keeping the best
-> choose the labels' thresholds -> measure again -> write everything down
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from triptych.base.errors import InputError, TriptychError
from triptych.base.ranks import Ranks, plainly
from triptych.base.ranks import ranks as ranks_there
from triptych.base.ranks import together as connected
from triptych.base.runtime import Stopwatch
from triptych.data.rows import Source
from triptych.data.table import Table
from triptych.run.baselines import Told, baselines
from triptych.run.bench import Bench
from triptych.run.building import build
from triptych.run.callbacks import Best, Listener
from triptych.run.folder import RunFolder, open_folder, refuse_full
from triptych.run.forgetting import base_task, forgetting
from triptych.run.forgetting import said as forgetting_said
from triptych.run.measure import Measured, measure
from triptych.run.memory import remember
from triptych.run.opening import open_table, tell
from triptych.run.progress import Voice
from triptych.run.prompts import own_columns, rooms_of, with_prompts
from triptych.run.recipe import Recipe
from triptych.run.record import finite, write_down
from triptych.run.reliance import reliance
from triptych.run.resume import (
    alone,
    hand_over,
    keep_untouched,
    longer,
    read_course,
    read_untouched,
    refuse_other_recipe,
    refuse_other_rows,
    reopened,
)
from triptych.run.shared import Report, Shared
from triptych.run.stages import train_stages
from triptych.run.thresholds import choose_thresholds
from triptych.run.trackers import Trackers


@dataclass(frozen=True)
class Around:
    """What surrounds one training: the processes that share it, who speaks, what it costs, who else hears of it."""

    ranks: Ranks
    voice: Voice
    watch: Stopwatch
    trackers: Trackers
    shared: Shared
    report: Report | None


@contextmanager
def surrounded(recipe: Recipe, quiet: bool, shared: Shared | None, report: Report | None) -> Iterator[Around]:
    """A training's surroundings; a package that a tracker lacks is named before anything is read."""
    with together(recipe) as ranks:
        voice = Voice(quiet or not ranks.first)
        yield Around(ranks, voice, Stopwatch(), Trackers(recipe, voice.say), shared or Shared(), report)


def fit(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    quiet: bool = False,
    rows: Source | None = None,
    shared: Shared | None = None,
    report: Report | None = None,
    into: RunFolder | None = None,
) -> RunFolder:
    """Train a recipe from the table to the report; returns the finished run folder.

    Args:
        recipe: what to train.
        out: the run's folder; by default runs/DATE-NAME.
        quiet: print nothing.
        rows: take the place of what stands at the recipe's `data.source`.
        shared: what other trainings have opened and prepared.
        report: is called with the finished folder, so that trackers can be given what it wrote.
        into: a folder that was made for this run, in the place of `out`; what lies in it stays.

    Raises:
        InputError: the recipe does not fit the data; nothing was trained.
        TriptychError: training failed; the folder says at which step.
    """
    with surrounded(recipe, quiet, shared, report) as around:
        if out and around.ranks.first:
            refuse_full(out)
        table = around.shared.table(recipe, lambda: open_table(recipe, around.voice, rows))
        tell(recipe, table, around.voice)
        return _in_new_folder(recipe, table, into or out, around)


def _in_new_folder(
    recipe: Recipe,
    table: Table,
    out: str | Path | RunFolder | None,
    around: Around,
    begin: Callable[[RunFolder], None] = lambda run: None,
) -> RunFolder:
    """Make the run's folder and train in it; `begin` puts into it what a longer run starts from."""
    ranks = around.ranks
    made = Path() if not ranks.first else out.path if isinstance(out, RunFolder) else RunFolder.create(recipe, out).path
    run = RunFolder(ranks.told(made), ranks.rank)
    try:
        with alone(run):
            if ranks.first:
                begin(run)
            ranks.wait()
            return _carried_out(recipe, table, run, around)
    except InputError:  # nothing was trained; the same words work again once the input is mended
        if ranks.first:
            shutil.rmtree(run.path)
        raise


def resume(
    path: str | Path,
    recipe: Recipe | None = None,
    *,
    quiet: bool = False,
    rows: Source | None = None,
    shared: Shared | None = None,
    report: Report | None = None,
) -> RunFolder:
    """Go on with a training that was stopped, to the weights it would have had; returns the finished run folder.

    Args:
        path: the run's folder.
        recipe: what the user believes it to be; refused where the weights would come out otherwise.
        quiet: print nothing.
        rows: as for `fit`, where the run was started with them.
        shared: as for `fit`.
        report: as for `fit`.

    Raises:
        InputError: there is nothing to resume, or the recipe or the rows are not those of the run.
        TriptychError: training failed again.
    """
    run = reopened(path)
    own = run.recipe()
    if recipe is not None:
        refuse_other_recipe(own, recipe, run)
    with surrounded(own, quiet, shared, report) as around:
        run.rank = around.ranks.rank
        with alone(run):
            table = around.shared.table(own, lambda: open_table(own, around.voice, rows))
            refuse_other_rows(run, table)
            tell(own, table, around.voice)
            run.about({"status": "running", "problem": ""})
            return _carried_out(own, table, run, around)


def go_on(
    path: str | Path,
    epochs: int,
    out: str | Path | None = None,
    *,
    quiet: bool = False,
    rows: Source | None = None,
    report: Report | None = None,
) -> RunFolder:
    """Train a finished run for some epochs more, from its last state, as if its last stage had been longer; a run of its own.

    Args:
        path: the finished run, which stays as it is.
        epochs: how many to add to the last stage. Under `schedule: cosine` the rate follows the longer curve from there.
        out: the new run's folder; by default runs/DATE-NAME.
        quiet: print nothing.
        rows: as for `fit`, where the run was started with them.
        report: as for `fit`.

    Raises:
        InputError: the run is not finished, has no state, or its rows have changed.
    """
    old = open_folder(path)
    recipe = longer(old, epochs)
    with surrounded(recipe, quiet, None, report) as around:
        if out and around.ranks.first:
            refuse_full(out)
        table = open_table(recipe, around.voice, rows)
        refuse_other_rows(old, table)
        tell(recipe, table, around.voice)
        return _in_new_folder(recipe, table, out, around, lambda run: hand_over(old, run, epochs))


@contextmanager
def together(recipe: Recipe) -> Iterator[Ranks]:
    """The processes that train the recipe, connected.

    Raises:
        InputError: the recipe asks for several devices, and nobody started a process for each.
    """
    asked, there = recipe.training.devices, ranks_there()
    if asked not in (1, there.here):
        fix = f"triptych train RECIPE --devices {asked}, or torchrun --nproc-per-node {asked} -m triptych train RECIPE"
        what = f"the recipe asks for {asked} devices, and {there.here} process{'es' if there.here > 1 else ''} of it run here"
        raise InputError(what, where="training.devices", fix=fix)
    device = recipe.training.device
    with connected("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu") as ranks:
        yield ranks


def _carried_out(recipe: Recipe, table: Table, run: RunFolder, around: Around) -> RunFolder:
    """From the opened table to what is written down; what the folder holds of it already is not done again."""
    ranks, voice, watch, trackers = around.ranks, around.voice, around.watch, around.trackers
    epochs = len(run.read_log())
    try:
        if ranks.first:
            run.write_rejects(table.rejects)
        run.about({"data": table.fingerprint})
        start = read_course(run)
        bench = build(recipe, table, voice, around.shared, ranks)
        if ranks.first:
            trackers.start(run, bench.choices)
        kept = base_task(bench, voice) if recipe.forgetting and ranks.first else None
        remember(bench, start[0].stage if start else 0, voice)
        untouched, simple = _before(bench, run, voice)
        if start is not None:
            watch.add(start[0].seconds)
        best = train_stages(bench, run, voice, watch, start)
        watch.count(sum(cost["cpu_seconds"] for cost in ranks.gathered(watch.read())[1:]))
        if ranks.first:
            choose_thresholds(bench, run, voice)
            trained = measured_on(bench, voice, "measuring the trained model")
            with voice.waiting("asking what each input adds"):
                run.write("reliance.json", finite(reliance(bench)))
            if kept is not None:
                told = forgetting(bench, kept, voice)
                voice.say(f"  {forgetting_said(told)}")
                run.write("forgetting.json", finite(told))
            write_down(bench, run, untouched, simple, trained, best, watch)
        ranks.wait()
    except BaseException as raised:
        problem = plainly(raised, ranks)
        if isinstance(problem, InputError) and len(run.read_log()) == epochs:  # nothing was trained
            trackers.finish(run, "failed")
            raise
        status = "interrupted" if isinstance(problem, KeyboardInterrupt) else "failed"
        with suppress(OSError):  # a full disk has no room for it either
            run.about({"status": status, "problem": f"{type(problem).__name__}: {problem}"})
        trackers.finish(run, status)
        voice.say(f"{status}; go on with: triptych train --resume {run.path}")
        if isinstance(problem, InputError):  # what was paid for is kept
            raise TriptychError(problem.what, where=problem.where, known=problem.known, fix=problem.fix) from problem
        if problem is not raised:
            raise problem from raised
        raise
    if ranks.first:
        trackers.finish(run, "done", around.report(run) if around.report else None)
    return run


def fit_only(recipe: Recipe, run: RunFolder, voice: Voice, shared: Shared, listener: Listener | None = None) -> Best:
    """Training alone, as a search needs it: judged on the validation rows, while the test rows are not looked at.

    Raises:
        InputError: there are no validation rows to judge by, or the recipe does not fit the data.
        TriptychError: no epoch gave a score that is a number.
    """
    table = table_to_judge_by(recipe, voice, shared)
    return train_stages(build(recipe, table, voice, shared=shared), run, voice, Stopwatch(), listener=listener)


def table_to_judge_by(recipe: Recipe, voice: Voice, shared: Shared) -> Table:
    """The recipe's table; raises InputError where it has no validation rows."""
    table = shared.table(recipe, lambda: open_table(recipe, voice))
    if not table.at("validation"):
        fix = "--set data.split.validation=0.15, or mark some rows as validation"
        raise InputError("there are no validation rows, and nothing else may choose between trials", where=table.source, fix=fix)
    return table


def _before(bench: Bench, run: RunFolder, voice: Voice) -> tuple[Measured, dict[str, Told]]:
    """What is measured before the first step, or was when the run was started."""
    if bench.ranks.first and not run.untouched.exists():
        untouched = measured_on(bench, voice, "measuring the untouched model")
        with voice.waiting("measuring what can be had without training"):
            simple = baselines(bench, untouched)
        keep_untouched(run, untouched, simple)
    bench.ranks.wait()
    return read_untouched(run)


def measured_on(bench: Bench, voice: Voice, what: str) -> Measured:
    """On the test rows; on the validation rows where nothing was kept for a test."""
    voice.say(what)
    loader = bench.loader(bench.judged_side())
    batches = voice.track(loader, len(loader), "measuring")
    own = own_columns(bench.recipe, bench.model)
    measured = measure(bench.model, batches, bench.recipe.tasks, bench.device, every_mixture=True, vectors=own, pen=bench.pen())
    return with_prompts(bench.recipe, bench.model, rooms_of(bench.inputs), bench.labels(), measured)
