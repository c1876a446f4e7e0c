"""`triptych init`: look at a user's files and write a commented recipe that trains on them as it stands."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.contract.modality import Modality
from triptych.data.check import locate
from triptych.data.sources import SPLIT_FOLDERS, read_source
from triptych.data.table import Table
from triptych.modalities import rooms

LOOKED_AT = 64  # values a column that are opened to propose settings
MOST_CLASSES = 50
FEW_ROWS = 2000
GROUP_HINTS = ("speaker", "song", "artist", "customer", "user", "patient", "writer", "author", "session", "group")
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


def propose(source: Path, out: Path) -> str:
    """The text of a recipe for the files in `source`, with paths relative to `out`.

    Raises:
        InputError: nothing in it can be an input, or there is nothing to learn from it.
    """
    look = examine(source)
    if not look.target and len(look.inputs) < 2:
        known = [*look.table.columns]
        fix = "put files into one folder a class (FOLDER/happy/a.wav), or add a column that says what is to be learnt"
        raise InputError("there is one input and nothing to learn about it", where=str(source), known=known, fix=fix)
    return _written(look, source, out)


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
        elif look.group is None and any(hint in column.lower() for hint in GROUP_HINTS) and 1 < len(values) < len(look.table.rows):
            look.group = column


def _find_inputs(look: Look) -> None:
    """Columns of paths first; then columns of prose."""
    for column in look.table.columns:
        if column in (look.split, look.group, "id"):
            continue
        cells = _cells(look, column)
        modality = _modality(column, cells)
        if modality:
            look.inputs[column] = modality
            look.settings[column] = _suggested(look.table, column, rooms()[modality])


def _modality(column: str, cells: Sequence[Any]) -> str | None:
    if not cells:
        return None
    suffixes = Counter(Path(str(cell)).suffix.lower() for cell in cells[:200])
    suffix, count = suffixes.most_common(1)[0]
    for name, room in rooms().items():
        if suffix in room.suffixes and count > len(cells[:200]) / 2 and (room.by_reference or isinstance(cells[0], Path)):
            return name
    return _by_value(column, cells)


def _by_value(column: str, cells: Sequence[Any]) -> str | None:
    """Prose: several words a cell and mostly different, or a column whose name says so."""
    room = next((room for room in rooms().values() if not room.by_reference), None)
    if room is None or all(_is_number(cell) for cell in cells):
        return None
    words = sum(len(str(cell).split()) for cell in cells) / len(cells)
    hinted = any(hint in column.lower() for hint in room.hints) and not any(hint in column.lower() for hint in TARGET_HINTS)
    varied = len(set(map(str, cells))) > min(MOST_CLASSES, len(cells) / 2)
    return room.name if hinted or (words >= 3 and varied) else None


def _is_number(cell: Any) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


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
    candidates = [c for c in look.table.columns if c not in look.inputs and c not in (look.split, look.group, "id")]
    candidates.sort(key=lambda c: (not any(hint in c.lower() for hint in TARGET_HINTS), look.table.columns.index(c)))
    for column in candidates:
        kind = _kind(_cells(look, column))
        if kind:
            look.target, look.kind = column, kind
            look.labels = sorted(set(map(str, _cells(look, column))))
            return


def _kind(cells: Sequence[Any]) -> str | None:
    different = set(map(str, cells))
    if len(different) < 2:
        return None
    if all(_is_number(cell) for cell in cells) and (len(different) > 20 or any(not float(v).is_integer() for v in different)):
        return "regress"
    if any("|" in value for value in different):
        return "multilabel"
    return "classify" if len(different) <= MOST_CLASSES and len(different) < len(cells) else None


def _written(look: Look, source: Path, out: Path) -> str:
    rows = len(look.table.rows)
    named = os.path.relpath(look.table.source, out.parent)
    epochs = 30 if rows < FEW_ROWS else 15
    lines = [
        f"# triptych train {out.name}",
        f"# Written by `triptych init` after a look at {source.name or source}: {rows} rows, columns {', '.join(look.table.columns)}.",
        "# Every line may be changed; `triptych check` says at once what does not fit, `triptych schema` lists every word.",
        f"name: {json.dumps(_plain(out.stem))}",
        "data:",
        f"  source: {json.dumps(named)}   # relative to this file",
        *_split_lines(look),
        "inputs:",
        *[_input_line(column, modality, look.settings[column]) for column, modality in look.inputs.items()],
        "tasks:",
        *_task_lines(look),
        "stages:",
        f"  - {{train: [all], epochs: {epochs}, lr: 1.0e-3, patience: {max(5, epochs // 3)}}}   # stops early when validation gains nothing",
        f"training: {{batch_size: {32 if rows < FEW_ROWS else 64}{', drop_inputs: 0.2' if len(look.inputs) > 1 else ''}}}",
    ]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_.-" else "-" for letter in name) or "recipe"


def _split_lines(look: Look) -> list[str]:
    if look.split:
        return [f"  split: {{column: {json.dumps(look.split)}}}   # train, validation and test stand in that column"]
    group = f"group: {json.dumps(look.group)}, " if look.group else ""
    why = f"rows of one {look.group} stay on one side" if look.group else "by the hash of each row, the same on every machine"
    return [f"  split: {{{group}validation: 0.15, test: 0.2}}   # {why}"]


def _input_name(column: str, taken: Mapping[str, Any] | Sequence[str] = ()) -> str:
    name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in column)
    name = name if name[:1].isalpha() else f"in_{name}"
    return f"{name}_input" if name in ("all", "fusion") or name in taken else name


def _input_line(column: str, modality: str, settings: dict[str, Any]) -> str:
    name = _input_name(column)
    words = [f"modality: {modality}"] if name != modality else []
    words += [f"column: {json.dumps(column)}"] if name != column else []
    words += [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
    return f"  {name}: {{{', '.join(words)}}}"


def _task_lines(look: Look) -> list[str]:
    inputs = [_input_name(column) for column in look.inputs]
    lines = []
    if look.target:
        name = _input_name(look.target, inputs)
        shown = (
            f"   # {len(look.labels)} classes: {', '.join(look.labels[:8])}{' ...' if len(look.labels) > 8 else ''}"
            if look.kind == "classify"
            else ""
        )
        lines.append(f"  {name}: {{kind: {look.kind}, target: {json.dumps(look.target)}}}{shown}".replace("\n", " "))
    if len(inputs) > 1:
        positives = f", positives: {json.dumps(look.target)}" if look.kind == "classify" else ""
        lines.append(
            f"  match: {{kind: contrast, between: [{', '.join(inputs)}]{positives}}}   # brings the inputs of a row together in one space"
        )
    return lines
