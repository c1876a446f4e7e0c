"""Cells of several files: read one by one, and kept in one field of a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue
from triptych.contract.cells import ADDRESS, Blob, Cell, Several, Span
from triptych.contract.modality import Modality

if TYPE_CHECKING:
    from triptych.contract.values import Value

SEVERAL = "several:"
"""How the name of such a cell begins in a table; how many there are and what each is follows."""
Part = tuple[str, bytes | None, float | None, float | None]
"""Name, content where it lies in the table, start and end of a span: what a table keeps of a file."""


def each(cell: Cell) -> list[Any]:
    """The files of a cell."""
    return list(cell.items) if isinstance(cell, Several) else [cell]


def together(cells: list[Any]) -> Any:
    """A cell of some files: nothing, the one, or several."""
    return (Several(tuple(cells)) if len(cells) > 1 else cells[0]) if cells else None


def as_cell(room: Modality, given: Any) -> Any:
    """What a user gives for an input: a list of files is a cell of several; everything else is the room's to read."""
    if not (room.by_reference and isinstance(given, list | tuple) and given and all(isinstance(one, str | Path | bytes) for one in given)):
        return given
    return together([Path(one) if isinstance(one, str) and not ADDRESS.match(one) else one for one in given])


def counted(cell: Cell) -> int:
    """How many files a cell has, also where a table gives only its name."""
    if isinstance(cell, str) and cell.startswith(SEVERAL):
        return int(cell[len(SEVERAL) :].split(" ", 1)[0])
    return len(each(cell)) if cell is not None else 0


def names(cell: Cell) -> list[str]:
    """What the files of a cell are called, also where a table gives only its name."""
    if isinstance(cell, str) and cell.startswith(SEVERAL):
        return [str(told[0]) for told in json.loads(cell[len(SEVERAL) :].split(" ", 1)[1])]
    wholes = [item.source if isinstance(item, Span) else item for item in each(cell)]
    return [whole.name if isinstance(whole, Blob) else str(whole) for whole in wholes]


def read_each(room: Modality, cell: Cell) -> list[Value]:
    """The values of a cell.

    Raises:
        BadValue: one cannot be read, or is an address; of several it is said which.
    """
    if not isinstance(cell, Several):
        return [room.read(cell)]
    values = []
    for number, item in enumerate(cell.items, start=1):
        try:
            values.append(room.read(_fetched(item)))
        except BadValue as problem:
            raise type(problem)(f"{number} of {len(cell.items)}: {problem.what}", where=problem.where, fix=problem.fix) from problem
    return values


def _fetched(item: Path | Blob | Span | str) -> Path | Blob | Span | str:
    if isinstance(item, str) and ADDRESS.match(item):
        raise BadValue(f"{item} is an address, and nothing is fetched; download it and name the file")
    return item


def packed_several(parts: list[Part]) -> tuple[str, bytes | None]:
    """Name and content of a cell of several."""
    told = [(name, None if content is None else len(content), start, end) for name, content, start, end in parts]
    contents = [content for _, content, _, _ in parts if content is not None]
    return f"{SEVERAL}{len(parts)} {json.dumps(told, ensure_ascii=False)}", b"".join(contents) if contents else None


def unpacked_several(name: str, content: Any, one: Callable[[str, Any, float | None, float | None], Any]) -> Several:
    """The cell again; `one` makes a file of each part."""
    items, at = [], 0
    for told, size, start, end in json.loads(name[len(SEVERAL) :].split(" ", 1)[1]):
        items.append(one(told, None if size is None else bytes(memoryview(content)[at : at + size]), start, end))
        at += size or 0
    return Several(tuple(items))
