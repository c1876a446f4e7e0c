"""A row's cells as one text and one run of bytes, files by value, and back; and a word for what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob, Cell, Several, Span

LARGEST = 2**28
"""Bytes of one file: a table of remarks is no place for films of two hours."""
PLAIN = (str, int, float, bool)


def packed(cells: Mapping[str, Any]) -> tuple[str, bytes]:
    """The cells as JSON, and the content of their files end to end; nothing is kept of a cell that is empty.

    Raises:
        BadValue: a file is missing, empty of a kind that no table holds, or larger than `LARGEST`.
    """
    contents: list[bytes] = []
    told = {name: _told(name, cell, contents) for name, cell in cells.items() if cell is not None}
    return json.dumps(told), b"".join(contents)


def unpacked(told: str, content: bytes) -> dict[str, Cell]:
    """The cells again; a file comes as its content."""
    at = 0
    cells: dict[str, Cell] = {}
    for name, one in json.loads(told).items():
        cells[name], at = _cell(one, content, at)
    return cells


def hashed(cells: Mapping[str, Any]) -> str:
    """SHA-256 of what the cells hold, whatever their files are called and in whatever order they were given."""
    word = hashlib.sha256()
    for name in sorted(name for name, cell in cells.items() if cell is not None):
        contents: list[bytes] = []
        told = _nameless(_told(name, cells[name], contents))
        word.update(json.dumps([name, told, [hashlib.sha256(one).hexdigest() for one in contents]], sort_keys=True).encode())
    return word.hexdigest()


def _told(name: str, cell: Any, contents: list[bytes]) -> Any:
    """A cell in plain values; what its file holds is added to `contents`."""
    if isinstance(cell, Several):
        return {"several": [_told(name, item, contents) for item in cell.items]}
    if isinstance(cell, Span):
        return {**_told(name, cell.source, contents), "start": cell.start, "end": cell.end}
    if isinstance(cell, Path | bytes):
        content, called = (_read(name, cell), cell.name) if isinstance(cell, Path) else (bytes(cell), getattr(cell, "name", ""))
        contents.append(content)
        return {"file": called, "bytes": len(content)}
    return {"plain": _checked(name, cell)}


def _checked(name: str, cell: Any) -> Any:
    """Text, a number, a truth value, or lists and mappings of them, as conversations are."""
    if isinstance(cell, list | tuple) and cell and all(isinstance(one, Path | Blob) for one in cell):
        raise BadValue(f"{name}: several files stand in a plain list", fix="give them as Several")
    try:
        json.dumps(cell, allow_nan=False)
    except (TypeError, ValueError) as error:
        what = f"{name}: a {type(cell).__name__} cannot be kept"
        raise BadValue(what, fix="give a file by its path, its bytes, a text or a number") from error
    return cell


def _read(name: str, path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise BadValue(f"{name}: the file is larger than {LARGEST >> 20} MB", where=str(path), fix="give the piece that is meant")
        return path.read_bytes()
    except OSError as error:
        raise BadValue(f"{name}: the file cannot be read: {error.strerror}", where=str(path)) from error


def _nameless(told: Any) -> Any:
    """What is told of a cell, without what its files are called."""
    if "several" in told:
        return {"several": [_nameless(one) for one in told["several"]]}
    return {key: value for key, value in told.items() if key != "file"}


def _cell(told: Mapping[str, Any], content: bytes, at: int) -> tuple[Any, int]:
    """One cell, and where the content of the next one begins."""
    if "several" in told:
        items = []
        for one in told["several"]:
            item, at = _cell(one, content, at)
            items.append(item)
        return Several(tuple(items)), at
    if "plain" in told:
        return told["plain"], at
    size = int(told["bytes"])
    file = Blob(bytes(content[at : at + size]), told["file"])
    return (Span(file, told["start"], told["end"]) if "start" in told else file), at + size
