"""From the words of a recipe to its table: rows read, checked one by one, divided, and what was found in them said."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from triptych.base.errors import InputError
from triptych.contract.modality import SIDES, Modality
from triptych.data.added import divide_first, with_added
from triptych.data.check import screen
from triptych.data.doctor import diagnose
from triptych.data.facts import Facts
from triptych.data.lacking import SHOWN
from triptych.data.looks import Looks
from triptych.data.rows import Source
from triptych.data.samples import SAMPLE, make_sample, sample_made
from triptych.data.settings import RowSettings
from triptych.data.sources.tabled import as_table
from triptych.data.sources.words import opened
from triptych.data.split import divide
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.run.inspect import asked_of, told
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.resume import fingerprint
from triptych.run.writing import tasks_of, words_alone, words_of


def open_table(recipe: Recipe, voice: Voice, rows: Source | None = None) -> Table:
    """The recipe's rows: read, checked one by one, and divided."""
    columns = {recipe.columns()[name]: rooms()[settings.modality] for name, settings in recipe.inputs.items()}
    table = read_rows(recipe, columns, voice, rows)
    for name, column in recipe.columns().items():
        table.require(column, f"input {name}")
    for name, task in recipe.tasks.items():
        if wanted := getattr(task, "target", None) or getattr(task, "positives", None):
            table.require(wanted, f"task {name}")
    for name, task in tasks_of(recipe).items():  # before any value is looked at
        for column in words_of(recipe, task):
            table.require(column, f"task {name}", recipe.inputs)
    if recipe.data.added is not None:
        table = with_added(limited(table, recipe.data.limit), added_rows(recipe, columns, voice))
    facts = Facts({recipe.columns()[name]: (rooms()[settings.modality], settings.examined()) for name, settings in recipe.inputs.items()})
    looks = Looks()
    table = screen(
        table if recipe.data.added else limited(table, recipe.data.limit),
        columns,
        recipe.data.max_rejected,
        lambda rows, total: voice.track(rows, total, "reading rows"),
        facts,
        looks,
        words_alone(recipe),
    )
    looks.close()
    stratify = next((task.target for task in recipe.tasks.values() if task.kind == "classify"), None)
    table = divide_first(table, lambda first: divide(first, recipe.data.split, stratify))
    for name, column in recipe.columns().items():
        there = table.has(column)
        if not any(there[index] for index in table.at("train")):
            fix = "remove it from the recipe, or check its column"
            raise InputError(f"no training row has the input {name!r}{_why_none(table, facts, column)}", where=table.source, fix=fix)
    answers = [str(getattr(task, "target", None) or getattr(task, "positives", None)) for task in recipe.tasks.values()]
    answers += [column for task in tasks_of(recipe).values() for column in words_of(recipe, task)]
    word = fingerprint(table, facts, [column for column in answers if column in table.columns])
    return replace(table, diagnosis=diagnose(table, facts, asked_of(recipe)), lengths=facts.lengths(), fingerprint=word)


def _why_none(table: Table, facts: Facts, column: str) -> str:
    """What is known of files that fill a column and give nothing for it."""
    ids = table.rows.ids()
    found = [
        f"{len(rows):,} rows, such as {', '.join(ids[row] for row in rows[:SHOWN])}: {fault.text}"
        for fault, rows in facts.columns[column].faults.items()
        if fault.code in ("absent", "unreadable")
    ]
    return "; ".join(["", *found])


def added_rows(recipe: Recipe, columns: Mapping[str, Modality], voice: Voice) -> Table:
    """The rows of `data.added` as they stand; their columns are named as the recipe names them."""
    assert recipe.data.added is not None
    words = RowSettings(source=recipe.data.added.source)
    return as_table(opened(words, rooms(), columns), words, rooms(), voice)


def tell(recipe: Recipe, table: Table, voice: Voice) -> None:
    """How many rows there are on each side, the first reasons of those that were lost, and what should be looked at."""
    sides = ", ".join(f"{len(table.at(side))} {side}" for side in SIDES)
    voice.say(f"{len(table.rows)} rows ({sides})" + (f", {len(table.rejects)} rejected" if table.rejects else ""))
    for reject in table.rejects[:5]:
        voice.say(f"  rejected {reject.id}: {reject.reason}")
    if len(table.rejects) > 5:
        voice.say(f"  and {len(table.rejects) - 5} more, all in the run's rejects.csv")
    for finding in told(recipe, table):
        if finding.severity != "note":
            voice.say(
                f"  {finding.severity}: {finding.text}"
                + (f" ({finding.rows:,} row{'s' if finding.rows > 1 else ''})" if finding.rows else "")
            )


def read_rows(recipe: Recipe, columns: Mapping[str, Modality], voice: Voice, rows: Source | None = None) -> Table:
    """The source's rows as they stand."""

    def made(source: str) -> str:
        if not source.startswith(SAMPLE):
            return source
        name = source.removeprefix(SAMPLE)
        if known := sample_made(name, columns):
            return str(known)
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
