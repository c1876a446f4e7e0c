"""Which side of the split a row is on: by given words, else by hash, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.modality import Split
from triptych.data.settings import SplitSettings
from triptych.data.sources import SPLIT_FOLDERS
from triptych.data.table import Table


def divide(table: Table, settings: SplitSettings, stratify: str | None) -> Table:
    """The table with a side for every row.

    Without words of the user, rows are ordered by the hash of seed and id (or group) and the shares are cut from that
    order, within each value of the column `stratify` unless groups must stay together.

    Raises:
        InputError: a column is missing or says something else than a side, or no row is left to train on.
    """
    for column in filter(None, (settings.column, settings.group, *settings.test_where)):
        table.require(column, "data.split")
    sides: list[Split | None]
    if settings.column:
        sides = [_side(row.cells.get(settings.column), row.id, table.source) for row in table.rows]
    elif settings.test_where:
        sides = ["test" if _matches(row.cells, settings.test_where) else None for row in table.rows]
        if "test" not in sides:
            raise InputError(f"no row fits data.split.test_where {settings.test_where}", where=table.source, known=_values(table, settings))
    else:
        sides = [None] * len(table.rows)
    shares = _open_shares(sides, settings)
    _deal(table, sides, shares, settings, None if settings.group else stratify)
    if "train" not in sides:
        raise InputError(
            "no row is left to train on",
            where=table.source,
            fix="lower data.split.validation and data.split.test, or check the split column",
        )
    return replace(table, splits=[side or "train" for side in sides])


def _side(cell: object, row_id: str, source: str) -> Split | None:
    side = SPLIT_FOLDERS.get(str(cell).lower()) if cell is not None else None
    if side is None:
        raise InputError(f"the split of {row_id} is {str(cell or 'empty')!r}", where=source, known=SPLIT_FOLDERS)
    return side  # type: ignore[return-value]


def _matches(cells: Mapping[str, object], where: Mapping[str, list[Any]]) -> bool:
    return any(str(cells.get(column)) in {str(value) for value in values} for column, values in where.items())


def _values(table: Table, settings: SplitSettings) -> list[str]:
    return sorted({str(row.cells.get(column)) for row in table.rows for column in settings.test_where})[:20]


def _open_shares(sides: list[Split | None], settings: SplitSettings) -> dict[Split, float]:
    """Shares still to be dealt: rows marked `train` by the user give the validation rows where there are none."""
    if settings.column:
        if "validation" in sides or settings.validation == 0:
            return {}
        for index, side in enumerate(sides):
            sides[index] = None if side == "train" else side
        return {"validation": settings.validation}
    if settings.test_where:
        return {"validation": settings.validation}
    return {"validation": settings.validation, "test": settings.test}


def _deal(table: Table, sides: list[Split | None], shares: dict[Split, float], settings: SplitSettings, stratify: str | None) -> None:
    """Fill the open sides: whole groups, in the order of their hash, stratum by stratum."""
    strata: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(table.rows):
        if sides[index] is None:
            key = str(row.cells.get(settings.group, row.id)) if settings.group else row.id
            strata[str(row.cells.get(stratify)) if stratify else ""][key].append(index)
    for groups in strata.values():
        order = sorted(groups, key=lambda key: _hash(settings.seed, key))
        for side, keys in _cut(order, shares).items():
            for key in keys:
                for index in groups[key]:
                    sides[index] = side


def _cut(order: Sequence[str], shares: dict[Split, float]) -> dict[Split, Sequence[str]]:
    cut: dict[Split, Sequence[str]] = {}
    start = 0
    for side, share in shares.items():
        wanted = round(share * len(order))
        if share > 0 and wanted == 0 and len(order) > 2 * len(shares):  # few groups: one is better than none
            wanted = 1
        cut[side] = order[start : start + wanted]
        start += wanted
    cut["train"] = order[start:]
    return cut


def _hash(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
