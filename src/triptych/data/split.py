"""Which side of the split a row is on: by given words, else by hash, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from triptych.base.errors import InputError, nearest
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
        named = zip(table.rows.cells(settings.column), table.rows.ids(), strict=True)
        sides = [_side(cell, row_id, table.source) for cell, row_id in named]
    elif settings.test_where:
        columns = {column: list(table.rows.cells(column)) for column in settings.test_where}
        rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
        sides = ["test" if _matches(cells, settings.test_where) else None for cells in rows]
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
    splits: list[Split] = [side or "train" for side in sides]
    return replace(table, splits=splits)


def _side(cell: object, row_id: str, source: str) -> Split | None:
    side = SPLIT_FOLDERS.get(str(cell).lower()) if cell is not None else None
    if side is None:
        close = nearest(str(cell), SPLIT_FOLDERS, 1) if cell is not None else []
        fix = f"did you mean {close[0]!r}?" if close else "say a side for every row, or leave data.split.column out"
        raise InputError(f"the split of {row_id} is {'empty' if cell is None else repr(cell)}", where=source, known=SPLIT_FOLDERS, fix=fix)
    return side  # type: ignore[return-value]


def _matches(cells: Mapping[str, object], where: Mapping[str, list[Any]]) -> bool:
    return any(_same(cells.get(column), value) for column, values in where.items() for value in values)


def _same(cell: object, value: Any) -> bool:
    """Whether a cell says what the recipe does: 7 is also 7.0 and 07, true is also True."""
    if cell is None or str(cell) == str(value):
        return cell is not None
    if isinstance(value, bool):
        return str(cell).lower() == str(value).lower()
    try:
        return isinstance(value, int | float) and float(str(cell)) == value
    except ValueError:
        return False


def _values(table: Table, settings: SplitSettings) -> list[str]:
    return sorted({str(cell) for column in settings.test_where for cell in table.rows.cells(column)})[:20]


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
    return {"validation": settings.validation, "test": settings.test_share}


def _deal(table: Table, sides: list[Split | None], shares: dict[Split, float], settings: SplitSettings, stratify: str | None) -> None:
    """Fill the open sides with whole groups, in the order of `_order`, until each side has its share of the open rows."""
    groups, stratum = _grouped(table, sides, settings.group, stratify)
    order = _order(stratum, settings.seed)
    for side, keys in _cut(order, {key: len(rows) for key, rows in groups.items()}, shares).items():
        for key in keys:
            for index in groups[key]:
                sides[index] = side


def _grouped(
    table: Table, sides: Sequence[Split | None], group: str | None, stratify: str | None
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The rows that must stay together, of those without a side, and the stratum of each such group."""
    groups: dict[str, list[int]] = defaultdict(list)
    ids = table.rows.ids()
    group_of: list[Any] = list(table.rows.cells(group)) if group else [None] * len(ids)
    stratum_of: list[Any] = list(table.rows.cells(stratify)) if stratify else [""] * len(ids)
    for index, (row_id, value) in enumerate(zip(ids, group_of, strict=True)):
        if sides[index] is None:
            groups[f"row {row_id}" if value is None else f"group {value}"].append(index)
    return groups, {key: str(stratum_of[rows[0]]) for key, rows in groups.items()}


def _order(stratum: Mapping[str, str], seed: int) -> list[str]:
    """Keys by hash, the strata laid side by side, so that any cut takes the same share of each.

    The only one of its stratum comes last, where the training rows are: a class that is never learnt cannot be tested.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for key in sorted(stratum, key=lambda key: _hash(seed, key)):
        members[stratum[key]].append(key)
    many = len(members) > 1
    place = {key: (n + 0.5) / len(keys) if len(keys) > 1 or not many else 1.0 for keys in members.values() for n, key in enumerate(keys)}
    return sorted(stratum, key=lambda key: (place[key], _hash(seed, key)))


def _cut(order: Sequence[str], sizes: Mapping[str, int], shares: Mapping[Split, float]) -> dict[Split, list[str]]:
    """Groups for each side, as near to its share of the rows as whole groups allow; what is left is for training."""
    rows, rest = sum(sizes.values()), list(order)
    cut: dict[Split, list[str]] = {}
    for side, share in shares.items():
        cut[side], wanted, have = [], round(share * rows), 0
        if share > 0 and wanted == 0 and rows > 2 * len(shares):  # few rows: one is better than none
            wanted = 1
        for key in rest:
            last = len(cut[side]) == len(rest) - 1  # that one is for training
            if not last and have < wanted and abs(have + sizes[key] - wanted) <= wanted - have:
                cut[side].append(key)
                have += sizes[key]
        if wanted and not have and len(rest) > 2 * len(shares):  # every group is too large: the smallest is near enough
            cut[side] = [min(rest, key=lambda key: sizes[key])]
        rest = [key for key in rest if key not in set(cut[side])]
    cut["train"] = rest
    return cut


def _hash(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()


def folds(table: Table, settings: SplitSettings, stratify: str | None, parts: int) -> list[int]:
    """For each row the fold it is in, 0 to `parts` - 1: groups whole, folds as equal in rows as whole groups allow.

    Raises:
        InputError: there are fewer groups than folds, or a column is missing.
    """
    if settings.group:
        table.require(settings.group, "data.split")
    groups, stratum = _grouped(table, [None] * len(table.rows), settings.group, None if settings.group else stratify)
    if len(groups) < parts:
        raise InputError(f"{len(groups)} {'groups' if settings.group else 'rows'} cannot be divided into {parts} folds", where=table.source)
    found, held = [0] * len(table.rows), [0] * parts
    order = sorted(groups, key=lambda key: (stratum[key], _hash(settings.seed, key)))  # a stratum is dealt round and round
    if settings.group:  # the largest first, each into the fold that has the least
        order.sort(key=lambda key: -len(groups[key]))
    for place, key in enumerate(order):
        fold = min(range(parts), key=lambda number: (held[number], number)) if settings.group else place % parts
        held[fold] += len(groups[key])
        for index in groups[key]:
            found[index] = fold
    return found
