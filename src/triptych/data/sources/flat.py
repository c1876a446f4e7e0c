"""From nested values to cells: `{"a": {"b": 1}}` is the column `a.b`; and which rows have a name of their own."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import uuid
from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from triptych.contract.cells import Blob, Cell, Media, Several, Span
from triptych.contract.modality import Holder, Modality
from triptych.data.kinds import ending_of, suffix_of
from triptych.data.several import together
from triptych.data.sources.encoded import whole

NAMELESS = "nameless"
AsMedia = Callable[[Mapping[str, Any]], Media | str | None]


def flattened(fields: Mapping[str, Any], media: AsMedia | None = None) -> dict[str, Cell]:
    """The cells of one row. Nothing, an empty text and a number that is none have no cell.

    Lists of scalars stay lists; lists that hold anything else become JSON text. `media` turns `{bytes, path}` into a file, and a
    list of them into several.

    Raises:
        ValueError: two fields come to one column.
    """
    cells: dict[str, Cell] = {}
    for name, value in fields.items():
        _put(cells, name or NAMELESS, value, media)
    return cells


def holders(rooms: Mapping[str, Modality]) -> list[Holder]:
    """The rooms whose values may hold files; asked once for all rows."""
    return [room for room in rooms.values() if isinstance(room, Holder)]


def taken_apart(fields: Mapping[str, Any], held_by: Iterable[Holder]) -> Mapping[str, Any]:
    """The fields of a row, and of values that hold files in them (conversations) those files in fields of their own.

    Raises:
        ValueError: such a file cannot be taken out.
    """
    for room in held_by:
        fields = room.taken_apart(fields)
    return fields


def _put(cells: dict[str, Cell], name: str, value: Any, media: AsMedia | None) -> None:
    is_media = media is not None and _is_media(value)
    if isinstance(value, Mapping) and not is_media:
        for inner, held in value.items():
            _put(cells, f"{name}.{inner or NAMELESS}", held, media)
        return
    name = whole(name)
    files = value if isinstance(value, list) and value and all(map(_is_media, value)) else []
    if media and files:
        cell: Cell = together([file for item in files if (file := media(item)) is not None])
    else:
        cell = media(value) if media and is_media else as_cell(value)
    if cell is None:
        return
    if isinstance(cell, Blob) and not suffix_of(cell.name):
        cell = Blob(cell, (cell.name or name).rpartition(".")[2] + ending_of(cell))
    if name in cells:
        raise ValueError(f"two fields come to one column, {name!r}")
    cells[name] = cell


def _is_media(value: Any) -> bool:
    """Whether this is a file as Hugging Face keeps it: its bytes, its path, or both."""
    fits = isinstance(value, Mapping) and value.keys() == {"bytes", "path"}
    return fits and isinstance(value["bytes"], bytes | None) and isinstance(value["path"], str | None)


def as_cell(value: Any) -> Cell:
    """One value that is no mapping, as a cell."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, Blob | Path | Span | Several):
        return value
    if isinstance(value, bytes):
        return Blob(value)
    if isinstance(value, list | tuple):
        items = [_scalar(item) for item in value]
        if all(isinstance(item, str | int | float) for item in items):
            return items
        return whole(json.dumps(items, ensure_ascii=False, default=_spelled))
    scalar = _scalar(value)
    return scalar if isinstance(scalar, str | int | float) else str(scalar)


def _scalar(value: Any) -> Any:
    """Text, number or truth value for what is one; a decimal with a fraction is a float, a date is written as ISO 8601 says."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID | datetime.timedelta) else value


def _spelled(value: Any) -> str:
    return str(_scalar(value))


def id_text(cell: Any) -> str:
    """What a field `id` names its row; empty where it names none."""
    if isinstance(cell, str):
        return whole(cell).strip()
    return str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else ""


def all_named(cells: Iterable[Any], findings: list[str], where: str) -> bool:
    """Whether every row has an id and no two the same. Where only some do, `findings` says why. Eight bytes a row are held."""
    seen, nameless = array("Q"), 0
    for cell in cells:
        name = id_text(cell)
        if name:
            seen.append(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))
        else:
            nameless += 1
    import numpy as np

    again = len(seen) - len(np.unique(np.frombuffer(seen, np.uint64)))
    say_unnamed(findings, where, len(seen), nameless, again)
    return len(seen) > 0 and not nameless and not again


def say_unnamed(findings: list[str], where: str, named: int, nameless: int, again: int) -> None:
    """Note why ids that are there cannot name the rows; nothing where there are none, or all are fine."""
    if not named or not (nameless or again):
        return
    what = f"{nameless:,} of {named + nameless:,} rows lack an id"
    if again:
        what = f"the ids of {again:,} of {named:,} rows stand in earlier ones"
    said = f"{where}: {what}, so all rows are called by their number, and the split changes where lines are inserted"
    if said not in findings:
        findings.append(said)
