"""Every value is read once before training starts: a bad one costs its row and leaves the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import ADDRESS
from triptych.contract.modality import Modality
from triptych.data.table import Reject, Row, Table

Track = Callable[[Iterable[Reject | None], int], Iterable[Reject | None]]


def screen(table: Table, columns: Mapping[str, Modality], max_rejected: float, track: Track = lambda rejects, total: rejects) -> Table:
    """Read every input cell of every row; rows with an unreadable or no input at all become rejects.

    Args:
        table: located rows.
        columns: {column of the table: its room}.
        max_rejected: share of rows that may be lost.
        track: wraps the rows as they are done, for a progress bar.

    Raises:
        InputError: more than `max_rejected` of the rows cannot be used; the first reasons are listed.
    """
    total = len(table.rows) + len(table.rejects)
    with ThreadPoolExecutor(2) as pool:  # decoding leaves Python's lock, so two threads keep two cores busy
        found = track(pool.map(lambda row: _problem(row, columns), table.rows), len(table.rows))
        kept = table.without([reject for reject in found if reject])
    if len(kept.rejects) > max_rejected * total + 1e-9 or not kept.rows:
        reasons = "".join(f"\n    {reject.id}: {reject.reason}" for reject in kept.rejects[:10])
        more = f"\n    and {len(kept.rejects) - 10} more" if len(kept.rejects) > 10 else ""
        fix = (
            f"mend the rows, or allow more with --set data.max_rejected={math.ceil(len(kept.rejects) / total * 100) / 100}"
            if kept.rows
            else "check that the recipe's inputs name the right columns"
        )
        raise InputError(f"{len(kept.rejects)} of {total} rows cannot be used:{reasons}{more}", where=table.source, fix=fix)
    return kept


def _problem(row: Row, columns: Mapping[str, Modality]) -> Reject | None:
    filled = [column for column in columns if row.cells.get(column) is not None]
    if not filled:
        return Reject(row.id, f"no input at all: {', '.join(columns)} {'is' if len(columns) == 1 else 'are'} empty")
    for column in filled:
        cell = row.cells[column]
        if columns[column].by_reference and isinstance(cell, str) and ADDRESS.match(cell):
            return Reject(row.id, f"{column}: {cell} is an address, and nothing is fetched; download it and name the file")
        try:
            columns[column].read(cell)
        except BadValue as problem:
            where = f" ({problem.where})" if problem.where else ""
            return Reject(row.id, f"{column}: {problem.what}{where}")
    return None
