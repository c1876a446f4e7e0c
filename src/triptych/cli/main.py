"""The command line. Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 130 interrupted."""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.base.errors import BadValue, InputError, TriptychError
from triptych.base.files import is_full
from triptych.base.trust import RemoteCode
from triptych.cli.aloud import Aloud, ByOption, SpeakOption, SpeedOption, TaskOption
from triptych.cli.cache import app as cache_verbs
from triptych.cli.chat import chat
from triptych.cli.data import app as data_verbs
from triptych.cli.feedback import app as feedback_verbs
from triptych.cli.find import app as search_verbs
from triptych.cli.models import models
from triptych.cli.search import bakeoff, tune
from triptych.cli.serve import serve
from triptych.cli.subtitles import subtitles
from triptych.cli.tools import SOURCE

if TYPE_CHECKING:
    from triptych.run.folder import RunFolder
    from triptych.run.recipe import Recipe

INTERRUPTED = 130

app = typer.Typer(
    help="Train and fine-tune models that see, hear and read: one table, one recipe, one run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(data_verbs, name="data")
app.add_typer(search_verbs, name="search")
app.add_typer(cache_verbs, name="cache")
app.add_typer(feedback_verbs, name="feedback")

RunArg = Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run")]
RecipeArg = Annotated[str, typer.Argument(metavar="RECIPE", help="recipe file, or the name of a shipped recipe")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change a field: --set stages.0.lr=3e-4")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="recipe file, or the name of a shipped recipe")] = None,
    set_: SetOption = None,
    out: Annotated[str | None, typer.Option(help="run folder; by default runs/DATE-NAME")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="go on with a run that was stopped, as if it had not been")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="devices of this machine that share each step: training.devices")] = None,
    strategy: Annotated[str | None, typer.Option(help="what they share: ddp the rows, fsdp the weights too: training.strategy")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe; ends with the untouched model against the trained one."""
    from triptych.run.recipe import read

    if resume and out:
        raise InputError("--resume goes on in the run's own folder, and --out names another", fix="keep one of them")
    if recipe is None and not resume:
        raise InputError("no recipe is named", fix="triptych train RECIPE, or triptych train --resume RUN")
    words = {"training.devices": devices, "training.strategy": strategy}
    changes = [*(set_ or []), *(f"{path}={value}" for path, value in words.items() if value is not None)]
    if changes and recipe is None:
        raise InputError("--set, --devices and --strategy change a recipe, and none is named", fix="triptych train RECIPE --resume RUN")
    checked = read(recipe, changes) if recipe else None
    _shared_out(checked or _recipe_of(resume))
    from triptych.run import fit
    from triptych.use.report import write_report

    quiet = as_json and not sys.stderr.isatty()
    if resume:
        _ended(fit.resume(resume, checked, quiet=quiet, report=write_report), as_json)
    elif checked:
        _ended(fit.fit(checked, out, quiet=quiet, report=write_report), as_json)


def _recipe_of(run: str | None) -> Recipe:
    from triptych.run.folder import RunFolder

    if not (Path(run or "") / "run.json").is_file():
        raise InputError(f"{run!r} is not a run folder: it has no run.json", fix="triptych train RECIPE starts one")
    return RunFolder(Path(run or "")).recipe()


def _shared_out(recipe: Recipe) -> None:
    """Where the recipe asks for several devices, start this command for each of them, and leave with what came of it."""
    from triptych.base.ranks import ranks

    if recipe.training.devices > 1 and ranks().size == 1:
        from triptych.run.launch import launch

        sys.exit(launch(sys.argv[1:], recipe.training.devices))


@app.command("continue")
def continue_(
    run: RunArg,
    epochs: Annotated[int, typer.Option(min=1, help="epochs to add to the last stage")],
    out: Annotated[str | None, typer.Option(help="folder of the longer run; by default runs/DATE-NAME")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a finished run for some epochs more, from its last state, into a run of its own."""
    _shared_out(_recipe_of(run))
    from triptych.run.fit import go_on
    from triptych.use.report import write_report

    _ended(go_on(run, epochs, out, quiet=as_json and not sys.stderr.isatty(), report=write_report), as_json)


def _ended(run: RunFolder, as_json: bool) -> None:
    """Say what came of a training that is done."""
    if run.rank:  # of several processes the first one speaks
        return
    from triptych.cli import tables
    from triptych.use.report import next_commands

    checked = run.recipe()
    scores, verdicts, relied = run.read("scores.json"), run.read("verdicts.json", default={}), run.read("reliance.json", default={})
    if as_json:
        told = {"run": str(run.path), "report": str(run.report), "scores": scores, "verdicts": verdicts, "reliance": relied}
        print(json.dumps(told))
        return
    tables.scores(checked, scores, run.read("run.json"))
    tables.verdicts(verdicts)
    tables.labels(run.read("details.json", default={"classes": {}}))
    tables.reliance_warnings(relied)
    tables.lines(f"run     {run.path}", f"report  {run.report}", "", "try next:", *(f"  {command}" for command in next_commands(run)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def predict(
    context: typer.Context,
    run: RunArg,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="files, one row each; the suffix says which input")] = None,
    speak: SpeakOption = None,
    spoken_by: ByOption = None,
    spoken_speed: SpeedOption = None,
    spoken_task: TaskOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer for files, or for one row given as --INPUT VALUE (--image a.png --text "seven")."""
    from triptych.cli.values import named_values, separated
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    plain, named = separated([*(files or []), *context.args])
    row = named_values(named, folder.recipe())
    if not plain and not row:
        raise InputError("there is nothing to predict", fix=f"triptych predict {run} FILE, or --{next(iter(folder.recipe().inputs))} VALUE")
    from triptych.cli import tables
    from triptych.use.opened import Run, rows_of_files

    opened = Run(folder)
    rows: list[dict[str, Any]] = [*rows_of_files(opened, plain), *([row] if row else [])]
    aloud = Aloud(opened, rows, speak, spoken_by, spoken_speed, spoken_task)
    told: list[dict[str, Any]] = []
    refused: list[BadValue] = []
    for place, (row, answer) in enumerate(zip(rows, opened.predict_each(rows), strict=True)):
        if isinstance(answer, BadValue):
            refused.append(answer)
            told.append({"row": {name: str(value) for name, value in row.items()}, "error": str(answer)})
            continue
        told.append(answer.as_dict())
        if not as_json:
            tables.answer(answer)
        try:
            told[-1] |= (spoken := aloud.say(place, answer))
        except BadValue as problem:
            refused.append(problem)
            told[-1]["error"] = str(problem)
            continue
        if spoken and not as_json:
            tables.lines(f"  spoken: {spoken['spoken']}")
    if as_json and len(refused) < len(rows):
        print(json.dumps(told))
    for error in refused[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if refused:
        raise refused[-1]  # the exit code says that not all were answered


@app.command()
def embed(
    run: RunArg,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="what to embed: any source that `data build` takes")],
    out: Annotated[str, typer.Option(help="Parquet file to write")],
    as_json: JsonOption = False,
) -> None:
    """Write the vectors of every row of a folder or table into a Parquet file."""
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    from triptych.cli import tables
    from triptych.run.progress import Voice
    from triptych.use.embed import embed_source
    from triptych.use.opened import Run

    told = embed_source(Run(folder), Path(source), Path(out), Voice(quiet=as_json))
    if as_json:
        print(json.dumps(told))
        return
    tables.lines(f"{told['kept']} of {told['rows']} rows embedded -> {told['out']} (columns {', '.join(told['columns'])})")
    if told["rejected"]:
        tables.lines(f"{told['rejected']} rejected, with reasons in {told['out']}.rejects.csv")


@app.command()
def export(
    run: RunArg,
    base: Annotated[str, typer.Option(metavar="FOLDER", help="new folder for the run's trained base, as save_pretrained writes one")],
    column: Annotated[str | None, typer.Option("--input", help="input whose base is meant, or decoder, where the run has several")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="write its low-rank additions alone, as peft opens them")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's trained base as a folder that transformers, and any recipe, can begin with."""
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    from triptych.cli import tables
    from triptych.use.export import export_base
    from triptych.use.opened import Run

    told = export_base(Run(folder), Path(base), column, adapter)
    if as_json:
        print(json.dumps(told))
        return
    inputs = " and ".join(told["inputs"])
    if adapter:
        tables.lines(f"additions to {told['trained']} layers (of {inputs}) -> {told['out']}")
        return
    tables.lines(f"{told['trained']} of {told['tensors']} tensors are trained ones (from {inputs}) -> {told['out']}")


@app.command()
def evaluate(
    what: Annotated[str, typer.Argument(metavar="RECIPE_OR_RUN", help="folder of a finished run, or a recipe with --untouched")],
    untouched: Annotated[bool, typer.Option("--untouched", help="the model before its first step, and what can be had without it")] = False,
    data: Annotated[str | None, typer.Option(help="another source with the same columns; by default the test rows")] = None,
    set_: SetOption = None,
    out: Annotated[str | None, typer.Option(help="folder to write; by default below the run, or runs/DATE-NAME-untouched")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a trained run again, or a recipe's untouched model, with intervals; nothing is trained."""
    if not untouched and not Path(what).is_dir():
        from triptych.run.recipe import read

        read(what, set_ or [])  # a slip is answered before anything heavy is loaded
    from triptych.cli import tables
    from triptych.run.progress import Voice
    from triptych.use.evaluate import evaluate as evaluated

    voice = Voice(quiet=as_json and not sys.stderr.isatty())
    found = evaluated(what, untouched=untouched, data=data, changes=set_ or [], out=out, voice=voice)
    if as_json:
        print(json.dumps({"folder": str(found.folder), "page": str(found.page), **found.told}))
        return
    tables.evaluation(found.told)
    if stored := found.told["stored"]:
        same = "the same figures as in the run" if stored["same"] else f"{len(stored['differ'])} figures are not those in the run"
        tables.lines(same)
    tables.lines(f"page    {found.page}")


@app.command()
def report(run: RunArg, as_json: JsonOption = False) -> None:
    """Write the run's report again and say where it is."""
    from triptych.cli import tables
    from triptych.run.folder import open_folder
    from triptych.use.report import write_report

    folder = open_folder(run)
    path = write_report(folder)
    if as_json:
        told = {"scores": folder.read("scores.json")} | {n: folder.read(f"{n}.json", default={}) for n in ("verdicts", "reliance")}
        print(json.dumps({"run": str(folder.path), "report": str(path), **told}))
        return
    tables.scores(folder.recipe(), folder.read("scores.json"), folder.read("run.json"))
    tables.verdicts(folder.read("verdicts.json", default={}))
    tables.reliance_warnings(folder.read("reliance.json", default={}))
    tables.lines(f"report  {path}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="folders of finished runs")],
    out: Annotated[str | None, typer.Option(help="HTML page to write, with curves and intervals")] = None,
    as_json: JsonOption = False,
) -> None:
    """Lay runs side by side: recipe differences, curves, scores with intervals, cost."""
    from triptych.cli import tables
    from triptych.run.folder import open_folder
    from triptych.use.compare import compare as compared

    if len(runs) < 2:
        raise InputError("comparing takes two runs or more")
    found = compared([open_folder(run) for run in runs])
    if out:
        from triptych.use.compare import write_page

        write_page(found, Path(out))
    if as_json:
        print(json.dumps({**found, "page": out}))
        return
    tables.comparison(found)
    if out:
        tables.lines(f"page    {out}")


app.command()(chat)
app.command()(tune)
app.command()(bakeoff)
app.command()(models)
app.command()(subtitles)
app.command()(serve)


def _recipe_name(source: str) -> str:
    """A pattern or a name on the Hub is no name of a file as it stands."""
    return f"{re.sub(r'[/*?:{}@]+', '-', source).strip('-.') or 'recipe'}.yaml"


@app.command()
def init(
    folder: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)],
    out: Annotated[str | None, typer.Option(help="recipe file to write; by default SOURCE's name")] = None,
    base: Annotated[str | None, typer.Option(help="a pretrained model to begin with: owner/name, or a folder; `triptych models`")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at your files and write a commented recipe for them."""
    from triptych.base.files import write_text
    from triptych.use.start import propose

    source = Path(folder)
    there = source.exists()
    path = Path(out or _recipe_name(source.resolve().stem if there else folder))
    if path.exists():
        raise InputError(f"{str(path)!r} is there already", fix="name another file with --out")
    text = propose(source.resolve() if there else source, path.resolve(), base)
    write_text(path, text)
    if as_json:
        print(json.dumps({"recipe": str(path), "text": text}))
    else:
        print(f"{text}\nwritten to {path}; next:\n  triptych check {path}\n  triptych train {path}")


@app.command()
def check(recipe: RecipeArg, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Check a recipe and every file its rows name, without training."""
    from triptych.run.recipe import read

    checked = read(recipe, set_ or [])
    from triptych.cli import tables
    from triptych.run.inspect import findings
    from triptych.run.opening import open_table
    from triptych.run.progress import Voice

    table = open_table(checked, Voice(quiet=as_json))
    found = findings(checked, table)
    if as_json:
        print(json.dumps(found))
    else:
        tables.findings(found)


@app.command()
def recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with triptych and what they need."""
    from triptych.cli import tables
    from triptych.run.recipe import described

    found = described()
    if as_json:
        print(json.dumps(found))
    else:
        tables.recipes(found)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors that complete and check it."""
    from triptych.run.recipe import schema as described

    print(json.dumps(described(), indent=2))


def run() -> None:
    """Entry point: run a verb, and turn errors into their text and exit code."""
    warnings.showwarning = _plain(warnings.showwarning)
    try:
        leaving = app(standalone_mode=False)  # verbs return nothing; typer gives 130 back for Ctrl-C
        if leaving == INTERRUPTED:
            print("interrupted", file=sys.stderr)
        sys.exit(leaving if isinstance(leaving, int) else 0)
    except TriptychError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except OSError as problem:
        fix = "make room on the disk, or name another place with --out" if is_full(problem) else ""
        print(f"error: {TriptychError(problem.strerror or str(problem), where=str(problem.filename or ''), fix=fix)}", file=sys.stderr)
        sys.exit(1)
    except Exception as problem:
        _usage_or_raise(problem)


def _plain(before: Any) -> Any:
    """What shows warnings: ours as a line for people, others as `before`."""

    def show(message: Any, category: type[Warning], *rest: Any, **words: Any) -> None:
        if issubclass(category, RemoteCode):
            print(f"warning: {message}", file=sys.stderr)
        else:
            before(message, category, *rest, **words)

    return show


def _usage_or_raise(problem: Exception) -> None:
    """A misspelt option is the user's slip: its text and exit code 2. Anything else is ours: let it be seen."""
    show = getattr(problem, "format_message", None)
    if show is None:
        raise problem
    context = getattr(problem, "ctx", None)
    usage = f"\n  try:   {context.command_path} --help" if context is not None else ""
    print(f"error: {show()}{usage}", file=sys.stderr)
    sys.exit(2)
