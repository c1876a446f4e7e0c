"""The verbs under `triptych cache`: what is remembered, and freeing it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from triptych.use.hoard import Thing

app = typer.Typer(
    help="List what is remembered on this machine; `triptych cache free` frees it.", invoke_without_command=True, rich_markup_mode=None
)

JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]


@app.callback()
def listed(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what is remembered on this machine; `triptych cache free` frees it."""
    if context.invoked_subcommand:
        return
    from triptych.base.files import cache_root
    from triptych.cli import tables
    from triptych.use.hoard import things

    found = things()
    size = sum(thing.size for thing in found)
    if as_json:
        print(json.dumps({"folder": str(cache_root()), "bytes": size, "things": [thing.as_dict() for thing in found]}))
        return
    if found:
        tables.hoard([_cells(thing) for thing in found])
    tables.lines(f"{in_bytes(size)} in {cache_root()}; all of it can be made again")
    if found:
        tables.lines(f"to free some: triptych cache free {_example(found)}, or --older 30, or --all")


@app.command()
def free(
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="keys as `triptych cache` lists them, or kinds")] = None,
    older: Annotated[float | None, typer.Option(metavar="DAYS", min=0, help="only what was not used for so many days")] = None,
    everything: Annotated[bool, typer.Option("--all", help="everything, or everything that old")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="say what would go, and free nothing")] = False,
    as_json: JsonOption = False,
) -> None:
    """Free what is remembered; what a training uses at the moment is left."""
    from triptych.base.errors import TriptychError
    from triptych.cli import tables
    from triptych.use.hoard import free as freed

    done = freed(keys or [], older, everything, dry)
    if as_json:
        told = {"bytes": done.size, "freed": [one.as_dict() for one in done.gone], "in_use": [one.as_dict() for one in done.left]}
        print(json.dumps({**told, "dry_run": dry}))
    else:
        for one in done.gone:
            tables.lines(f"  {one.kind} {_short(one)}  {one.what}  {in_bytes(one.size)}")
        none = "" if done.gone or done.left else ": nothing is that old" if older is not None else ": there is nothing"
        tables.lines(f"{'would free' if dry else 'freed'} {in_bytes(done.size)}{none}")
    if done.left:
        which = ", ".join(f"{one.kind} {_short(one)}" for one in done.left)
        raise TriptychError(f"in use at the moment, and left: {which}", fix="again when the training that uses it is done")


def _short(thing: Thing) -> str:
    from triptych.use.hoard import SHOWN

    return thing.key[:SHOWN] if thing.kind == "features" else thing.key


def _cells(thing: Thing) -> list[str]:
    rows = "" if thing.rows is None else f"{thing.rows:,}"
    what = f"{thing.what}: {thing.given}" if thing.given else thing.what
    return [_short(thing), thing.kind, what, rows, in_bytes(thing.size), ago(time.time() - thing.used)]


def _example(found: list[Thing]) -> str:
    return _short(found[0])


def in_bytes(size: float) -> str:
    """1234567 -> 1.2 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


def ago(seconds: float) -> str:
    """How long something is past, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
