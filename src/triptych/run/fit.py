"""The whole of training, top to bottom: a newcomer reads this file first.

open the table -> check it -> build -> measure the untouched model -> train each stage, keeping the best
-> measure again -> write everything down
"""

from __future__ import annotations

import hashlib
import logging
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch

from triptych.base.errors import InputError, TriptychError
from triptych.base.ranks import ALONE, Ranks
from triptych.base.ranks import ranks as ranks_there
from triptych.base.ranks import together as connected
from triptych.base.runtime import Choices, Stopwatch, choose_device, choose_keep, choose_precision, choose_threads
from triptych.contract.modality import SIDES, Modality
from triptych.data.check import screen
from triptych.data.doctor import diagnose
from triptych.data.facts import Facts
from triptych.data.loader import InputColumn, Loader
from triptych.data.rows import Source
from triptych.data.samples import make_sample
from triptych.data.sampling import Plan
from triptych.data.sources.tabled import as_table
from triptych.data.sources.words import SAMPLE, opened
from triptych.data.split import divide
from triptych.data.table import Table
from triptych.data.targets import learn_target
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.model.fusion import build_fusion
from triptych.model.heads import build_head
from triptych.run.baselines import Told, baselines
from triptych.run.bench import Bench
from triptych.run.callbacks import Bar, Best, Keep, Listener, Save
from triptych.run.folder import RunFolder, open_folder, refuse_full
from triptych.run.inspect import asked_of, check_select, told
from triptych.run.lengths import measure_lengths
from triptych.run.lit import Lit, check_depths, freeze_all_but
from triptych.run.measure import Measured, measure
from triptych.run.ordering import note_weights, training_order
from triptych.run.progress import Voice
from triptych.run.prompts import rooms_of, with_prompts
from triptych.run.recipe import Recipe
from triptych.run.record import finite, write_down
from triptych.run.rehearsal import check_one_batch
from triptych.run.reliance import reliance
from triptych.run.resume import (
    Clock,
    Course,
    Start,
    alone,
    cut_log,
    fingerprint,
    hand_over,
    keep_untouched,
    longer,
    read_course,
    read_untouched,
    refuse_other_recipe,
    refuse_other_rows,
    reopened,
    restore_of,
    seed_random,
    write_course,
)
from triptych.run.shared import Report, Shared
from triptych.run.strategy import trainer_words
from triptych.run.trackers import Trackers
from triptych.run.watch import Watch


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
) -> RunFolder:
    """Train a recipe from the table to the report; returns the finished run folder.

    Args:
        recipe: what to train.
        out: the run's folder; by default runs/DATE-NAME.
        quiet: print nothing.
        rows: take the place of what stands at the recipe's `data.source`.
        shared: what other trainings have opened and prepared.
        report: is called with the finished folder, so that trackers can be given what it wrote.

    Raises:
        InputError: the recipe does not fit the data; nothing was trained.
        TriptychError: training failed; the folder says at which step.
    """
    with surrounded(recipe, quiet, shared, report) as around:
        if out and around.ranks.first:
            refuse_full(out)
        table = around.shared.table(recipe, lambda: open_table(recipe, around.voice, rows))
        _tell(recipe, table, around.voice)
        return _in_new_folder(recipe, table, out, around)


def _in_new_folder(
    recipe: Recipe, table: Table, out: str | Path | None, around: Around, begin: Callable[[RunFolder], None] = lambda run: None
) -> RunFolder:
    """Make the run's folder and train in it; `begin` puts into it what a longer run starts from."""
    ranks = around.ranks
    made = RunFolder.create(recipe, out).path if ranks.first else Path()
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
            _tell(own, table, around.voice)
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
        _tell(recipe, table, around.voice)
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
    try:
        if ranks.first:
            run.write_rejects(table.rejects)
        run.about({"data": table.fingerprint})
        start = read_course(run)
        bench = build(recipe, table, voice, around.shared, ranks)
        if ranks.first:
            trackers.start(run, bench.choices)
        untouched, simple = _before(bench, run, voice)
        if start is not None:
            watch.add(start[0].seconds)
        best = train_stages(bench, run, voice, watch, start)
        if ranks.first:
            trained = measured_on(bench, voice, "measuring the trained model")
            with voice.waiting("asking what each input adds"):
                run.write("reliance.json", finite(reliance(bench)))
            write_down(bench, run, untouched, simple, trained, best, watch)
        ranks.wait()
    except InputError:
        trackers.finish(run, "failed")
        raise
    except BaseException as problem:
        status = "interrupted" if isinstance(problem, KeyboardInterrupt) else "failed"
        run.about({"status": status, "problem": f"{type(problem).__name__}: {problem}"})
        trackers.finish(run, status)
        voice.say(f"{status}; go on with: triptych train --resume {run.path}")
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


def open_table(recipe: Recipe, voice: Voice, rows: Source | None = None) -> Table:
    """The recipe's rows: read, checked one by one, and divided."""
    columns = {recipe.columns()[name]: rooms()[settings.modality] for name, settings in recipe.inputs.items()}
    table = read_rows(recipe, columns, voice, rows)
    for name, column in recipe.columns().items():
        table.require(column, f"input {name}")
    for name, task in recipe.tasks.items():
        if wanted := getattr(task, "target", None) or getattr(task, "positives", None):
            table.require(wanted, f"task {name}")
    facts = Facts({recipe.columns()[name]: (rooms()[settings.modality], settings.prepare) for name, settings in recipe.inputs.items()})
    table = screen(
        limited(table, recipe.data.limit),
        columns,
        recipe.data.max_rejected,
        lambda rows, total: voice.track(rows, total, "reading rows"),
        facts,
    )
    table = divide(
        table, recipe.data.split, stratify=next((task.target for task in recipe.tasks.values() if task.kind == "classify"), None)
    )
    for name, column in recipe.columns().items():
        there = table.has(column)
        if not any(there[index] for index in table.at("train")):
            fix = "remove it from the recipe, or check its column"
            raise InputError(f"no training row has the input {name!r}", where=table.source, fix=fix)
    answers = [str(getattr(task, "target", None) or getattr(task, "positives", None)) for task in recipe.tasks.values()]
    word = fingerprint(table, facts, [column for column in answers if column in table.columns])
    return replace(table, diagnosis=diagnose(table, facts, asked_of(recipe)), lengths=facts.lengths(), fingerprint=word)


def _tell(recipe: Recipe, table: Table, voice: Voice) -> None:
    """How many rows there are on each side, the first reasons of those that were lost, and what should be looked at."""
    sides = ", ".join(f"{len(table.at(side))} {side}" for side in SIDES)
    voice.say(f"{len(table.rows)} rows ({sides})" + (f", {len(table.rejects)} rejected" if table.rejects else ""))
    for reject in table.rejects[:5]:
        voice.say(f"  rejected {reject.id}: {reject.reason}")
    if len(table.rejects) > 5:
        voice.say(f"  and {len(table.rejects) - 5} more, all in the run's rejects.csv")
    for finding in told(recipe, table):
        if finding.severity != "note":
            voice.say(f"  {finding.severity}: {finding.text}" + (f" ({finding.rows} rows)" if finding.rows else ""))


def read_rows(recipe: Recipe, columns: Mapping[str, Modality], voice: Voice, rows: Source | None = None) -> Table:
    """The source's rows as they stand."""

    def made(source: str) -> str:
        if not source.startswith(SAMPLE):
            return source
        name = source.removeprefix(SAMPLE)
        with voice.waiting(f"making the sample {name!r} (once; it is kept in the cache folder)"):
            return str(make_sample(name, columns))

    words = recipe.read_from().with_sources(made)
    return as_table(opened(words, rooms(), columns, rows), words, rooms(), voice)


def limited(table: Table, limit: int | None) -> Table:
    """So many rows, drawn by the hash of their ids: every other row of a table that goes a, b, a, b would all be a."""
    if limit is None or limit >= len(table.rows) + len(table.rejects):
        return table
    ids = [*table.rows.ids(), *(reject.id for reject in table.rejects)]
    drawn = sorted(range(len(ids)), key=lambda index: hashlib.sha256(ids[index].encode("utf-8", "replace")).digest())[:limit]
    rows = len(table.rows)
    rejects = [table.rejects[index - rows] for index in sorted(drawn) if index >= rows]
    return replace(table.subset([index for index in sorted(drawn) if index < rows]), rejects=rejects)


def build(recipe: Recipe, table: Table, voice: Voice, shared: Shared | None = None, ranks: Ranks = ALONE) -> Bench:
    """Preparations that have seen the training rows, targets, and a model of the right sizes; every choice is said."""
    seed_random(recipe.training.seed)
    choices = Choices()
    device = choose_device(recipe.training.device, choices)
    choose_threads(recipe.training.threads, choices, ranks.here)
    if ranks.size > 1:
        reason = f"{recipe.training.strategy}, {ranks.here} on this machine; each step's rows are shared out"
        choices.note("processes", ranks.size, reason)
    inputs = prepared_inputs(recipe, table, choose_keep(choices), voice, shared or Shared())
    lengths = measure_lengths(table, inputs) if ranks.first else []
    for one in lengths:
        voice.say(f"  {one.line()}")
        if (cut := one.finding()) and cut.severity != "note":
            voice.say(f"  {cut.severity}: {cut.text}; {cut.fix}")
    targets = {name: learn_target(name, task, table, recipe.columns()) for name, task in recipe.tasks.items()}
    check_select(recipe, table, targets)
    encoders = {name: inputs[name].room.encoder(settings, inputs[name].preparation.facts()) for name, settings in recipe.inputs.items()}
    fusion = build_fusion(recipe.fusion, {name: encoder.width for name, encoder in encoders.items()})
    heads = {name: build_head(task, fusion.width, targets[name].facts) for name, task in recipe.tasks.items()}
    model = Model(encoders, fusion, heads, recipe.training.drop_inputs).to(device)
    check_depths(model, recipe.stages)
    parameters = model.size()
    precision = choose_precision(recipe.training.precision, device, parameters, choices)
    batch_size = _batch_size(recipe, table, choices)
    if recipe.training.chunk:
        choices.note(
            "rows at once", min(recipe.training.chunk, batch_size), "training.chunk: gradients are cached, losses are over the whole batch"
        )
    reason = "as the recipe says" if recipe.training.select else "the first task's headline; training.select names another"
    choices.note(
        "best epoch by", recipe.selected(), reason if table.at("validation") else "but there are no validation rows: the last epoch is kept"
    )
    often = f"every {recipe.training.save_seconds:g} s, and at the end of a stage"
    choices.note("state kept", often, "what a stop may cost at most; --resume goes on from it")
    voice.say(f"model of {parameters:,} parameters")
    note_weights(recipe, targets, choices)
    order = training_order(recipe, table, batch_size, choices)
    voice.choices(choices.made)
    if isinstance(order.draws, Plan):
        voice.say(f"rows are drawn by {order.draws.by}, {len(order.draws):,} an epoch:")
        for line in order.draws.lines():
            voice.say(f"  {line}")
    return Bench(recipe, choices, table, inputs, targets, model, device, precision, batch_size, lengths, order, ranks)


def prepared_inputs(recipe: Recipe, table: Table, keep_bytes: int, voice: Voice, shared: Shared) -> dict[str, InputColumn]:
    """Each input with its preparation fitted on the training rows."""

    def made(name: str) -> InputColumn:
        settings = recipe.inputs[name]
        room = rooms()[settings.modality]
        held = InputColumn(room, room.preparation(settings), recipe.columns()[name], table, keep_bytes // len(recipe.inputs))
        train = table.at("train")
        random.Random(0).shuffle(train)  # a preparation may look at some of the rows only, and tables are often sorted by class
        held.fit(voice.track(train, len(train), f"preparing {name}"))
        return held

    return {name: shared.column(recipe, name, partial(made, name)) for name in recipe.inputs}


def _batch_size(recipe: Recipe, table: Table, choices: Choices) -> int:
    asked, there = recipe.training.batch_size, len(table.at("train"))
    choices.note(
        "batch size",
        min(asked, there),
        "as the recipe says" if asked <= there else f"the recipe says {asked}, there are {there} training rows",
    )
    return min(asked, there)


def measured_on(bench: Bench, voice: Voice, what: str) -> Measured:
    """On the test rows; on the validation rows where nothing was kept for a test."""
    voice.say(what)
    loader = bench.loader(bench.judged_side())
    batches = voice.track(loader, len(loader), "measuring")
    measured = measure(bench.model, batches, bench.recipe.tasks, bench.device, every_mixture=True)
    return with_prompts(bench.recipe, bench.model, rooms_of(bench.inputs), bench.labels(), measured)


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
            count = freeze_all_but(bench.model, stage)
            bench.model.train()  # what is frozen now is in eval mode from the first step on
            voice.say(f"stage {number}: training {', '.join(stage.train)} ({count:,} parameters), at most {stage.epochs} epochs")
            if state is None or "optimizer" not in state:  # it begins; otherwise it goes on
                watching.begin(number, stage, course.before, len(loader))
            if start is None and number == 0:
                check_one_batch(bench, loader, watching, voice)
            if not course.ended:
                lit = Lit(bench.model, recipe, stage, validation, stage.epochs * len(loader), watching, state, bench.ranks)
                keep = Keep(run, bench.model, best, course, voice.say, listener)
                callbacks = [steps_bar, keep, Save(run, course, best, loader, clock, spent.read)]
                _run_lightning(bench, lit, loader, stage.epochs - course.epochs, callbacks)
            course.stops.append({"stage": number, "epochs": course.epochs, "of": stage.epochs, "early": course.early, "parameters": count})
            course, state = course.following(), None
            bench.ranks.wait()
            if run.model.exists():
                bench.model.load_weights(run.model)
            if number + 1 < len(recipe.stages):  # its own epochs may soon overwrite the weights that it starts from
                course.best = asdict(best)
                write_course(run, course, _between(bench, loader, watching), bench.ranks)
    bench.stops = course.stops
    if not run.model.exists():
        raise TriptychError(
            f"no epoch gave a {best.name} that is a number", where=str(run.path), fix="lower the learning rate: --set stages.0.lr=1e-4"
        )
    if best.value is None:
        why = "no validation rows" if validation is None else f"no validation row has what {best.name} needs"
        voice.say(f"{why}: the last epoch is kept")
    else:
        voice.say(f"best: epoch {best.epoch}, validation {best.name} {best.value:.3f}")
    return best


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


def _run_lightning(bench: Bench, lit: Lit, loader: Loader, epochs: int, callbacks: list[L.Callback]) -> None:
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
