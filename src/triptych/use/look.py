"""A look at a user's files: which columns go in, which one is to be learnt, what keeps rows together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.plain import is_number
from triptych.contract.modality import Modality
from triptych.data.check import locate
from triptych.data.groups import HINTS
from triptych.data.sources import SPLIT_FOLDERS, read_source
from triptych.data.table import Table
from triptych.modalities import rooms

LOOKED_AT = 64  # values a column that are opened to propose settings
MOST_CLASSES = 50
FEWEST_GROUPS = 5  # fewer cannot give three sides their share
LEAST_FILLED = 0.05  # a stray README among sounds does not make a column
TARGET_HINTS = ("label", "class", "category", "target", "sentiment", "mood", "digit", "genre", "emotion", "answer")


@dataclass
class Look:
    """What was found in a user's table."""

    table: Table
    inputs: dict[str, str] = field(default_factory=dict)
    """{column: modality}"""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    target: str | None = None
    kind: str = ""
    labels: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None


def examine(source: Path) -> Look:
    """Which columns are inputs, of which modality; which is the target, the split, the group."""
    path = source
    if source.is_dir():
        tables = sorted([*source.glob("*.csv"), *source.glob("*.tsv")])
        if len(tables) > 1:
            raise InputError(
                "there are several tables in this folder", where=str(source), known=[t.name for t in tables], fix="name the one to use"
            )
        path = tables[0] if tables else source
    look = Look(read_source(path, rooms()))
    _find_roles(look)
    _find_inputs(look)
    _find_target(look)
    return look


def _cells(look: Look, column: str) -> list[Any]:
    return [cell for row in look.table.rows if (cell := row.cells.get(column)) is not None]


def _find_roles(look: Look) -> None:
    for column in look.table.columns:
        values = {str(cell).lower() for cell in _cells(look, column)}
        if look.split is None and values and values <= set(SPLIT_FOLDERS) and {SPLIT_FOLDERS[v] for v in values} >= {"train", "test"}:
            look.split = column
        elif look.group is None and _is_group(column, values, len(look.table.rows)):
            look.group = column


def _is_group(column: str, values: set[str], rows: int) -> bool:
    """A name like speaker, speaker_id or songId, and short values that come again."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower())
    named = bool(words) and any(word in HINTS or word.removesuffix("s") in HINTS for word in (words[0], words[-1]))
    return named and FEWEST_GROUPS <= len(values) < rows and sum(len(value.split()) for value in values) <= 3 * len(values)


def _find_inputs(look: Look) -> None:
    """Columns of paths first; then columns of prose."""
    for column in look.table.columns:
        if column in (look.split, look.group, "id"):
            continue
        cells = _cells(look, column)
        modality = _modality(column, cells) if len(cells) >= LEAST_FILLED * len(look.table.rows) else None
        if modality:
            look.inputs[column] = modality
            look.settings[column] = _suggested(look.table, column, rooms()[modality])


def _modality(column: str, cells: Sequence[Any]) -> str | None:
    if not cells:
        return None
    suffixes = Counter(Path(str(cell)).suffix.lower() for cell in cells[:200])
    for name, room in rooms().items():
        count = sum(suffixes[suffix] for suffix in room.suffixes)
        if count > len(cells[:200]) / 2 and (room.by_reference or isinstance(cells[0], Path)):
            return name
    # A column called after what is to be learnt is judged by its cells alone.
    called = "" if any(hint in column.lower() for hint in TARGET_HINTS) else column
    return next((name for name, room in rooms().items() if room.recognises(called, cells)), None)


def _suggested(table: Table, column: str, room: Modality) -> dict[str, Any]:
    """The room's own proposal from some values; unreadable ones are left to `check`."""
    located = locate(table, {column: room})
    cells = [cell for row in located.rows if (cell := row.cells.get(column)) is not None]
    values = []
    for cell in cells[:: max(1, len(cells) // LOOKED_AT)]:
        try:
            values.append(room.read(cell))
        except BadValue:
            continue
    return room.suggest(values) if values else {}


def _find_target(look: Look) -> None:
    candidates = [c for c in look.table.columns if c not in look.inputs and c not in (look.split, look.group) and not _is_key(look, c)]
    candidates.sort(key=lambda c: (not any(hint in c.lower() for hint in TARGET_HINTS), look.table.columns.index(c)))
    for column in candidates:
        kind = _kind(_cells(look, column))
        if kind:
            look.target, look.kind = column, kind
            look.labels = sorted(set(map(str, _cells(look, column))))
            return


def _is_key(look: Look, column: str) -> bool:
    """A number or name of the row, not something to learn."""
    words = re.findall(r"[a-z]+", column.lower())
    cells = _cells(look, column)
    return column == "id" or (bool({"id", "index", "key", "uuid", "row"} & set(words)) and len(set(map(str, cells))) == len(cells))


def _kind(cells: Sequence[Any]) -> str | None:
    different = set(map(str, cells))
    if len(different) < 2:
        return None
    if all(is_number(cell) for cell in cells) and (len(different) > 20 or any(not float(v).is_integer() for v in different)):
        return "regress"
    if any("|" in value for value in different):
        return "multilabel"
    return "classify" if len(different) <= MOST_CLASSES and len(different) < len(cells) else None
