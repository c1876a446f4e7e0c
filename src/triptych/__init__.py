"""triptych trains and fine-tunes models that see, hear and read: one table, one recipe, one run.

import triptych

run = triptych.train("digits")                      # a shipped recipe, or the path of your own
run.predict(image="seven.png")["digit"]["said"]     # -> "seven"
run = triptych.open_run("runs/20250101-120000-digits")
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, TriptychError

if TYPE_CHECKING:
    from triptych.use.opened import Answer, Run

__all__ = ["Answer", "BadValue", "InputError", "Run", "TriptychError", "__version__", "open_run", "train"]
__version__ = metadata.version("triptych")

# torch's threads (GNU OpenMP) wait for each other by spinning. Where another program wants a core too, that multiplies the
# time of a step; giving up soon costs nothing on an idle machine (docs/performance.md). It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def train(recipe: str | Path, *, set: Iterable[str] = (), out: str | Path | None = None, quiet: bool = False) -> Run:
    """Train a recipe and open the run.

    Args:
        recipe: path of a recipe, or the bare name of a shipped one (`triptych recipes` lists them).
        set: changes as on the command line: `["stages.0.lr=3e-4", "fusion=gated"]`.
        out: the run folder; by default runs/DATE-NAME.
        quiet: print nothing.

    Raises:
        InputError: the recipe, or the data it names, cannot be used.
        TriptychError: training failed.
    """
    from triptych.run.recipe import read

    checked = read(str(recipe), set)
    from triptych.run.fit import fit
    from triptych.use.opened import Run
    from triptych.use.report import write_report

    folder = fit(checked, out, quiet=quiet)
    write_report(folder)
    return Run(folder)


def open_run(path: str | Path) -> Run:
    """Open a finished run folder. Raises InputError where it is missing or unfinished; damage is found when its files are first read."""
    from triptych.use.opened import open_run as opened

    return opened(path)


def __getattr__(name: str) -> Any:
    """`Run` and `Answer` load torch, so they are imported when somebody asks for them."""
    if name in ("Run", "Answer"):
        from triptych.use import opened

        return getattr(opened, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
