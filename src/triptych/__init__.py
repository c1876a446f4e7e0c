"""triptych trains and fine-tunes models that see, hear and read: one table, one recipe, one run.

import triptych

run = triptych.train("digits")                      # a shipped recipe, or the path of your own
run.predict(image="seven.png")["digit"]["said"]     # -> "seven"
run = triptych.open_run("runs/20250101-120000-digits")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, TriptychError

if TYPE_CHECKING:
    from triptych.data.build import Built
    from triptych.data.rendered import Rendered
    from triptych.data.rows import Source
    from triptych.data.sources.iterable import Rows, from_rows
    from triptych.run.folder import RunFolder
    from triptych.use.catalogue import Catalogue
    from triptych.use.evaluate import Evaluation
    from triptych.use.feedback import Feedback
    from triptych.use.opened import Answer, Run

__all__ = [
    "Answer",
    "BadValue",
    "Evaluation",
    "InputError",
    "Run",
    "TriptychError",
    "__version__",
    "bakeoff",
    "build",
    "build_index",
    "compare",
    "continue_run",
    "evaluate",
    "feedback",
    "from_rows",
    "next_version",
    "open_index",
    "open_run",
    "resume",
    "speak",
    "tokenizer",
    "train",
    "tune",
]
__version__ = metadata.version("triptych")

# torch's threads (GNU OpenMP) wait for each other by spinning. Where another program wants a core too, that multiplies the
# time of a step; giving up soon costs nothing on an idle machine (docs/performance.md). It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# In each training of several processes torch's C++ warns that no input was missing this time, in a line that looks like a fault.
if os.environ.get("WORLD_SIZE", "1") != "1" or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def train(
    recipe: str | Path | Mapping[str, Any],
    *,
    rows: Source | Rows | None = None,
    set: Iterable[str] = (),
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a recipe and open the run.

    Args:
        recipe: path of a recipe, the bare name of a shipped one (`triptych recipes` lists them), or a recipe as a dictionary.
        rows: take the place of the recipe's `data.source`: what `from_rows` takes or gives.
        set: changes as on the command line: `["stages.0.lr=3e-4", "fusion=gated"]`.
        out: the run folder; by default runs/DATE-NAME.
        quiet: print nothing.

    Raises:
        InputError: the recipe, or the data it names, cannot be used.
        TriptychError: training failed.
    """
    from triptych.run.recipe import read

    source = None if rows is None else _as_source(rows)
    checked = read(recipe if isinstance(recipe, Mapping) else str(recipe), set, source.name if source else None)
    from triptych.base.ranks import ranks

    if checked.training.devices > 1 and ranks().size == 1:
        from triptych.run.launch import train_shared

        return _opened(train_shared(checked, out, source))
    from triptych.run import fit
    from triptych.use.report import write_report

    return _opened(fit.fit(checked, out, quiet=quiet, rows=source, report=write_report))


def resume(path: str | Path, *, rows: Source | Rows | None = None, quiet: bool = False) -> Run:
    """Go on with a run whose training was stopped, to the weights it would have had, and open it.

    Args:
        path: the run folder.
        rows: as given to `train`, where the run was started with them.
        quiet: print nothing.

    Raises:
        InputError: there is nothing to resume, or the rows have changed.
    """
    from triptych.run import fit
    from triptych.use.report import write_report

    return _opened(fit.resume(path, quiet=quiet, rows=None if rows is None else _as_source(rows), report=write_report))


def continue_run(
    path: str | Path, *, epochs: int, out: str | Path | None = None, rows: Source | Rows | None = None, quiet: bool = False
) -> Run:
    """Train a finished run for some epochs more, from its last state, into a run of its own, and open that.

    Args:
        path: the finished run.
        epochs: how many to add to its last stage.
        out: the longer run's folder; by default runs/DATE-NAME.
        rows: as given to `train`, where the run was started with them.
        quiet: print nothing.

    Raises:
        InputError: the run is not finished, or its rows have changed.
    """
    from triptych.run import fit
    from triptych.use.report import write_report

    given = None if rows is None else _as_source(rows)
    return _opened(fit.go_on(path, epochs, out, quiet=quiet, rows=given, report=write_report))


def _opened(folder: RunFolder) -> Run:
    from triptych.use.opened import Run

    return Run(folder)


def evaluate(
    recipe_or_run: str | Path,
    *,
    untouched: bool = False,
    data: str | Path | None = None,
    set: Iterable[str] = (),
    out: str | Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure a run's trained model again, or a recipe's untouched one, as `triptych evaluate` does; nothing is trained.

    Args:
        recipe_or_run: folder of a finished run; with `untouched` also a recipe's path or name.
        untouched: measure the model before its first step, and what can be had without training.
        data: another source with the same columns, all of whose rows are judged; by default the run's own test rows.
        set: changes of the recipe, of an untouched model alone.
        out: folder for evaluation.json and evaluation.html; by default one below the run, or runs/DATE-NAME-untouched.
        quiet: print nothing.

    Raises:
        InputError: what is given is neither, is not trained, or its rows cannot be used.
    """
    from triptych.run.progress import Voice
    from triptych.use.evaluate import evaluate as evaluated

    source = None if data is None else str(data)
    return evaluated(str(recipe_or_run), untouched=untouched, data=source, changes=set, out=out, voice=Voice(quiet))


def build(
    source: str | Path | Source | Rows | Mapping[str, Any],
    table: str | Path,
    *,
    copy: bool = False,
    append: bool = False,
    workers: int = 1,
    max_rejected: float = 0.2,
    quiet: bool = False,
) -> Built:
    """Bring a source into one table on the disk, as `triptych data build` does.

    Args:
        source: a path, a pattern of files, `hf:owner/name`; rows, as `from_rows` takes or gives them; or the words that a
            recipe has under `data:` as a dictionary: `{"source": "calls/", "windows": {...}, "join": [...]}`.
        table: NAME.lance.
        copy: put the files' content into the table; else it holds their paths.
        append: add the rows to the table that is there.
        workers: processes that read files.
        max_rejected: share of rows that may be unusable before nothing is built.
        quiet: print nothing.

    Returns:
        How many rows went in, were kept and rejected, the columns, findings, and the file of rejects.

    Raises:
        InputError: the source cannot be read, or too many of its rows cannot be used.
    """
    from triptych.data.build import Plan
    from triptych.data.build import build as built
    from triptych.data.sources.asked import as_words
    from triptych.data.sources.words import opened
    from triptych.modalities import rooms
    from triptych.run.progress import Voice

    words = {"source": str(source)} if isinstance(source, str | Path) else source
    found = opened(as_words(words, rooms()), rooms(), {}) if isinstance(words, Mapping) else _as_source(words)
    return built(found, Path(table), rooms(), Plan(copy, append, workers, max_rejected), Voice(quiet=quiet))


def speak(
    table: str | Path,
    column: str,
    *,
    into: str = "voice",
    files: str | Path | None = None,
    replace: bool = False,
    workers: int = 1,
    quiet: bool = False,
    **words: Any,
) -> Rendered:
    """Add a spoken column to a table on the disk, as `triptych data speak` does.

    Args:
        table: NAME.lance.
        column: a column of texts.
        into: the new column; who speaks and how stands in columns beside it: `voice.speaker` and so on.
        files: a folder for the sounds; by default they lie in the table.
        replace: put it in the place of an older column of that name.
        workers: processes that speak.
        quiet: print nothing.
        words: the options of the command line: `engine`, `voices`, `speed`, `pitch`, `language`, `seed` and the others.

    Returns:
        How many rows there are, were spoken, are empty, were left out; the table's new version.

    Raises:
        InputError: the table, the column or a word cannot be used, or nothing can be spoken.
    """
    from triptych.base.settings import parse
    from triptych.modalities import rooms

    _, tool = _tool("speak")
    options = parse(tool.Options, words, "speak")
    from triptych.data.rendered import Task, render_column
    from triptych.run.progress import Voice

    beside = Path(files) if files else None
    task = Task(Path(table), column, into, tool.open(options), rooms()[tool.reads], beside, workers, replace)
    return render_column(task, Voice(quiet=quiet))


def tokenizer(source: str | Path, column: str, *, out: str | Path = "tokenizer.json", quiet: bool = False, **words: Any) -> dict[str, Any]:
    """Train a tokenizer on a column of texts, as `triptych data tokenizer` does.

    Args:
        source: a table or any source, as for `build`.
        column: the column of texts. They are read as they come and never held.
        out: the file to write; a recipe takes it as `prepare.tokenizer`.
        quiet: print nothing.
        words: the options of the command line: `kind`, `vocabulary`, `lowercase`, `strip_markup` and the others.

    Returns:
        `out`, `texts`, `vocabulary` (its size), `rows`, `empty`, `refused` (rows that could not be read), and the words for a
        `recipe`.

    Raises:
        InputError: the source, the column or a word cannot be used, or there is nothing to learn from.
    """
    from triptych.base.settings import parse
    from triptych.modalities import rooms

    room, tool = _tool("tokenizer")
    options = parse(tool.Options, words, "tokenizer")
    from triptych.data.learnt import ColumnValues
    from triptych.data.sources.asked import asked
    from triptych.data.sources.words import opened
    from triptych.run.progress import Voice

    values = ColumnValues(opened(asked([str(source)], [], rooms()), rooms(), {}), column, rooms()[room], Voice(quiet=quiet))
    told = tool.learn(values, options, Path(out))
    return {**told, "out": str(out), "rows": values.rows, "empty": values.empty, "refused": len(values.refused)}


def _tool(name: str) -> tuple[str, Any]:
    """A room's tool, and the room."""
    from triptych.modalities import rooms

    return next((room, tool) for room, held in rooms().items() for tool in getattr(held, "tools", ()) if tool.name == name)


def tune(
    recipe: str | Path | Mapping[str, Any],
    *,
    trials: int = 50,
    search: Iterable[str] = (),
    set: Iterable[str] = (),
    out: str | Path | None = None,
    pruner: str = "median",
    quiet: bool = False,
) -> dict[str, Any]:
    """Search hyper-parameters on the validation rows, then train the winner, as `triptych tune` does.

    Args:
        recipe: as for `train`.
        trials: in all, those of earlier calls included.
        search: what to try, over the recipe's `search:`; `["stages.0.lr=log:1e-4:1e-2"]`.
        set: changes as on the command line.
        out: folder of the search; by default runs/tune-NAME. The same one goes on.
        pruner: median, hyperband or none.
        quiet: print nothing.

    Returns:
        What stands in study.json: `trials`, `best`, `importance`, `run` (folder of the winner).

    Raises:
        InputError: the recipe, its search or the folder cannot be used.
        TriptychError: every trial failed.
    """
    from triptych.base.errors import unknown_word
    from triptych.run.recipe import read
    from triptych.run.search import asked_space

    if pruner not in (known := ("median", "hyperband", "none")):
        raise unknown_word("pruner", pruner, known)
    checked = read(recipe if isinstance(recipe, Mapping) else str(recipe), set)
    space = asked_space(checked, search)
    from triptych.run.progress import Voice
    from triptych.run.tune import tune as tuned
    from triptych.use.report import write_report

    found = tuned(checked, space, trials, Path(out or f"runs/tune-{checked.name}"), pruner, Voice(quiet), report=write_report)
    if found["interrupted"]:
        raise KeyboardInterrupt
    return found


def bakeoff(
    recipe: str | Path | Mapping[str, Any],
    *,
    fusions: Iterable[str] | None = None,
    seeds: int = 3,
    set: Iterable[str] = (),
    out: str | Path | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train every fusion on equal terms and judge them, as `triptych bakeoff` does.

    Args:
        recipe: as for `train`.
        fusions: by default all that take the recipe's inputs.
        seeds: trainings of each.
        set: changes as on the command line.
        out: folder of the runs; by default runs/bakeoff-NAME. The same one goes on.
        quiet: print nothing.

    Returns:
        What stands in bakeoff.json: `rivals` (best first, with intervals), `said` (the verdict in words), `page`, and more.

    Raises:
        InputError: the recipe, a fusion or the folder cannot be used.
    """
    from triptych.run.recipe import read
    from triptych.run.search import fusions as with_fusions

    checked = read(recipe if isinstance(recipe, Mapping) else str(recipe), set)
    rivals = with_fusions(checked, None if fusions is None else list(fusions))
    from triptych.run.bakeoff import bake
    from triptych.run.progress import Voice
    from triptych.use.contest import write_page

    folder = Path(out or f"runs/bakeoff-{checked.name}")
    found = bake(checked, rivals, seeds, folder, Voice(quiet))
    page = write_page(found, folder / "bakeoff.html")
    if found["interrupted"]:
        raise KeyboardInterrupt
    return {**found, "page": str(page)}


def compare(runs: Iterable[str | Path], out: str | Path | None = None) -> dict[str, Any]:
    """Lay finished runs side by side, as `triptych compare` does; `out` is a page to write.

    Raises:
        InputError: a run is missing, unfinished or damaged.
    """
    from triptych.run.folder import open_folder
    from triptych.use.compare import compare as compared
    from triptych.use.compare import write_page

    found = compared([open_folder(run) for run in runs])
    return {**found, "page": str(write_page(found, Path(out)))} if out else found


def build_index(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    space: str | None = None,
    by: Iterable[str] = (),
    copied: bool = False,
    quiet: bool = False,
) -> Catalogue:
    """Vectors of every row of a source, to be searched, as `triptych search build` makes them; opened.

    Args:
        run: folder of a finished run, which makes the vectors.
        source: whatever can be read as rows.
        out: a new folder.
        space: the contrastive task whose space it is, where the run has several.
        by: inputs that the vectors are made of; by default all that the source has.
        copied: the content of files goes into the index, not their paths.
        quiet: print nothing.

    Raises:
        InputError: something stands at `out`, nothing in the source fits, or too many rows cannot be used.
    """
    from triptych.run.progress import Voice
    from triptych.use.indexing import build_catalogue

    build_catalogue(open_run(run), source, Path(out), Voice(quiet), space=space, by=list(by), copied=copied)
    return open_index(out)


def open_index(path: str | Path) -> Catalogue:
    """Open an index: `open_index("shop.index").find(text="a mug", image=("shoe.jpg", 0.5), where="price < 50")`.

    Raises:
        InputError: it is no index, damaged, or made by a later version.
    """
    from triptych.use.catalogue import open_catalogue

    return open_catalogue(path)


def feedback(run: str | Path, table: str | Path | None = None) -> Feedback:
    """What people said of a run's answers, to add to: `feedback(run).say({"image": "a.png"}, task="digit", correction="seven")`.

    Args:
        run: folder of a finished run.
        table: where the remarks lie; by default beside the run.
    """
    from triptych.run.folder import open_folder
    from triptych.use.feedback import feedback_of

    return feedback_of(open_folder(run), table)


def next_version(
    run: str | Path,
    *,
    table: str | Path | None = None,
    epochs: int = 5,
    held_out: float = 0.2,
    set: Iterable[str] = (),
    out: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a run's next version from what people said of its answers, as `triptych feedback train` does, and open it.

    Args:
        run: folder of a finished run, which stays as it is.
        table: where the remarks lie; by default beside the run.
        epochs: over the run's own rows and the feedback.
        held_out: share of the inputs that only judge.
        set: changes of its recipe, as on the command line.
        out: its folder; by default runs/DATE-NAME.
        quiet: print nothing.

    Raises:
        InputError: nothing can be learnt from the remarks, or the run's own rows cannot be read.
        TriptychError: training failed.
    """
    from triptych.run.progress import Voice
    from triptych.use.lessons import Wanted
    from triptych.use.next_recipe import Plans
    from triptych.use.next_version import train_next

    plans = Plans(Wanted(held_out), epochs, changes=tuple(set))
    opened = open_run(run)
    return _opened(train_next(opened, feedback(run, table), plans, out, Voice(quiet)))


def _as_source(rows: Source | Rows) -> Source:
    from triptych.data.rows import Source
    from triptych.data.sources.iterable import from_rows

    return rows if isinstance(rows, Source) else from_rows(rows)


def open_run(path: str | Path) -> Run:
    """Open a finished run folder. Raises InputError where it is missing or unfinished; damage is found when its files are first read."""
    from triptych.use.opened import open_run as opened

    return opened(path)


def __getattr__(name: str) -> Any:
    """`Run` and `Answer` load torch, so they are imported when somebody asks for them, like all that few need."""
    if name in ("Run", "Answer"):
        from triptych.use import opened

        return getattr(opened, name)
    if name == "Evaluation":
        from triptych.use.evaluate import Evaluation

        return Evaluation
    if name == "from_rows":
        from triptych.data.sources.iterable import from_rows

        return from_rows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
