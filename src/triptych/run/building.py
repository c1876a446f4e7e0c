"""From a table to a bench: preparations that have seen the training rows, targets, a model of the right sizes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

from triptych.base.ranks import ALONE, Ranks
from triptych.base.runtime import Choices, choose_device, choose_keep, choose_memory, choose_precision, choose_threads
from triptych.contract.tasks import IN_WRITING
from triptych.contract.writes import Script
from triptych.data.loader import InputColumn
from triptych.data.sampling import Plan
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.model.fusion import build_fusion
from triptych.model.heads import build_head
from triptych.run.bench import Bench
from triptych.run.grounding import framed, ground_facts
from triptych.run.inspect import check_select, check_thresholds
from triptych.run.lengths import Lengths, measure_lengths
from triptych.run.lit import check_depths
from triptych.run.ordering import note_weights, training_order
from triptych.run.own_space import base_facts
from triptych.run.progress import Voice
from triptych.run.recipe import LAST, Recipe
from triptych.run.resume import seed_random
from triptych.run.shared import Shared
from triptych.run.starting import Beginning, beginning
from triptych.run.transcribing import fitting, sequence_facts
from triptych.run.variants import varied_inputs
from triptych.run.writing import asked_rows, generator_of, learn, script_of, targets_of


def build(recipe: Recipe, table: Table, voice: Voice, shared: Shared | None = None, ranks: Ranks = ALONE) -> Bench:
    """Preparations that have seen the training rows, targets, and a model of the right sizes; every choice is said."""
    seed_random(recipe.training.seed)
    choices = Choices()
    device = choose_device(recipe.training.device, choices)
    choose_threads(recipe.training.threads, choices, ranks.here)
    choose_memory(choices)
    if ranks.size > 1:
        reason = f"{recipe.training.strategy}, {ranks.here} on this machine; each step's rows are shared out"
        choices.note("processes", ranks.size, reason)
    start = beginning(recipe, choices)
    inputs = prepared_inputs(recipe, table, choose_keep(choices), voice, shared or Shared(), start)
    lengths = measure_lengths(table, inputs) if ranks.first else []
    for one in lengths:
        voice.say(f"  {one.line()}")
        if (cut := one.finding()) and cut.severity != "note":
            voice.say(f"  {cut.severity}: {cut.text}; {cut.fix}")
    script = script_of(recipe)
    asked = asked_rows(recipe, script, table, {name: held.counts_N.tolist() for name, held in inputs.items()})
    if start is None or not start.read_script(script):
        learn(script, asked, table.at("train"))
    targets = start.targets(table, asked) if start else targets_of(recipe, table, asked)
    targets = framed(recipe, table, targets, inputs, voice)
    check_select(recipe, table, targets)
    check_thresholds(recipe, table)
    varied = varied_inputs(recipe, inputs, targets, choices)
    model = _model(recipe, table, inputs, targets, script, lengths)
    for text in (text for target in targets.values() for text in target.findings):
        voice.say(f"  warning: {text}")
    if start is not None:
        start.give(model)
    model = model.to(device)
    check_depths(model, recipe.stages)
    parameters = model.size()
    precision = choose_precision(recipe.training.precision, device, parameters, choices)
    batch_size = _batch_size(recipe, table, choices)
    _note_training(recipe, table, batch_size, choices)
    voice.say(f"model of {parameters:,} parameters")
    note_weights(recipe, targets, choices)
    order = training_order(recipe, table, batch_size, choices)
    voice.choices(choices.made)
    if isinstance(order.draws, Plan):
        voice.say(f"rows are drawn by {order.draws.by}, {len(order.draws):,} an epoch:")
        for line in order.draws.lines():
            voice.say(f"  {line}")
    return Bench(
        recipe, choices, table, dict(inputs), targets, model, device, precision, batch_size, lengths, order, ranks, varied, script, asked
    )


def _note_training(recipe: Recipe, table: Table, batch_size: int, choices: Choices) -> None:
    """How many rows go through at once, which epoch is kept, and what a stop may cost."""
    training = recipe.training
    if training.chunk:
        reason = "training.chunk: gradients are cached, losses are over the whole batch"
        choices.note("rows at once", min(training.chunk, batch_size), reason)
    if recipe.selected() == LAST:
        choices.note("epoch kept", LAST, "training.select: no score chooses")
    elif not table.at("validation"):
        choices.note("best epoch by", recipe.selected(), "but there are no validation rows: the last epoch is kept")
    else:
        reason = "as the recipe says" if training.select else "the first task's; training.select names another"
        choices.note("best epoch by", recipe.selected(), reason)
    often = f"every {training.save_seconds:g} s, and at the end of a stage"
    choices.note("state kept", often, "what a stop may cost at most; --resume goes on from it")


def _model(
    recipe: Recipe,
    table: Table,
    inputs: Mapping[str, InputColumn],
    targets: dict[str, Target],
    script: Script | None,
    lengths: Sequence[Lengths],
) -> Model:
    """Encoders, a fusion, heads, a decoder; from `targets` go rows whose text cannot be heard in so few steps."""
    encoders = {name: inputs[name].room.encoder(settings, inputs[name].preparation.facts()) for name, settings in recipe.inputs.items()}
    widths = {name: encoder.width for name, encoder in encoders.items()}
    if recipe.fusion.kind == "prefix":
        decoder = generator_of(recipe, script)
        fusion = build_fusion(recipe.fusion, widths, decoder.width if decoder else None)
    else:
        fusion = build_fusion(recipe.fusion, widths)
        decoder = generator_of(recipe, script, fusion.width)
    own = {name: base_facts(recipe, encoders, name) for name, task in recipe.tasks.items() if getattr(task, "space", "") == "own"}
    for name, task in recipe.tasks.items():
        if task.kind == "ctc":
            own[name] = read = sequence_facts(recipe, name, inputs, encoders)
            column = recipe.columns()[read["input"]]
            targets[name] = fitting(name, targets[name], table, column, read["input"], read["frame"], lengths)
    own |= ground_facts(recipe, inputs, encoders)
    judged = {name: task for name, task in recipe.tasks.items() if task.kind not in IN_WRITING}
    heads = {name: build_head(task, fusion.width, targets[name].facts | own.get(name, {})) for name, task in judged.items()}
    return Model(encoders, fusion, heads, recipe.training.drop_inputs, decoder)


def prepared_inputs(
    recipe: Recipe, table: Table, keep_bytes: int, voice: Voice, shared: Shared, start: Beginning | None = None
) -> dict[str, InputColumn]:
    """Each input with its preparation fitted on the training rows, or as the run that training starts from has it."""

    def made(name: str) -> InputColumn:
        settings = recipe.inputs[name]
        room = rooms()[settings.modality]
        held = InputColumn(room, room.preparation(settings), recipe.columns()[name], table, keep_bytes // len(recipe.inputs))
        if start is not None:
            start.read_preparation(name, held.preparation)
            return held
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
