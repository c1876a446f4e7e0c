"""Every value is read once before training starts: a bad one costs its row and leaves the reason."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.plain import one_line
from triptych.contract.cells import ADDRESS, Cell
from triptych.contract.examined import Examined
from triptych.contract.modality import Modality
from triptych.data.facts import Facts
from triptych.data.lacking import Lacking, costs_row
from triptych.data.looks import Looks, is_media, look_key
from triptych.data.pace import Pace
from triptych.data.several import read_each
from triptych.data.table import Reject, Row, Table

THREADS = 2

Track = Callable[[Iterable[Reject | None], int], Iterable[Reject | None]]
Enough = Callable[[Mapping[str, Cell]], bool]
"""Whether a row's other cells are enough to learn from it where it has no input at all: words can be asked, and answered, alone."""


def _never(cells: Mapping[str, Cell]) -> bool:
    return False


def screen(
    table: Table,
    columns: Mapping[str, Modality],
    max_rejected: float,
    track: Track = lambda rejects, total: rejects,
    facts: Facts | None = None,
    looks: Looks | None = None,
    enough: Enough = _never,
) -> Table:
    """Read every input cell of every row; rows with an unreadable input, or none at all, become rejects.

    A file that has nothing of an input (a film without sound) is that input's absence, and so is one that cannot be read as
    this input while another room reads it: such rows are kept without the input, and `facts` counts them.

    Args:
        table: located rows.
        columns: {column of the table: its room}.
        max_rejected: share of rows that may be lost.
        track: wraps the rows as they are done, for a progress bar.
        facts: takes what is seen of each kept row's values, in the same pass.
        looks: knows what was seen of a file before; such a file is not read again.
        enough: which rows without any input are kept all the same.

    Raises:
        InputError: more than `max_rejected` of the rows cannot be used; the first reasons are listed.
    """
    total = len(table.rows) + len(table.rejects)
    keep: list[int] = []
    rejects: list[Reject] = []
    absent: dict[str, set[str]] = {}
    for index, reject in enumerate(track(_screened(table, columns, facts, absent, looks, enough), len(table.rows))):
        if reject is None:
            keep.append(index)
        else:
            rejects.append(reject)
    kept = replace(table.subset(keep), rejects=[*table.rejects, *rejects])
    kept = replace(kept, rows=Lacking(kept.rows, absent)) if absent else kept
    if len(kept.rows) + len(kept.rejects) != total:
        raise AssertionError(f"{total} rows came in, {len(kept.rows)} were kept and {len(kept.rejects)} rejected: some are lost")
    if len(kept.rejects) > max_rejected * total + 1e-9 or not kept.rows:
        reasons = "".join(f"\n    {one_line(f'{reject.id}: {reject.reason}')}" for reject in kept.rejects[:10])
        more = f"\n    and {len(kept.rejects) - 10} more" if len(kept.rejects) > 10 else ""
        fix = (
            f"mend the rows, or allow more with --set data.max_rejected={math.ceil(len(kept.rejects) / total * 100) / 100}"
            if kept.rows
            else "check that the recipe's inputs name the right columns"
        )
        raise InputError(f"{len(kept.rejects)} of {total} rows cannot be used:{reasons}{more}", where=table.source, fix=fix)
    return kept


def _screened(
    table: Table,
    columns: Mapping[str, Modality],
    facts: Facts | None,
    absent: dict[str, set[str]],
    looks: Looks | None,
    enough: Enough,
) -> Iterator[Reject | None]:
    """What became of each row, in order. Facts of kept rows are noted on the way, and which of their inputs are `absent`."""
    rows = iter(table.rows)
    with ThreadPoolExecutor(THREADS) as pool:
        pace = Pace()
        while chunk := list(islice(rows, pace.chunk)):  # a pool takes all it is given at once, so it is given little
            with pace.timed(len(chunk)):
                done = list((pool.map if pace.threaded else map)(lambda row: _read(row, columns, facts, looks, enough), chunk))
            if looks is not None:
                looks.flush()
            for row, (reject, seen, problems) in zip(chunk, done, strict=True):
                if reject is None:
                    for column in problems:
                        absent.setdefault(column, set()).add(row.id)
                    if facts is not None:
                        facts.add(seen, problems)
                yield reject


def _read(
    row: Row, columns: Mapping[str, Modality], facts: Facts | None, looks: Looks | None, enough: Enough = _never
) -> tuple[Reject | None, dict[str, Examined], dict[str, BadValue]]:
    """Why the row cannot be used; else what was seen of its values, and why it lacks others."""
    filled = {column: row.cells[column] for column in columns if row.cells.get(column) is not None}
    if not filled and not enough(row.cells):
        return Reject(row.id, f"no input at all: {', '.join(columns)} {'is' if len(columns) == 1 else 'are'} empty"), {}, {}
    seen: dict[str, Examined] = {}
    problems: dict[str, BadValue] = {}
    for column, cell in filled.items():
        room = columns[column]
        if room.by_reference and isinstance(cell, str) and ADDRESS.match(cell):
            return Reject(row.id, f"{column}: {cell} is an address, and nothing is fetched; download it and name the file"), {}, {}
        try:
            if facts is None:
                read_each(room, cell)
            else:
                seen[column] = _examined(room, cell, facts.columns[column].settings, looks)
        except BadValue as problem:
            problems[column] = problem
    if costly := costs_row(problems, filled, columns):
        worst = problems[costly]
        return Reject(row.id, f"{costly}: {worst.what}" + (f" ({worst.where})" if worst.where else "")), {}, {}
    return None, seen, problems


def _examined(room: Modality, cell: Cell, settings: Any, looks: Looks | None) -> Examined:
    """What is seen of a cell, now or before.

    Raises:
        BadValue: it cannot be read; only what could be is remembered.
    """
    key = None
    if looks is not None and is_media(cell):
        with contextlib.suppress(OSError):  # the room says better what is wrong with the file
            key = look_key(room, settings, looks.content(cell))
    if key is not None and looks is not None and (known := looks.get(key)) is not None:
        return known
    seen = _as_one([room.examine(value, settings) for value in read_each(room, cell)])
    if key is not None and looks is not None:
        looks.put(key, seen)
    return seen


def _as_one(seen: Sequence[Examined]) -> Examined:
    """Several values of one row: the measures of the first, the faults of all; alike are two rows only where all of them are the same."""
    if len(seen) == 1:
        return seen[0]
    whole = hashlib.blake2b(b"".join(one.content.to_bytes(8) for one in seen), digest_size=8)
    faults = tuple(dict.fromkeys(fault for one in seen for fault in one.faults))
    return replace(seen[0], content=int.from_bytes(whole.digest()), sketch=b"", faults=faults, length=sum(one.length for one in seen))
