"""The verbs that train more than once: `tune` searches the words of a recipe, `bakeoff` tries every fusion."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from triptych.base.errors import InputError

RecipeArg = Annotated[str, typer.Argument(metavar="RECIPE", help="recipe file, or the name of a shipped recipe")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="change a field: --set stages.0.lr=3e-4")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]


class Pruner(StrEnum):
    """How trials that do badly are stopped early."""

    median = "median"
    hyperband = "hyperband"
    none = "none"


def tune(
    recipe: RecipeArg,
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="trials in all, those of earlier calls included")] = 50,
    search: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=VALUES", help="what to try: stages.0.lr=log:1e-4:1e-2, fusion.dropout=range:0:0.5, x.y=16,32,64"),
    ] = None,
    set_: SetOption = None,
    out: Annotated[str | None, typer.Option(help="folder of the search; by default runs/tune-NAME. The same one goes on")] = None,
    pruner: Annotated[Pruner, typer.Option(help="which trials are stopped early")] = Pruner.median,
    as_json: JsonOption = False,
) -> None:
    """Search hyper-parameters on the validation rows, then train the winner; the same command goes on where it was stopped."""
    from triptych.run.recipe import read
    from triptych.run.search import asked_space

    checked = read(recipe, set_ or [])
    space = asked_space(checked, search or [])
    from triptych.cli import trials as told
    from triptych.run.progress import Voice
    from triptych.run.tune import tune as tuned
    from triptych.use.report import write_report

    folder = Path(out or f"runs/tune-{checked.name}")
    voice = Voice(quiet=as_json and not sys.stderr.isatty())
    found = tuned(checked, space, trials, folder, pruner.value, voice, report=write_report)
    if as_json:
        print(json.dumps(found))
    else:
        told.study(found)
    if found["interrupted"]:
        raise KeyboardInterrupt


def bakeoff(
    recipe: RecipeArg,
    fusions: Annotated[str | None, typer.Option(metavar="KIND,KIND", help="fusions to try; by default all that take the inputs")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="trainings of each, with seeds 0, 1, 2 ...")] = 3,
    set_: SetOption = None,
    out: Annotated[str | None, typer.Option(help="folder of the runs; by default runs/bakeoff-NAME. The same one goes on")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train every fusion on the same rows, epochs and seeds, and say which wins and which are not told apart."""
    from triptych.run.recipe import read
    from triptych.run.search import fusions as with_fusions

    checked = read(recipe, set_ or [])
    asked = [kind.strip() for kind in fusions.split(",") if kind.strip()] if fusions is not None else None
    rivals = with_fusions(checked, asked)
    if len(rivals) < 2:
        raise InputError(f"there is nothing to compare: {', '.join(rivals) or 'no fusion'} alone fits", where="inputs, or --fusions")
    from triptych.cli import tables
    from triptych.cli import trials as told
    from triptych.run.bakeoff import bake
    from triptych.run.progress import Voice
    from triptych.use.contest import write_page

    folder = Path(out or f"runs/bakeoff-{checked.name}")
    voice = Voice(quiet=as_json and not sys.stderr.isatty())
    found = bake(checked, rivals, seeds, folder, voice)
    page = write_page(found, folder / "bakeoff.html")
    if as_json:
        print(json.dumps({**found, "page": str(page)}))
    else:
        told.bakeoff(found)
        tables.lines(f"page    {page}")
    if found["interrupted"]:
        raise KeyboardInterrupt
