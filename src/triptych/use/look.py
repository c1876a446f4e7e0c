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
from triptych.contract.cells import Blob, Span
from triptych.contract.modality import Modality
from triptych.data.kinds import readers, suffix_of
from triptych.data.layouts import Layout, recognised, said, within
from triptych.data.locate import locate
from triptych.data.named import HINTS, named_group, own_name
from triptych.data.sources import SPLIT_FOLDERS
from triptych.data.sources.hub import is_saved
from triptych.data.sources.tabled import read_source
from triptych.data.stored import is_stored
from triptych.data.table import Table
from triptych.modalities import rooms

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
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
    """{input: modality}: an input is called as its column, and a second one of the same files as its modality"""
    columns: dict[str, str] = field(default_factory=dict)
    """{input: column}"""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    target: str | None = None
    kind: str = ""
    labels: list[str] = field(default_factory=list)
    split: str | None = None
    group: str | None = None
    shared: bool = False
    """Whether the group is a column of files that several rows name."""


def examine(source: Path) -> Look:
    """Which columns are inputs, of which modality; which is the target, the split, the group."""
    published = _published(source)
    look = Look(read_source(source if published or is_stored(source) or is_saved(source) else _meant(source), rooms()))
    if published and published.GROUP in look.table.columns:
        look.group = published.GROUP
    _find_roles(look)
    _find_inputs(look)
    _find_shared(look)
    _find_target(look)
    return look


def _published(source: Path) -> Layout | None:
    """The layout that is said, that lies there, or that lies in its one folder."""
    if not source.is_dir() or is_stored(source) or is_saved(source):
        named = said(str(source)) if not source.exists() else None
        return named[0] if named else None
    inner = None if (found := recognised(source)) else within(source)
    return inner[0] if inner else found


def _meant(source: Path) -> Path:
    """The one table in a folder of media is what is meant by the folder."""
    tables = sorted(path for ending in TABLES for path in source.glob(f"*{ending}")) if source.is_dir() else []
    if len(tables) > 1:
        fix = f"name the one to use, or all that are alike: '{source / '*'}{tables[0].suffix}'"
        raise InputError("there are several tables in this folder", where=str(source), known=[t.name for t in tables], fix=fix)
    return tables[0] if tables else source


def _entries(cells: Sequence[Any]) -> list[Any]:
    """The entries of lists, and the cells that are none."""
    return [entry for cell in cells for entry in (cell if isinstance(cell, list) else [cell])]


def _cells(look: Look, column: str) -> list[Any]:
    return [cell for cell in look.table.rows.cells(column) if cell is not None]


def _find_roles(look: Look) -> None:
    for column in look.table.columns:
        values = {str(cell).lower() for cell in _cells(look, column)}
        if look.split is None and values and values <= set(SPLIT_FOLDERS) and {"train"} < {SPLIT_FOLDERS[v] for v in values}:
            look.split = column
        elif look.group is None and _is_group(own_name(column, look.table.columns), values, len(look.table.rows)):
            look.group = column


def _is_group(column: str, values: set[str], rows: int) -> bool:
    """A name like speaker, speaker_id or songId, and short values that come again."""
    return (
        named_group(column, HINTS)
        and FEWEST_GROUPS <= len(values) < rows
        and sum(len(value.split()) for value in values) <= 3 * len(values)
    )


def _find_inputs(look: Look) -> None:
    """Columns of paths first; then columns of prose."""
    for column in look.table.columns:
        cells = _cells(look, column)
        if column in (look.split, "id") or (column == look.group and not _rooms_of_files(cells)):
            continue
        kinds = _modalities(column, cells) if len(cells) >= LEAST_FILLED * len(look.table.rows) else []
        for modality, settings in _proposed(look.table, column, kinds):
            name = column if column not in look.inputs else _called(look, column, modality)
            look.inputs[name], look.columns[name], look.settings[name] = modality, column, settings


def _called(look: Look, column: str, modality: str) -> str:
    """A second input of one column: its modality's name, where nothing else is called so."""
    return modality if modality not in {*look.table.columns, *look.inputs} else f"{column}_{modality}"


def _proposed(table: Table, column: str, kinds: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The rooms that take a column, with their settings. Of several that read such files, those that find something in half of them."""
    values = {kind: _read(table, column, rooms()[kind]) for kind in kinds}
    tried = max((count for _, count in values.values()), default=0)
    fitting = [kind for kind, (read, _) in values.items() if len(kinds) == 1 or len(read) >= max(1, tried / 2)]
    return [(kind, rooms()[kind].suggest(values[kind][0]) if values[kind][0] else {}) for kind in fitting or kinds[:1]]


def _modalities(column: str, cells: Sequence[Any]) -> list[str]:
    """The rooms that may take a column: one, or for files that several read the one whose files they are, then its guests."""
    if not cells:
        return []
    if names := _rooms_of_files(cells):
        return names
    if any(isinstance(cell, Path | Blob | Span | list) or _is_json(cell) for cell in cells[:200]):
        return []  # files that no room reads, lists of labels, boxes
    # A column called after what is to be learnt, or after its row's name, is judged by its cells alone.
    called = "" if any(hint in column.lower() for hint in TARGET_HINTS) or "id" in re.split(r"[^a-z]+", column.lower()) else column
    return [name for name, room in rooms().items() if room.recognises(called, cells)][:1]


def _rooms_of_files(cells: Sequence[Any]) -> list[str]:
    """The rooms that read most of these files; a text that ends like a file of a room whose cells are texts is a text."""
    suffixes = Counter(suffix_of(_name(cell)) for cell in cells[:200])
    common = suffixes.most_common(1)[0][0] if suffixes else ""
    found = []
    for room in readers(common, rooms().values()):
        count = sum(suffixes[suffix] for suffix in room.suffixes)
        if count > len(cells[:200]) / 2 and (room.by_reference or not isinstance(cells[0], str)):
            found.append(room.name)
    return found


def _is_json(cell: Any) -> bool:
    return isinstance(cell, str) and (cell[:1], cell[-1:]) in {("[", "]"), ("{", "}")}


def _name(cell: Any) -> str:
    whole = cell.source if isinstance(cell, Span) else cell
    return whole.name if isinstance(whole, Blob) else str(whole)[-300:]


def _read(table: Table, column: str, room: Modality) -> tuple[list[Any], int]:
    """Some values of a column, and how many were tried; unreadable ones are left to `check`."""
    located = locate(table, {column: room})
    there = [index for index, has in enumerate(table.has(column)) if has]
    rows = located.rows.take(there[:: max(1, len(there) // LOOKED_AT)], [column])
    values = []
    for row in rows:
        try:
            values.append(room.read(row.cells[column]))
        except BadValue:
            continue
    return values, len(rows)


def _find_shared(look: Look) -> None:
    """A file that several rows name (a picture with five captions) must not stand on both sides; the most shared one is the group."""
    if look.group or look.split:
        return
    shares = {}
    for column in dict.fromkeys(look.columns.values()):
        names = [_name(cell) for cell in _cells(look, column)] if _by_reference(look.table, column) else []
        if FEWEST_GROUPS <= len(set(names)) < len(names):
            shares[column] = len(set(names)) / len(names)
    look.group = min(shares, key=lambda column: shares[column], default=None)
    look.shared = look.group is not None


def _by_reference(table: Table, column: str) -> bool:
    """Files by value are told apart by their content, not by their names: two may be called `0.png`."""
    there = [index for index, has in enumerate(table.has(column)) if has][:LOOKED_AT]
    cells = [row.cells[column] for row in table.rows.take(there, [column])]
    wholes = [cell.source if isinstance(cell, Span) else cell for cell in cells]
    return bool(_rooms_of_files(cells)) and not any(isinstance(whole, Blob) for whole in wholes)


def _find_target(look: Look) -> None:
    candidates = [
        c for c in look.table.columns if c not in look.columns.values() and c not in (look.split, look.group) and not _is_key(look, c)
    ]
    candidates.sort(key=lambda c: (not any(hint in c.lower() for hint in TARGET_HINTS), look.table.columns.index(c)))
    for column in candidates:
        kind = _kind(_cells(look, column))
        if kind:
            look.target, look.kind = column, kind
            look.labels = sorted(set(map(str, _entries(_cells(look, column)))))
            return


def _is_key(look: Look, column: str) -> bool:
    """A number or name of the row, not something to learn."""
    words = re.findall(r"[a-z]+", column.lower())
    cells = _cells(look, column)
    return column == "id" or (bool({"id", "index", "key", "uuid", "row"} & set(words)) and len(set(map(str, cells))) == len(cells))


def _kind(cells: Sequence[Any]) -> str | None:
    different = set(map(str, _entries(cells)))
    if len(different) < 2 or any(map(_is_json, cells)):
        return None
    if any(isinstance(cell, list) for cell in cells):
        return "multilabel" if len(different) <= MOST_CLASSES else None
    if all(is_number(cell) for cell in cells) and (len(different) > 20 or any(not float(v).is_integer() for v in different)):
        return "regress"
    if any("|" in value for value in different):
        return "multilabel"
    return "classify" if len(different) <= MOST_CLASSES and len(different) < len(cells) else None
