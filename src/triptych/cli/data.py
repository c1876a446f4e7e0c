"""The verbs under `triptych data`: build a table, look at it, divide it. `align.py` has those that bring rows together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import align
from triptych.cli.align import AppendOption, ColumnOption, CopyOption, JsonOption, RejectedOption, TableArg, WorkersOption, written
from triptych.cli.tools import SOURCE, WithTools

app = typer.Typer(
    cls=WithTools, help="Build a table from any source, look at it, divide it, add to it.", no_args_is_help=True, rich_markup_mode=None
)


@app.command()
def split(
    table: TableArg,
    by: Annotated[str | None, typer.Option(help="column whose equal values stay on one side: speaker, song, customer")] = None,
    stratify: Annotated[str | None, typer.Option(help="column whose values get the same shares on each side: the label")] = None,
    test: Annotated[float, typer.Option(min=0, max=1, help="share of the rows that are only measured")] = 0.2,
    validation: Annotated[float, typer.Option(min=0, max=1, help="share of the rows that choose the best epoch")] = 0.15,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="number the rows 0 to FOLDS - 1 instead: cross-validation")] = None,
    seed: Annotated[int, typer.Option(help="another number, another split; the same one on every machine")] = 0,
    name: Annotated[str | None, typer.Option(help="column to write; by default split, or fold")] = None,
    as_json: JsonOption = False,
) -> None:
    """Divide a table by the hash of its ids or groups; the sides stand in a column of a new version of it."""
    from triptych.base.settings import parse
    from triptych.cli import tables
    from triptych.data.divide import write_split
    from triptych.data.settings import SplitSettings

    words = parse(SplitSettings, {"group": by, "test": test, "validation": validation, "seed": seed}, "the command line")
    told = write_split(Path(table), words, stratify, name or ("fold" if folds else "split"), folds)
    if as_json:
        print(json.dumps(told))
        return
    counts = ", ".join(f"{count} {side}" for side, count in told["sides"].items())
    tables.lines(f"{told['rows']:,} rows: {counts} -> column {told['column']} of {table} (version {told['version']})")
    tables.lines(*(f"note: {text}" for text in told["findings"]))
    if not folds:
        tables.lines(f"in a recipe: data: {{source: {table}, split: {{column: {told['column']}}}}}")


@app.command()
def build(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=f"{SOURCE}; several as name=source")],
    table: TableArg,
    column: ColumnOption = None,
    empty: Annotated[list[str] | None, typer.Option(help="text that stands for an empty cell: --empty NA --empty -")] = None,
    each: Annotated[
        str | None, typer.Option(help="a row for each entry of a list, as in data.each: COLUMN or '{column: boxes, ...}'")
    ] = None,
    windows: Annotated[str | None, typer.Option(help="cut recordings, as in data.windows: '{column: NAME, seconds: 10}'")] = None,
    join: Annotated[list[str] | None, typer.Option(help="join a table, as in data.join: '{source: people.csv, on: speaker}'")] = None,
    copy: CopyOption = False,
    append: AppendOption = False,
    workers: WorkersOption = 1,
    patience: Annotated[float, typer.Option(min=1, help="seconds that reading one row may take before it is rejected")] = 120,
    max_rejected: RejectedOption = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Bring any source into one table on the disk. A build that was stopped goes on when it is started again."""
    from triptych.data.build import Plan
    from triptych.data.sources.asked import asked
    from triptych.modalities import rooms

    words = asked(sources, column or [], rooms(), windows, join or [], empty or [], each)
    written(words, table, Plan(copy, append, workers, max_rejected, patience=patience), as_json)


app.command()(align.windows)
app.command()(align.join)


@app.command()
def show(
    source: Annotated[str, typer.Argument(metavar="TABLE", help="a table, or a source as in `data build`")],
    out: Annotated[str | None, typer.Option(help="HTML page to write; by default TABLE.html")] = None,
    rows: Annotated[int, typer.Option(min=0, max=500, help="rows to show in the page")] = 12,
    as_json: JsonOption = False,
) -> None:
    """Say what is in a table, and write a page with some of its rows: pictures, players, texts."""
    from triptych.cli import tables
    from triptych.use.shown import write_page

    path = Path(source)
    beside = path.with_name(path.name + ".html") if path.exists() else Path(re.sub(r"[^\w.-]+", "-", source).strip("-") + ".html")
    told = write_page(path, Path(out) if out else beside, rows)
    if as_json:
        print(json.dumps(told))
        return
    tables.table_columns(told)
    tables.lines(f"{told['rows']:,} rows")
    tables.builds(told["built"])
    tables.lines(*(f"note: {text}" for text in told["findings"]), f"page    {told['page']}")
