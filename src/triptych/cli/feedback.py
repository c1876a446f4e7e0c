"""The verbs under `triptych feedback`: say what is right, see what was said, and train the next version from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.base.errors import InputError

if TYPE_CHECKING:
    from triptych.run.folder import RunFolder
    from triptych.use.feedback import Feedback

app = typer.Typer(help="Say what is right of a run's answers, and train its next version from that.", rich_markup_mode=None)

RunArg = Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run")]
TableOption = Annotated[str | None, typer.Option("--feedback", metavar="TABLE", help="table of feedback; by default RUN/feedback.lance")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
RaterOption = Annotated[str, typer.Option(help="who says so: a pseudonym; two raters who disagree are told apart by it")]
THUMBS = {"up": 5, "down": 1}


def _of(run: str, table: str | None) -> tuple[RunFolder, Feedback]:
    from triptych.run.folder import open_folder
    from triptych.use.feedback import feedback_of

    folder = open_folder(run)
    return folder, feedback_of(folder, table)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def add(
    context: typer.Context,
    run: RunArg,
    task: Annotated[str | None, typer.Option(help="the task it is about; not needed where only one fits")] = None,
    correct: Annotated[str | None, typer.Option(help="the right answer: a label, a|b for several, a number or a text")] = None,
    rating: Annotated[str | None, typer.Option(help="1 to 5, or up, or down")] = None,
    chosen: Annotated[str | None, typer.Option(help="the better of two written answers")] = None,
    rejected: Annotated[str | None, typer.Option(help="the worse of them")] = None,
    rater: RaterOption = "",
    note: Annotated[str, typer.Option(help="in your own words")] = "",
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is right of the run's answer to one row: --INPUT VALUE ... --task NAME --correct ANSWER."""
    from triptych.cli.values import named_values, separated

    folder, feedback = _of(run, table)
    plain, named = separated(context.args)
    if plain:
        raise InputError(f"{plain[0]!r} is not named", fix=f"say which input it is: --{next(iter(folder.recipe().inputs))} {plain[0]}")
    row = named_values(named, folder.recipe())
    if not row:
        raise InputError("no input is given, so there is nothing to learn from", fix=f"--{next(iter(folder.recipe().inputs))} VALUE")
    words = {"task": task, "correction": correct, "rating": _rating(rating), "chosen": chosen, "rejected": rejected}
    from triptych.use.remarks import remark_of

    remark_of({**words, "rater": rater, "note": note}, folder.recipe())  # a slip is answered before the model is loaded
    from triptych.cli import tables
    from triptych.use.opened import Run
    from triptych.use.said import remark_on

    opened = Run(folder)
    remark = remark_on(opened, feedback, row, {**words, "rater": rater, "note": note})
    doubt = _new_label(opened, remark)
    if doubt:
        print(doubt, file=sys.stderr)
    if as_json:
        print(json.dumps({**remark.model_dump(), "table": str(feedback.path)}))
        return
    said = remark.answer.get("said") if isinstance(remark.answer, dict) else None
    tables.lines(f"kept: {remark.kind}" + (f" of {remark.task}" if remark.task else "") + (f"; the run says {said!r}" if said else ""))
    tables.lines(f"{len(feedback)} remarks in {feedback.path}")


def _rating(text: str | None) -> int | None:
    if text is None or text in THUMBS:
        return THUMBS.get(text or "")
    if not text.isdecimal():
        raise InputError(f"{text!r} is no rating", known=[1, 2, 3, 4, 5, *THUMBS])
    return int(text)


def _new_label(run: Any, remark: Any) -> str:
    """What to say of a label that the run does not know."""
    from triptych.base.errors import nearest
    from triptych.use.lessons import unknown_labels
    from triptych.use.next_version import labels_of

    known = labels_of(run)
    strange = unknown_labels(remark, run.recipe.tasks.get(remark.task), known)
    if not strange:
        return ""
    close = nearest(strange[0], known.get(remark.task, ()), 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"note: {remark.task} does not know {strange[0]!r}{meant}\n  known: {', '.join(known.get(remark.task, ()))}\n"
        "  a new class needs training from the recipe; see the guide on feedback"
    )


@app.command("import")
def import_(
    run: RunArg,
    source: Annotated[str, typer.Argument(metavar="TABLE", help="CSV, JSON lines, Parquet or a table: inputs, and what is right of them")],
    task: Annotated[str | None, typer.Option(help="the task that the column `correction` is about")] = None,
    rater: RaterOption = "",
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a table of corrections: a column an input, and one named after a task, or correction, rating, chosen and rejected."""
    folder, feedback = _of(run, table)
    if task is not None and task not in folder.recipe().tasks:
        from triptych.base.errors import unknown_word

        raise unknown_word("task", task, folder.recipe().tasks)
    from triptych.cli import tables
    from triptych.use.opened import Run
    from triptych.use.said import import_table

    defaults = {name: value for name, value in (("task", task), ("rater", rater)) if value}
    made = import_table(Run(folder), feedback, Path(source), defaults)
    rejects = [{"id": one.id, "reason": one.reason} for one in made.rejects]
    if as_json:
        print(json.dumps({"rows": made.rows, "remarks": made.remarks, "empty": made.empty, "rejects": rejects, "unused": made.unused}))
        return
    tables.lines(f"{made.remarks} remarks from {made.rows} rows; {made.empty} rows say nothing, {len(rejects)} rejected")
    tables.lines(*(f"  rejected {one['id']}: {one['reason']}" for one in rejects[:10]))
    if len(rejects) > 10:
        tables.lines(f"  and {len(rejects) - 10} more; --json lists all")
    if made.unused:
        tables.lines(f"columns that nothing was made of: {', '.join(made.unused)}")
    tables.lines(f"{len(feedback)} remarks in {feedback.path}")


@app.command()
def show(run: RunArg, table: TableOption = None, as_json: JsonOption = False) -> None:
    """Counts, how often the run was right by the corrections, how raters agree, how good voices are, what is doubtful."""
    from triptych.cli import opinions, tables

    _, feedback = _of(run, table)
    told = {**feedback.summary(), "findings": [one.as_dict() for one in feedback.findings()]}
    if as_json:
        print(json.dumps(told))
        return
    if not told["remarks"]:
        tables.lines(f"there is no feedback yet in {feedback.path}", f"  try:   triptych feedback add {run} --help")
        return
    opinions.feedback(told)


@app.command()
def export(
    run: RunArg,
    out: Annotated[str, typer.Argument(metavar="OUT", help="NAME.lance, NAME.csv or NAME.jsonl to write")],
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write feedback as a table with the columns of the run's recipe, which `data: {source: OUT}` takes."""
    folder, feedback = _of(run, table)
    kept = list(feedback.remarks())
    from triptych.cli import tables
    from triptych.use.opened import Run
    from triptych.use.said import export_table

    told = export_table(Run(folder), kept, Path(out))
    if as_json:
        print(json.dumps(told))
        return
    lost = f", {told['rejected']} rejected" if told["rejected"] else ""
    tables.lines(f"{told['rows']} of {told['remarks']} remarks{lost} -> {told['out']} (columns {', '.join(told['columns'])})")


@app.command()
def train(
    run: RunArg,
    epochs: Annotated[int, typer.Option(min=1, help="epochs over the run's own rows and the feedback")] = 5,
    held_out: Annotated[float, typer.Option(min=0, max=0.9, help="share of the inputs that only judge, drawn by their hash")] = 0.2,
    weight: Annotated[
        float | None,
        typer.Option(min=0.01, help="how often feedback is drawn against the run's own rows"),
    ] = None,
    keep_contradictions: Annotated[bool, typer.Option("--keep-contradictions", help="learn all that is said of one input")] = False,
    drop_suspects: Annotated[bool, typer.Option("--drop-suspects", help="leave out what goes against all else")] = False,
    without: Annotated[list[str] | None, typer.Option("--leave-out-rater", metavar="RATER", help="learn nothing from this rater")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change a field of its recipe")] = None,
    out: Annotated[str | None, typer.Option(help="folder of the next version; by default runs/DATE-NAME")] = None,
    table: TableOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the run's next version from its weights and its feedback, and judge both on feedback that was held out."""
    folder, feedback = _of(run, table)
    from triptych.cli import opinions, tables
    from triptych.run.progress import Voice
    from triptych.use.lessons import Wanted
    from triptych.use.next_recipe import Plans
    from triptych.use.next_version import TOLD, train_next
    from triptych.use.opened import Run

    wanted = Wanted(held_out, keep_contradictions, drop_suspects, tuple(without or ()))
    plans = Plans(wanted, epochs, weight, tuple(set_ or ()))
    done = train_next(Run(folder), feedback, plans, out, Voice(quiet=as_json and not sys.stderr.isatty()))
    told = done.read(TOLD)
    if as_json:
        print(json.dumps({"run": str(done.path), "report": str(done.report), **told}))
        return
    opinions.next_version(told)
    tables.lines(f"run     {done.path}", f"report  {done.report}")
