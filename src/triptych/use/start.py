"""`triptych init`: look at a user's files and write a commented recipe that trains on them as it stands."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from triptych.base.errors import BadValue, InputError
from triptych.base.settings import read_yaml
from triptych.contract.modality import Modality
from triptych.data.check import locate
from triptych.data.sources import SPLIT_FOLDERS, read_source
from triptych.data.table import Table
from triptych.modalities import rooms

LOOKED_AT = 64  # values a column that are opened to propose settings
MATCH = "match"  # what the contrast task is called
MOST_CLASSES = 50
FEWEST_GROUPS = 5  # fewer cannot give three sides their share
LEAST_FILLED = 0.05  # a stray README among sounds does not make a column
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
    known = [*look.table.columns]
    if not look.inputs:
        fix = "give a column of paths to files, or of texts of several words"
        raise InputError("no column looks like something a model could take in", where=str(source), known=known, fix=fix)
    if not look.target and len(look.inputs) < 2:
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
        elif look.group is None and _is_group(column, values, len(look.table.rows)):
            look.group = column


def _is_group(column: str, values: set[str], rows: int) -> bool:
    """A name like speaker, speaker_id or songId, and short values that come again."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower())
    named = bool(words) and any(word in GROUP_HINTS or word.removesuffix("s") in GROUP_HINTS for word in (words[0], words[-1]))
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
    if all(_is_number(cell) for cell in cells) and (len(different) > 20 or any(not float(v).is_integer() for v in different)):
        return "regress"
    if any("|" in value for value in different):
        return "multilabel"
    return "classify" if len(different) <= MOST_CLASSES and len(different) < len(cells) else None


def _written(look: Look, source: Path, out: Path) -> str:
    rows, names = len(look.table.rows), _names(look)
    named = os.path.relpath(look.table.source, out.parent)
    epochs, batch = (30, 32) if rows < FEW_ROWS else (15, 64)
    stage = f"{{train: [all], epochs: {epochs}, lr: 1.0e-3, patience: {max(5, epochs // 3)}}}"
    about = f"a look at {source.name or source}: {rows} rows, columns {', '.join(look.table.columns)}"
    lines = [
        f"# triptych train {_comment(out.name)}",
        f"# Written by `triptych init` after {_comment(about)}.",
        "# Every line may be changed; `triptych check` says at once what does not fit, `triptych schema` lists every word.",
        f"name: {_yaml(_plain(out.stem))}",
        "data:",
        f"  source: {_yaml(named)}   # relative to this file",
        *_split_lines(look),
        "inputs:",
        *[_input_line(names[column], column, modality, look.settings[column]) for column, modality in look.inputs.items()],
        "tasks:",
        *_task_lines(look, names),
        "stages:",
        f"  - {stage}   # stops early when validation gains nothing",
        f"training: {{batch_size: {batch}{', drop_inputs: 0.2' if len(look.inputs) > 1 else ''}}}",
    ]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """A value on one line; JSON's way of writing an emoji is not YAML's."""
    style = '"' if isinstance(value, str) else None
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, default_style=style, width=10**9)
    return text.removesuffix("...\n").rstrip("\n")


def _key(name: str) -> str:
    """A name as it stands, in quotes where YAML would take it for something else: null, true."""
    return name if isinstance(read_yaml(name), str) else _yaml(name)


def _comment(text: str) -> str:
    """Text that stays within its comment, whatever a user's column is called."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name) or "recipe"


def _split_lines(look: Look) -> list[str]:
    if look.split:
        return [f"  split: {{column: {_yaml(look.split)}}}   # train, validation and test stand in that column"]
    group = f"group: {_yaml(look.group)}, " if look.group else ""
    why = f"rows of one {_comment(look.group)} stay on one side" if look.group else "by the hash of each row, the same on every machine"
    return [f"  split: {{{group}validation: 0.15, test: 0.2}}   # {why}"]


def _names(look: Look) -> dict[str, str]:
    """{column: its name in the recipe}: plain letters, and never one name for two things."""
    names: dict[str, str] = {}
    for column in [*look.inputs, *([look.target] if look.target else [])]:
        ending = "_input" if column in look.inputs else "_task"
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", column).strip("_")
        plain = plain if plain[:1].isalpha() else f"{look.inputs.get(column, 'task')}_{plain}".rstrip("_")
        plain = f"{plain}{ending}" if plain in ("all", "fusion", MATCH) else plain
        taken, number, name = set(names.values()), 1, plain
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        names[column] = name
    return names


def _input_line(name: str, column: str, modality: str, settings: dict[str, Any]) -> str:
    words = [f"modality: {modality}"] if name != modality else []
    words += [f"column: {_yaml(column)}"] if name != column else []
    words += [f"{key}: {_yaml(value)}" for key, value in settings.items()]
    return f"  {_key(name)}: {{{', '.join(words)}}}"


def _task_lines(look: Look, names: Mapping[str, str]) -> list[str]:
    lines = []
    if look.target:
        classes = f"{len(look.labels)} classes: {', '.join(look.labels[:8])}{' ...' if len(look.labels) > 8 else ''}"
        shown = f"   # {_comment(classes)}" if look.kind == "classify" else ""
        lines.append(f"  {_key(names[look.target])}: {{kind: {look.kind}, target: {_yaml(look.target)}}}{shown}")
    if len(look.inputs) > 1:
        between = ", ".join(_key(names[column]) for column in look.inputs)
        positives = f", positives: {_yaml(look.target)}" if look.kind == "classify" else ""
        lines.append(f"  {MATCH}: {{kind: contrast, between: [{between}]{positives}}}   # brings the inputs of a row together in one space")
    return lines
