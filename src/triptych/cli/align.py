"""The verbs under `triptych data` that bring rows together, and what they share with `data build`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.tools import SOURCE

if TYPE_CHECKING:
    from triptych.data.build import Built, Plan
    from triptych.data.settings import RowSettings

MOST = 20  # rejects that are shown

SourceArg = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE)]
TableArg = Annotated[str, typer.Argument(metavar="TABLE", help="a table: NAME.lance")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
ColumnOption = Annotated[list[str] | None, typer.Option(help="column to rename, write or type, as in data.columns: new=old")]
CopyOption = Annotated[bool, typer.Option("--copy", help="put the files' content into the table; else it holds their paths")]
AppendOption = Annotated[bool, typer.Option("--append", help="add the rows to the table that is there")]
WorkersOption = Annotated[int, typer.Option(min=1, max=256, help="processes that read files")]
RejectedOption = Annotated[float, typer.Option(min=0, max=1, help="share of rows that may be unusable before nothing is built")]


def windows(
    source: SourceArg,
    table: TableArg,
    of: Annotated[str, typer.Option("--of", metavar="COLUMN", help="column of the recordings")],
    seconds: Annotated[float, typer.Option(help="length of a window")],
    overlap: Annotated[float, typer.Option(help="seconds that a window shares with the one before it")] = 0.0,
    last: Annotated[str, typer.Option(help="a shorter piece at the end: keep, drop, or shift it back to full length")] = "keep",
    column: ColumnOption = None,
    workers: WorkersOption = 1,
    max_rejected: RejectedOption = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Cut long recordings into windows: a table of pieces, without a copy of what is in them."""
    from triptych.data.build import Plan
    from triptych.data.sources.asked import asked
    from triptych.modalities import rooms

    said = {"column": of, "seconds": seconds, "overlap": overlap, "last": last}
    words = asked([source], column or [], rooms(), said)
    written(words, table, Plan(workers=workers, max_rejected=max_rejected), as_json)


def join(
    left: Annotated[str, typer.Argument(metavar="LEFT", help=f"{SOURCE}, whose rows are joined")],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="the same, where their partners are")],
    table: TableArg,
    by: Annotated[str, typer.Option(help="id: a key is equal; time: segments and windows of one recording overlap")] = "id",
    on: Annotated[list[str] | None, typer.Option(help="column with the key or the recording, or left=right; may be repeated")] = None,
    column: ColumnOption = None,
    right_column: Annotated[list[str] | None, typer.Option(help="the same for RIGHT: new=old")] = None,
    prefix: Annotated[str, typer.Option(help="put before the names of RIGHT's columns")] = "",
    missing: Annotated[str, typer.Option(help="rows without a partner: keep, reject or refuse")] = "keep",
    unused: Annotated[str, typer.Option(help="rows of RIGHT that none asked for: leave, keep (by id only) or refuse")] = "leave",
    many: Annotated[str | None, typer.Option(help="several partners; by id: rows, first, refuse, all; by time: join, rows")] = None,
    at: Annotated[str | None, typer.Option(help="by time: column of LEFT with pieces or seconds")] = None,
    start: Annotated[str | None, typer.Option(help="by time: column of RIGHT where a segment begins")] = None,
    end: Annotated[str | None, typer.Option(help="by time: column of RIGHT where it ends; null where its rows are moments")] = None,
    match: Annotated[str | None, typer.Option(help="by time: any, middle, or the share of a segment that must be inside")] = None,
    text: Annotated[list[str] | None, typer.Option(help="by time: column of RIGHT whose texts are joined; may be repeated")] = None,
    workers: WorkersOption = 1,
    max_rejected: RejectedOption = 0.2,
    as_json: JsonOption = False,
) -> None:
    """Join two tables by key or by time into a third; says what was matched on both sides and what was not."""
    from triptych.base.settings import read_yaml
    from triptych.data.build import Plan
    from triptych.data.sources.asked import asked, columns_of, key_of
    from triptych.modalities import rooms

    said: dict[str, Any] = {"source": right, "by": by, "columns": columns_of(right_column or []), "prefix": prefix}
    said |= {"missing": missing, "unused": unused, "on": key_of(on or []), "many": many}
    said |= {"at": at, "start": start, "match": None if match is None else read_yaml(match), "text": text or None}
    said = {name: value for name, value in said.items() if value is not None} | ({} if end is None else {"end": read_yaml(end)})
    words = asked([left], column or [], rooms(), None, [said])
    written(words, table, Plan(workers=workers, max_rejected=max_rejected), as_json)


def written(words: RowSettings, table: str, plan: Plan, as_json: bool) -> None:
    """Build the table and say what came of it."""
    from triptych.data.build import build
    from triptych.data.sources.words import opened
    from triptych.modalities import rooms
    from triptych.run.progress import Voice

    made = build(opened(words, rooms(), {}), Path(table), rooms(), plan, Voice(quiet=as_json))
    if as_json:
        told = {"table": table, "rows": made.rows, "kept": made.kept, "rejected": made.rejected, "version": made.version}
        columns = {column.name: column.kind for column in made.columns}
        print(json.dumps({**told, "columns": columns, "findings": made.findings, "rejects": str(made.rejects) if made.rejects else None}))
    else:
        _said(made, table)


def _said(made: Built, table: str) -> None:
    from triptych.cli import tables
    from triptych.data.rejects import read_rejects

    rejects = read_rejects(made.rejects)[-made.rejected :] if made.rejects else []  # after those of earlier builds
    shown = [f"rejected {reject.id}: {reject.reason}" for reject in rejects[:MOST]]
    more = [f"and {len(rejects) - MOST} more"] if len(rejects) > MOST else []
    tables.lines(*(f"note: {text}" for text in made.findings), *shown, *more)
    tables.lines(f"{made.rows:,} rows in, {made.kept:,} kept, {made.rejected:,} rejected -> {table} (version {made.version})")
    tables.lines(f"columns: {', '.join(f'{column.name} ({column.kind})' for column in made.columns)}")
    if made.rejects:
        tables.lines(f"rejects with their reasons: {made.rejects}")
    tables.lines("", "next:", f"  triptych data show {table}", f"  triptych init {table}")
