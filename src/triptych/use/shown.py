"""A table looked at: its columns and what is in them, and some rows as a person sees them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue
from triptych.base.files import write_text
from triptych.base.plain import one_line
from triptych.contract.cells import Blob, Cell, Several, Span
from triptych.data.kinds import room_of, suffix_of
from triptych.data.notes import MESSAGE, read_notes
from triptych.data.rejects import read_rejects
from triptych.data.rows import Row
from triptych.data.several import names
from triptych.data.sources.tabled import read_source
from triptych.data.stored import is_stored, open_dataset
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.use.pages import rendered

FEW_VALUES = 12
SHOWN_REJECTS = 20
MOST_COUNTED = 100_000  # different values of one column that are told apart
LONGEST_SHOWN = 40


def look(source: Path, rows: int) -> dict[str, Any]:
    """What is to be said of a table, or of anything that can be read as one.

    Returns:
        `source`, `rows`, `columns` (name, filled, what), `versions`, `built` (what each build said), `findings`, and `shown`: the
        ids and cells of some rows.
    """
    table = read_source(source, rooms())
    beside = source.with_name(f"{source.name}.rejects.csv")
    rejects = read_rejects(beside) if is_stored(source) and beside.exists() else table.rejects
    said = [f"{len(rejects):,} row{'s were' if len(rejects) > 1 else ' was'} rejected, with reasons in {beside}"] if beside.exists() else []
    said += [one_line(f"rejected {reject.id}: {reject.reason}") for reject in rejects[:SHOWN_REJECTS]]
    said += [f"and {len(rejects) - SHOWN_REJECTS:,} more rejected"] if len(rejects) > SHOWN_REJECTS else []
    columns = columns_of(table)
    return {
        "source": str(source),
        "rows": len(table.rows),
        "columns": columns,
        "versions": _versions(source) if is_stored(source) else [],
        "built": [asdict(notes) for notes in read_notes(open_dataset(source))] if is_stored(source) else [],
        "findings": [*table.findings, *said],
        "shown": _drawn(table, rows),
    }


def columns_of(table: Table) -> list[dict[str, Any]]:
    """What each column holds, in words: `name`, `filled`, `share`, `what`."""
    return [{"name": name, **_summary(table.rows.cells(name), len(table.rows))} for name in table.columns if name != "id"]


def write_page(source: Path, out: Path, rows: int) -> dict[str, Any]:
    """Write the HTML page of a table and return what it says, without the rows' HTML."""
    told = look(source, rows)
    table = read_source(source, rooms())
    shown = [{"id": row.id, "cells": _cells(row, table)} for row in table.rows.take(told["shown"])]
    page = rendered("data.html.j2", {**told, "shown": shown, "name": source.name})
    write_text(out, page)
    ids = table.rows.ids()
    return {**told, "shown": [ids[index] for index in told["shown"]], "page": str(out)}


def _drawn(table: Table, rows: int) -> list[int]:
    """Some rows, drawn by the hash of their ids, in the table's order: the first ones are often of one kind."""
    ids = table.rows.ids()
    return sorted(sorted(range(len(ids)), key=lambda index: hashlib.sha256(ids[index].encode("utf-8", "replace")).digest())[:rows])


def _versions(source: Path) -> list[dict[str, str]]:
    """Each version with the time and what made it, newest first."""
    dataset = open_dataset(source)
    made = {}
    for version, transaction in zip(range(dataset.version, 0, -1), dataset.get_transactions(dataset.version), strict=False):
        properties = transaction.transaction_properties if transaction else {}
        made[version] = (properties or {}).get(MESSAGE) or type(getattr(transaction, "operation", None)).__name__
    return [
        {"version": str(held["version"]), "time": f"{held['timestamp']:%Y-%m-%d %H:%M}", "made": made.get(held["version"], "")}
        for held in reversed(dataset.versions())
    ]


def _summary(cells: Iterable[Cell], rows: int) -> dict[str, str | int]:
    """How many cells are filled, and what they hold, in words."""
    filled, lengths, numbers = 0, [10**9, 0], [float("inf"), 0.0, float("-inf")]
    values: Counter[str] = Counter()
    suffixes: Counter[str] = Counter()
    all_numbers, several = True, 0
    for cell in cells:
        if cell is None:
            continue
        filled += 1
        text = "|".join(map(str, cell)) if isinstance(cell, list) else str(cell)
        lengths = [min(lengths[0], len(text)), max(lengths[1], len(text))]
        if len(values) < MOST_COUNTED or text in values:
            values[text] += 1
        named = names(cell)
        suffixes.update({suffix_of(name) if len(name) < 4096 else "" for name in named})
        several += len(named) > 1
        all_numbers = all_numbers and isinstance(cell, int | float) and not isinstance(cell, bool)
        if all_numbers:
            number = float(cell)  # type: ignore[arg-type]
            numbers = [min(numbers[0], number), numbers[1] + number, max(numbers[2], number)]
    what = _in_words(filled, values, suffixes, lengths, numbers if all_numbers and filled else None)
    what += f"; {several:,} have several" if several else ""
    return {"filled": filled, "share": f"{filled / rows:.0%}" if rows else "-", "what": what}


def _in_words(filled: int, values: Counter[str], suffixes: Counter[str], lengths: list[int], numbers: list[float] | None) -> str:
    if not filled:
        return "nothing"
    known = {suffix for room in rooms().values() for suffix in room.suffixes}
    if sum(suffixes[suffix] for suffix in known) > filled / 2:
        return ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes.most_common(5))
    if len(values) <= FEW_VALUES and (len(values) < filled or lengths[1] <= LONGEST_SHOWN):
        return ", ".join(f"{_cut(value)} ({count:,})" for value, count in values.most_common())
    if numbers:
        return f"{numbers[0]:g} to {numbers[2]:g}, mean {numbers[1] / filled:g}"
    different = f"{len(values):,}" if len(values) < MOST_COUNTED else f"more than {MOST_COUNTED:,}"
    return f"{different} different, {lengths[0]:,} to {lengths[1]:,} characters"


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_SHOWN else f"{value[: LONGEST_SHOWN - 1]}…"


def _cells(row: Row, table: Table) -> list[tuple[str, str]]:
    return [(name, cell_html(row.cells[name], table.folder)) for name in table.columns if row.cells.get(name) is not None]


def cell_html(cell: Cell, folder: Path) -> str:
    """A cell as its room shows it: files by their suffix, relative to `folder`; the rest as it is."""
    if isinstance(cell, Several):
        return " ".join(cell_html(item, folder) for item in cell.items)
    whole = cell.source if isinstance(cell, Span) else cell
    name = whole.name if isinstance(whole, Blob) else str(whole)
    file = folder / whole if isinstance(whole, str) and len(whole) < 1000 and suffix_of(whole) else whole
    fitting = {name: room for name, room in rooms().items() if room.by_reference or not isinstance(whole, str)}
    room = room_of(file, fitting) if isinstance(file, Blob | Path) else None
    if room is None:
        return f"<span>{escape(str(cell))}</span>" if not isinstance(cell, Blob) else f"<span>{escape(name)}</span>"
    try:
        return room.show(room.read(cell if isinstance(cell, Span) else file))
    except BadValue as problem:
        return f'<span class="bad">{escape(problem.what)}</span>'
