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
    from triptych.data.rows import Source
    from triptych.data.sources.iterable import Rows, from_rows
    from triptych.run.folder import RunFolder
    from triptych.use.evaluate import Evaluation
    from triptych.use.opened import Answer, Run

__all__ = [
    "Answer",
    "BadValue",
    "Evaluation",
    "InputError",
    "Run",
    "TriptychError",
    "__version__",
    "build",
    "continue_run",
    "evaluate",
    "from_rows",
    "open_run",
    "resume",
    "train",
]
__version__ = metadata.version("triptych")

# torch's threads (GNU OpenMP) wait for each other by spinning. Where another program wants a core too, that multiplies the
# time of a step; giving up soon costs nothing on an idle machine (docs/performance.md). It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")


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

        return _reported(train_shared(checked, out, source))
    from triptych.run import fit

    return _reported(fit.fit(checked, out, quiet=quiet, rows=source))


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

    return _reported(fit.resume(path, quiet=quiet, rows=None if rows is None else _as_source(rows)))


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

    return _reported(fit.go_on(path, epochs, out, quiet=quiet, rows=None if rows is None else _as_source(rows)))


def _reported(folder: RunFolder) -> Run:
    from triptych.use.opened import Run
    from triptych.use.report import write_report

    if not folder.rank:
        write_report(folder)
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
    source: str | Path | Source | Rows,
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
        source: a path, a pattern of files, `hf:owner/name`; or rows, as `from_rows` takes or gives them.
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
    from triptych.data.sources import open_source
    from triptych.modalities import rooms
    from triptych.run.progress import Voice

    found = open_source(Path(source), rooms()) if isinstance(source, str | Path) else _as_source(source)
    return built(found, Path(table), rooms(), Plan(copy, append, workers, max_rejected), Voice(quiet=quiet))


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
