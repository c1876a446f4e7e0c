"""The next version of a run: its remarks learnt beside its own rows, from its own weights, judged on remarks that were held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.files import digest, write_text
from triptych.base.settings import spelled_out, write_yaml
from triptych.contract.cells import Blob, Cell, Span
from triptych.data.build import Plan, build
from triptych.data.rows import Source
from triptych.data.several import as_cell, read_each
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.run import fit
from triptych.run.folder import RunFolder
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.record import finite
from triptych.use.disputes import doubts
from triptych.use.feedback import Feedback
from triptych.use.lessons import CHOSEN, Lesson, Sorted, key_of, parts_of, sort_out
from triptych.use.neighbours import neighbours
from triptych.use.next_recipe import Plans, next_recipe
from triptych.use.next_scores import before_and_after
from triptych.use.opened import Run
from triptych.use.report import write_report

TOLD = "feedback.json"
FOLDER = "feedback"


def train_next(run: Run, feedback: Feedback, plans: Plans, out: str | Path | None = None, voice: Voice | None = None) -> RunFolder:
    """Train the next version of a run from its feedback; the old run stays as it is.

    Returns:
        the new run's folder; its `feedback.json` says what was learnt, held out and left out, and how both versions fare.

    Raises:
        InputError: there is nothing to learn from, or the run's own rows cannot be read any more.
        TriptychError: training failed.
    """
    voice = voice or Voice(quiet=True)
    version, kept = feedback.version, list(feedback.remarks())
    if not kept:
        raise InputError("there is no feedback to learn from", where=str(feedback.path), fix=f"triptych feedback add {run.folder.path} ...")
    known = labels_of(run)
    table = _own_rows(run, voice)
    with voice.waiting("looking through the feedback"):
        near = neighbours(run, table, kept)
        found = doubts([one.remark for one in kept], run.recipe.tasks, near)
        lessons = sort_out(kept, run.recipe, known, found, plans.wanted, lambda name, cell: contents(run, name, cell), _judged(run, table))
    counts = lessons.counts(len(kept))
    _say(counts, [*found.findings, *lessons.findings], voice)
    if not lessons.learnt:
        why = "; ".join(f"{count}: {why}" for why, count in Counter(lessons.left_out.values()).most_common(3))
        fix = next((one.fix for one in lessons.findings if one.fix), f"triptych feedback show {run.folder.path}")
        raise InputError(f"nothing can be learnt from the {len(kept)} remarks ({why})", where=str(feedback.path), fix=fix)
    _fill_labels(run, [*lessons.learnt, *lessons.held])
    recipe = next_recipe(
        run, lessons.learnt, len(table.at("train")), plans, None, None
    )  # a wrong --set is answered before anything is made
    folder = RunFolder.create(recipe, out)
    try:
        recipe = _prepared(run, lessons, len(table.at("train")), plans, folder)
    except BaseException:
        _remove(folder)
        raise
    about: dict[str, Any] = {
        "from": {"run": str(run.folder.path.resolve()), "digest": run.folder.digest()},
        "feedback": {"path": str(feedback.path.resolve()), "version": version},
        "counts": counts,
        "weight": recipe.data.added.weight if recipe.data.added else None,
        "left_out": lessons.left_out,
        "findings": [one.as_dict() for one in [*found.findings, *lessons.findings]],
    }
    folder.about({"next_of": {**about["from"], "feedback": about["feedback"]}})

    def report(done: RunFolder) -> Path:
        told = {**about, **before_and_after(run, Run(done), lessons)}
        done.write(TOLD, finite(told))
        files = done.read("run.json")["files"]
        done.about({"files": {**files, TOLD: digest(done.path / TOLD)}})
        return write_report(done)

    return fit.fit(recipe, quiet=voice.console.quiet, report=report, into=folder)


def _remove(folder: RunFolder) -> None:
    import shutil

    with suppress(OSError):
        shutil.rmtree(folder.path)


def labels_of(run: Run) -> dict[str, list[str]]:
    """The classes that a run knows, by task."""
    return {
        name: list(part.facts["labels"]) for name, part in run.model.parts().items() if name in run.recipe.tasks and "labels" in part.facts
    }


def _own_rows(run: Run, voice: Voice) -> Table:
    """The run's own rows, as it read them."""
    try:
        return open_table(run.recipe, voice)
    except InputError as error:
        fix = "bring the run's data back: the next version learns its rows again, or it would forget them"
        raise InputError(f"the run's own rows cannot be read: {error.what}", where=error.where, known=error.known, fix=fix) from error


def contents(run: Run, name: str, cell: Cell) -> set[str]:
    """Words for what a cell holds: its bytes, and what a room sees in them, so that a copy in another format is known too.

    Raises:
        BadValue: it cannot be read.
    """
    room, settings = run.inputs[name][0], run.recipe.inputs[name]
    given = as_cell(room, cell)
    found = {f"{name}:{room.examine(value, settings.examined()).content:x}" for value in read_each(room, given)}
    for part in parts_of(given) if room.by_reference else ():
        if isinstance(part, Blob):
            found.add(key_of(bytes(part)))
        elif isinstance(part, Path):
            found.add(key_of(part.read_bytes()))
        elif isinstance(part, Span):
            found.add(f"{part}")
    if room.by_reference or len(run.recipe.inputs) == 1:
        return found
    return set()  # a short text stands beside many pictures: two rows that share it are not the same


def _judged(run: Run, table: Table) -> set[str]:
    """Words for what the rows hold that the run is judged by."""
    found: set[str] = set()
    places = [*table.at("validation"), *table.at("test")]
    for row in table.rows.take(places):
        for name, column in run.recipe.columns().items():
            if row.cells.get(column) is not None:
                with suppress(BadValue, OSError):
                    found |= contents(run, name, row.cells[column])
    return found


def _fill_labels(run: Run, lessons: Iterable[Lesson]) -> None:
    """An empty cell of several labels says that none is right; where nobody said so, the run's own answer stands."""
    tasks = {name: task for name, task in run.recipe.tasks.items() if task.kind == "multilabel"}
    columns = {column: name for name, column in run.recipe.columns().items()}
    lacking = [one for one in lessons if any(task.target not in one.row.cells for task in tasks.values())]
    if not tasks or not lacking:
        return
    rows = [{columns[c]: cell for c, cell in one.row.cells.items() if c in columns} for one in lacking]
    for one, told in zip(lacking, run.predict_each(rows), strict=True):
        for name, task in tasks.items():
            if task.target not in one.row.cells and not isinstance(told, BadValue):
                shares = told[name]["probabilities"]
                one.row.cells[task.target] = [label for label, share in shares.items() if share > task.threshold]


def _prepared(run: Run, lessons: Sorted, own: int, plans: Plans, folder: RunFolder) -> Recipe:
    """Write what the next version learns from into its folder, and its recipe."""
    place = folder.path / FOLDER
    learnt = _written(lessons.learnt, place / "learnt.lance")
    if lessons.held:
        _written(lessons.held, place / "held_out.lance")
    decoder = None
    if any(CHOSEN in one.row.cells for one in lessons.learnt):
        from triptych.use.export import DECODER, export_base

        decoder = place / "decoder"
        export_base(run, decoder, DECODER)
    recipe = next_recipe(run, lessons.learnt, own, plans, learnt, decoder)
    write_text(folder.path / "recipe.yaml", write_yaml(spelled_out(recipe)))
    return recipe


def _written(lessons: Sequence[Lesson], path: Path) -> Path:
    """Rows as a table of their own, files by value."""
    columns = list(dict.fromkeys(name for one in lessons for name in one.row.cells))
    source = Source("feedback", lambda: iter([one.row for one in lessons]), path.parent, total=len(lessons), columns=columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    built = build(source, path, rooms(), Plan(workers=0), Voice(quiet=True))
    if built.kept != len(lessons):
        raise AssertionError(f"{len(lessons)} rows of feedback were read, and {built.kept} could be written")
    return path


def _say(counts: Mapping[str, Any], findings: Iterable[Any], voice: Voice) -> None:
    voice.say(f"{counts['remarks']} remarks: {counts['learnt']} learnt, {counts['held_out']} held out, {counts['left_out']} left out")
    for why, count in counts["why"].items():
        voice.say(f"  left out, {count}: {why}")
    for one in findings:
        voice.say(f"  {one.severity}: {one.text}" + (f"; {one.fix}" if one.fix else ""))
