"""The verbs under `triptych search`: an index built from any source, asked, added to, taken from."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.base.errors import InputError, unknown_word
from triptych.base.plain import one_line
from triptych.cli.tools import SOURCE

if TYPE_CHECKING:
    from triptych.use.catalogue import Catalogue, Hit
    from triptych.use.filling import Filled
    from triptych.use.opened import Run
    from triptych.use.spaces import Part

app = typer.Typer(
    help="Find rows of a table by values of any input of a run, added with weights.", no_args_is_help=True, rich_markup_mode=None
)

IndexArg = Annotated[str, typer.Argument(metavar="INDEX", help="folder that `triptych search build` made")]
SourceArg = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)]
RunOption = Annotated[str | None, typer.Option("--run", help="folder of the run, where it is no longer where it was")]
RejectedOption = Annotated[float, typer.Option(min=0, max=1, help="share of the rows that may be unusable")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
MOST = 10
"""Rejected rows that are shown."""
LONGEST = 40
"""Characters of a cell that are shown."""
WEIGHTED = re.compile(r"(?s)(.*)@([+-]?(?:\d+\.?\d*|\.\d+))")


@app.command()
def build(
    run: Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run, which makes the vectors")],
    source: SourceArg,
    out: Annotated[str, typer.Option(help="new folder for the index")],
    space: Annotated[str | None, typer.Option(help="contrast task whose vectors are meant, or fused; by default the run's one")] = None,
    by: Annotated[list[str] | None, typer.Option(help="input that rows are found by; may be repeated; by default all they have")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="put the content of files into the index, not their paths")] = False,
    max_rejected: RejectedOption = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Build an index of a folder or table. A build that was stopped goes on when it is started again."""
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    from triptych.run.progress import Voice
    from triptych.use.indexing import build_catalogue
    from triptych.use.opened import Run

    words: dict[str, Any] = {"space": space, "by": by or [], "copied": copy, "max_rejected": max_rejected}
    made = build_catalogue(Run(folder), source, Path(out), Voice(quiet=as_json), **words)
    _said(made, out, as_json)


@app.command(context_settings={"ignore_unknown_options": True})
def query(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="INDEX --INPUT VALUE[@WEIGHT]...",
            help="the index, and what to look for: options are called like the inputs, @0.5 after a value is its weight",
        ),
    ],
    where: Annotated[
        str | None, typer.Option(help="condition on the columns, in the words of SQL: \"price < 50 and kind = 'mug'\"")
    ] = None,
    limit: Annotated[int, typer.Option(help="rows to find at most")] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="compare every vector, also of very many")] = False,
    html: Annotated[str | None, typer.Option(help="HTML page to write, with what was found")] = None,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the rows nearest to texts, pictures and sounds, added with their weights; one below 0 leads away."""
    from triptych.cli.values import separated

    plain, named = separated(words)
    if len(plain) != 1:
        fix = "triptych search query INDEX --INPUT VALUE"
        raise InputError(f"one index is asked, not {len(plain)}" + (f": {', '.join(plain)}" if plain else ""), fix=fix)
    catalogue, opened = _opened(plain[0], run)
    parts = _parts(named, catalogue, opened)
    hits = catalogue.search(opened, parts, limit=limit, where=where, exact=exact)
    if html:
        from triptych.use.gallery import write_gallery

        write_gallery(catalogue, opened, parts, hits, Path(html), where)
    if as_json:
        print(json.dumps([_plain(hit) for hit in hits]))
        return
    _shown(hits)
    if html:
        from triptych.cli import tables

        tables.lines(f"page    {html}")


@app.command()
def add(
    index: IndexArg,
    source: SourceArg,
    replace: Annotated[bool, typer.Option("--replace", help="a row whose id is there takes its place; else it is refused")] = False,
    max_rejected: RejectedOption = 0.2,
    run: RunOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the rows of a source to an index; nothing is built anew."""
    catalogue, opened = _opened(index, run)
    from triptych.run.progress import Voice
    from triptych.use.indexing import add as added

    made = added(catalogue, opened, source, Voice(quiet=as_json), replaced=replace, max_rejected=max_rejected)
    _said(made, index, as_json)


@app.command()
def remove(
    index: IndexArg,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="ids of rows")] = None,
    where: Annotated[str | None, typer.Option(help='rows for which this is true, in the words of SQL: "price is null"')] = None,
    as_json: JsonOption = False,
) -> None:
    """Remove rows from an index, by their ids or by a condition."""
    if bool(ids) == bool(where):
        raise InputError("rows are removed by their ids or by a condition", fix=f'triptych search remove {index} ID, or --where "..."')
    from triptych.cli import tables
    from triptych.run.progress import Voice
    from triptych.use.catalogue import open_catalogue
    from triptych.use.indexing import remove as removed

    catalogue = open_catalogue(index)
    count = removed(catalogue, ids or catalogue.ids(where or ""), Voice(quiet=as_json))
    if as_json:
        print(json.dumps({"index": index, "removed": count, "rows": len(catalogue)}))
        return
    tables.lines(f"{count:,} rows removed, {len(catalogue):,} left in {index}")


@app.command()
def show(index: IndexArg, as_json: JsonOption = False) -> None:
    """Say what is in an index: its rows and columns, which model made it, and how rows are found."""
    from triptych.cli import tables
    from triptych.use.catalogue import open_catalogue

    told = open_catalogue(index).told()
    if as_json:
        print(json.dumps(told))
        return
    near = told["near"]
    how = "every vector is compared"
    if near:
        how = f"by an index of the vectors: {near['probes']} partitions a question, recall@10 {near['recall']:.3f} on {near['asked']} rows"
    tables.lines(
        f"{told['rows']:,} rows, {told['width']} numbers each, in the space {told['space']} by {', '.join(told['by'])}",
        f"asked by {', '.join(told['inputs'])}; {how}",
        f"columns: {', '.join(f'{name} ({kind})' for name, kind in told['columns'].items())}",
        f"files   {'in the index' if told['copied'] else 'where they were, below ' + told['root']}",
        f"run     {told['run']}",
        f"made    {told['made'][:16].replace('T', ' ')}",
    )
    if told["rejects"]:
        tables.lines(f"rejects with their reasons: {told['rejects']}")


def _opened(index: str, run: str | None) -> tuple[Catalogue, Run]:
    from triptych.use.catalogue import open_catalogue, run_for

    catalogue = open_catalogue(index)
    return catalogue, run_for(catalogue, run)


def _parts(named: dict[str, list[str]], catalogue: Catalogue, run: Run) -> list[Part]:
    """`--text "in red@0.5"`: a value, and how much it counts where that is said."""
    from triptych.cli.values import file_or_value
    from triptych.use.spaces import Part

    inputs = catalogue.space.inputs
    parts = []
    for name, values in named.items():
        if name not in inputs:
            own = ["--where", "--limit", "--exact", "--html", "--run", "--json"]
            raise unknown_word("option", f"--{name}", [*(f"--{known}" for known in inputs), *own], where=str(catalogue.path))
        for value in values:
            found = WEIGHTED.fullmatch(value)
            plain, weight = (found[1], float(found[2])) if found else (value, 1.0)
            parts.append(Part(name, file_or_value(plain, run.recipe.inputs[name].modality), weight))
    return parts


def _plain(hit: Hit) -> dict[str, Any]:
    from triptych.use.gallery import is_media, said

    row = {name: said(cell) if is_media(cell) else cell for name, cell in hit.row.items()}
    return {"id": hit.id, "similarity": hit.similarity, "row": row}


def _shown(hits: Sequence[Hit]) -> None:
    from triptych.cli import tables
    from triptych.use.gallery import said

    if not hits:
        tables.lines("no row fits")
        return
    for rank, hit in enumerate(hits, start=1):
        cells = " · ".join(f"{name} {_cut(said(cell))}" for name, cell in hit.row.items())
        tables.lines(f"{rank:>3}. {hit.similarity:.3f}  {hit.id}  {cells}")


def _cut(text: str) -> str:
    """Short; of a path its end."""
    short = one_line(text)
    return short if len(short) <= LONGEST else f"…{short[1 - LONGEST :]}" if "/" in short else f"{short[: LONGEST - 1]}…"


def _said(made: Filled, index: str, as_json: bool) -> None:
    from triptych.cli import tables
    from triptych.data.rejects import read_rejects

    if as_json:
        counts = {"rows": made.rows, "kept": made.kept, "rejected": made.rejected, "replaced": made.replaced}
        print(json.dumps({"index": index, **counts, "rejects": str(made.rejects) if made.rejects else None, "findings": made.findings}))
        return
    rejects = read_rejects(made.rejects)[-made.rejected :] if made.rejects else []
    tables.lines(*(f"note: {text}" for text in made.findings), *(f"rejected {one.id}: {one.reason}" for one in rejects[:MOST]))
    if len(rejects) > MOST:
        tables.lines(f"and {len(rejects) - MOST} more")
    replaced = f" ({made.replaced:,} in the place of older ones)" if made.replaced else ""
    tables.lines(f"{made.rows:,} rows in, {made.kept:,} kept{replaced}, {made.rejected:,} rejected -> {index}")
    if made.rejects:
        tables.lines(f"rejects with their reasons: {made.rejects}")
