"""JSON lines: one object a line, read line by line; or one JSON list of objects, read one by one."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.modality import Holder, Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.elements import elements
from triptych.data.sources.encoded import BROKEN, CHUNK, TextFile, look
from triptych.data.sources.flat import all_named, flattened, holders, id_text, taken_apart

LONGEST_LINE = 64 * 2**20  # characters
Parts = Callable[[TextFile, int], Iterator[str | None]]
FIX = "write one JSON object a line, in UTF-8"


def read_jsonl(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """A .jsonl, .ndjson or .json file, also one packed with gzip. Empty lines are passed over; a broken one costs its row.

    A file that is one JSON list, as LLaVA's conversations are, gives its elements one by one, however long it is.

    Nested objects become columns `a.b`; files inside of conversations become cells of columns of their own. A field `id` names
    the rows where each has one of its own; else they are called after their line, `row-7`.

    Raises:
        InputError: it cannot be read, is empty, or is one object over several lines.
    """
    text = look(path, FIX)
    parts = elements if _is_list(text) else TextFile.lines
    named = functools.cache(lambda: all_named(_ids(text, parts), text.findings, path.name))
    return Source(str(path), lambda: _rows(text, parts, named(), holders(rooms)), path.parent, text.findings)


def _is_list(text: TextFile) -> bool:
    try:
        first = next((line for line in text.lines(LONGEST_LINE) if line is None or line.strip()), "")
    except BROKEN:
        return False  # said by the rows
    if first == "":
        raise InputError("the file is empty", where=str(text.path))
    if first is not None and first.strip() == "{":
        fix = "rows are one object a line, or a list of objects: [{...}, {...}]"
        raise InputError("this is one JSON object over several lines", where=str(text.path), fix=fix)
    return (_start(text) if first is None else first.lstrip()).startswith("[")


def _start(text: TextFile) -> str:
    """The first letters of a file that is one long line."""
    with text.open() as file:
        return file.read(CHUNK).lstrip()


def _ids(text: TextFile, parts: Parts) -> Iterator[Any]:
    """What every whole line says under `id`."""
    try:
        for line in parts(text, LONGEST_LINE):
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


def _rows(text: TextFile, parts: Parts, named: bool, held_by: list[Holder]) -> Iterator[Row | Reject]:
    number, called = 0, "line" if parts is TextFile.lines else "element"
    try:
        for number, line in enumerate(parts(text, LONGEST_LINE), start=1):
            if line is None:
                yield Reject(f"row-{number}", f"{called} {number} has more than {LONGEST_LINE:,} characters")
            elif line.strip():
                yield _row(line, number, f"{called} {number}", named, held_by)
    except BROKEN as error:
        yield Reject(f"row-{number + 1}", f"the file breaks off after {called} {number}: {error}")


def _row(line: str, number: int, at: str, named: bool, held_by: list[Holder]) -> Row | Reject:
    try:
        value = json.loads(line.rstrip(), object_pairs_hook=_object)  # an error at the end is one of this line
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        return Reject(f"row-{number}", f"{at}, column {error.colno}: this is not JSON: {reason}")
    except RecursionError:
        return Reject(f"row-{number}", f"{at}: it is nested too deeply")
    except ValueError as error:
        return Reject(f"row-{number}", f"{at}: {error}")
    if not isinstance(value, dict):
        return Reject(f"row-{number}", f"{at}: an object is wanted, {{...}}, not {_called(value)}")
    try:
        return Row(id_text(value.get("id")) if named else f"row-{number}", flattened(taken_apart(value, held_by)))
    except ValueError as error:
        return Reject(f"row-{number}", f"{at}: {error}")


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
