"""JSON lines: one object a line, read line by line."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.modality import Holder, Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.encoded import BROKEN, TextFile, look
from triptych.data.sources.flat import all_named, flattened, holders, id_text, taken_apart

LONGEST_LINE = 64 * 2**20  # characters
FIX = "write one JSON object a line, in UTF-8"


def read_jsonl(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """A .jsonl or .ndjson file, also one packed with gzip. Empty lines are passed over; a broken one costs its row.

    Nested objects become columns `a.b`; files inside of conversations become cells of columns of their own. A field `id` names
    the rows where each has one of its own; else they are called after their line, `row-7`.

    Raises:
        InputError: it cannot be read, is empty, or is one JSON list.
    """
    text = look(path, FIX)
    _check_start(text)
    named = functools.cache(lambda: all_named(_ids(text), text.findings, path.name))
    return Source(str(path), lambda: _rows(text, named(), holders(rooms)), path.parent, text.findings)


def _check_start(text: TextFile) -> None:
    try:
        first = next((line for line in text.lines(LONGEST_LINE) if line is None or line.strip()), "")
    except BROKEN:
        return  # said by the rows
    if first == "":
        raise InputError("the file is empty", where=str(text.path))
    if first is not None and first.lstrip().startswith("["):
        fix = f"jq -c '.[]' {text.path.name} > lines.jsonl writes one object a line"
        raise InputError("this is a JSON list, not one object a line", where=str(text.path), fix=fix)


def _ids(text: TextFile) -> Iterator[Any]:
    """What every whole line says under `id`."""
    try:
        for line in text.lines(LONGEST_LINE):
            if line is None or not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value.get("id")
    except BROKEN:
        return


def _rows(text: TextFile, named: bool, held_by: list[Holder]) -> Iterator[Row | Reject]:
    number = 0
    try:
        for number, line in enumerate(text.lines(LONGEST_LINE), start=1):
            if line is None:
                yield Reject(f"row-{number}", f"line {number} has more than {LONGEST_LINE:,} characters")
            elif line.strip():
                yield _row(line, number, named, held_by)
    except BROKEN as error:
        yield Reject(f"row-{number + 1}", f"the file breaks off after line {number}: {error}")


def _row(line: str, number: int, named: bool, held_by: list[Holder]) -> Row | Reject:
    try:
        value = json.loads(line, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        return Reject(f"row-{number}", f"line {number}, column {error.colno}: this is not JSON: {reason}")
    except RecursionError:
        return Reject(f"row-{number}", f"line {number}: it is nested too deeply")
    except ValueError as error:
        return Reject(f"row-{number}", f"line {number}: {error}")
    if not isinstance(value, dict):
        return Reject(f"row-{number}", f"line {number}: an object is wanted, {{...}}, not {_called(value)}")
    try:
        return Row(id_text(value.get("id")) if named else f"row-{number}", flattened(taken_apart(value, held_by)))
    except ValueError as error:
        return Reject(f"row-{number}", f"line {number}: {error}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} is used twice in one object")
    return held


def _called(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "a list" if isinstance(value, list) else "a text" if isinstance(value, str) else "a number"
