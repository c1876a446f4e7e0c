"""Some rows of a build: read, judged, and written as one piece of the table. Runs in the building process or in a worker."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue
from triptych.contract.cells import ADDRESS, Blob, Cell, Several, Span
from triptych.contract.modality import Modality
from triptych.data.columns import encoded, schema
from triptych.data.held import HELD, hold
from triptych.data.kinds import readers, suffix_of
from triptych.data.lacking import lacks
from triptych.data.pace import Pace
from triptych.data.rows import Reject, Row
from triptych.data.several import together
from triptych.data.stored import About, import_lance

THREADS = 2
READERS = THREADS + 1
"""Threads that may read a row: those, and the one that gives them work, where it is quicker by itself."""
LARGEST_FILE = 2**30  # bytes of one file that is copied into a table


@dataclass(frozen=True)
class Chunk:
    """Rows in, with all that a worker must know."""

    entries: list[Row | Reject]
    about: About
    table: str
    folder: str
    copied: bool
    append: bool
    rooms: Mapping[str, Modality]


@dataclass(frozen=True)
class Done:
    """A chunk that is on the disk: `taken` = `kept` + rejects; `fragment` is Lance's own word for the piece.

    `lacking`: (row, column, room) of files in which a room that takes such files finds nothing.
    """

    taken: int
    kept: int
    rejects: list[list[str]]
    fragment: str | None
    lacking: list[list[str]] = field(default_factory=list)


Reading = Callable[[int], AbstractContextManager[Any]]
"""Told the place of each row while it is read."""


def write_chunk(chunk: Chunk, reading: Reading = nullcontext) -> Done:
    """Read every value of the rows, and write those that can be used."""
    import_lance()
    import pyarrow as pa
    from lance.fragment import write_fragments

    lacking: list[list[str]] = []
    judged = list(_each(chunk, reading, lacking))
    rejects = [[entry.id, entry.reason] for entry in judged if isinstance(entry, Reject)]
    rows = [entry for entry in judged if not isinstance(entry, Reject)]
    fragment = None
    if rows:
        shape = schema(chunk.about.columns, chunk.about.packed())
        arrays = [pa.array(list(values), kind) for values, kind in zip(zip(*rows, strict=True), shape.types, strict=True)]
        mode = "append" if chunk.append else "overwrite"
        (piece,) = write_fragments(pa.Table.from_arrays(arrays, schema=shape), chunk.table, schema=shape, mode=mode)
        fragment = json.dumps(piece.to_json())
    return Done(len(chunk.entries), len(rows), rejects, fragment, lacking)


def _each(chunk: Chunk, reading: Reading, lacking: list[list[str]]) -> Iterator[list[Any] | Reject]:
    """Every entry judged, in order, in threads where they are faster; `lacking` takes what kept ones lack."""

    def judged_at(place: int) -> tuple[list[Any] | Reject, list[list[str]]]:
        with reading(place):
            found = as_fields(chunk.entries[place], chunk)
            return found, [] if isinstance(found, Reject) else _lacking(chunk.entries[place], chunk)

    places, pace = iter(range(len(chunk.entries))), Pace()
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(places, pace.chunk)):
            with pace.timed(len(some)):
                judged = list((pool.map if pace.threaded else map)(judged_at, some))
            for found, without in judged:
                lacking += without
                yield found


def _lacking(entry: Row | Reject, chunk: Chunk) -> list[list[str]]:
    """(row, column, room) of each room that might find something in a file of the row, and does not."""
    cells = entry.cells if isinstance(entry, Row) else {}
    media = {column.name: cells[column.name] for column in chunk.about.columns if column.kind == "media" and cells.get(column.name)}
    placed = {name: Path(chunk.folder) / cell if isinstance(cell, str) else cell for name, cell in media.items()}
    return [[entry.id, name, room] for name, cell in placed.items() for room in sorted(lacks(cell, chunk.rooms))]


def judge_from(chunk: Chunk, first: int, reading: Reading) -> None:
    """Read the rows from one on, one after the other, and keep nothing: is there one that this process does not survive?"""
    for place in range(first, len(chunk.entries)):
        with reading(place):
            as_fields(chunk.entries[place], chunk)


def as_fields(entry: Row | Reject, chunk: Chunk) -> list[Any] | Reject:
    """The row as the values of the table's fields, or why it cannot be used."""
    if isinstance(entry, Reject):
        return entry
    values: list[Any] = [entry.id]
    known = {column.name for column in chunk.about.columns}
    strange = [name for name, cell in entry.cells.items() if cell is not None and name not in known and name != "id"]
    if strange:
        return Reject(entry.id, f"the table has no column {strange[0]!r}")
    try:
        for column in chunk.about.columns:
            cell = entry.cells.get(column.name)
            values += encoded(_media(cell, chunk, column.read) if column.kind == "media" and cell is not None else cell, column)
    except BadValue as problem:
        return Reject(entry.id, problem.what + (f" ({problem.where})" if problem.where else ""))
    return values


def _media(cell: Cell, chunk: Chunk, known: bool) -> Cell:
    """A media cell, or several in one; of those it is said which cannot be used."""
    if not isinstance(cell, Several | list):
        return _file(cell, chunk, known)
    items = list(cell.items) if isinstance(cell, Several) else cell
    found = []
    for number, item in enumerate(items, start=1):
        try:
            found.append(_file(item if isinstance(item, Path | Blob | Span) else str(item), chunk, known))
        except BadValue as problem:
            raise BadValue(f"{number} of {len(items)}: {problem.what}", where=problem.where) from problem
    return together(found)


def _file(cell: Cell, chunk: Chunk, known: bool) -> Path | Blob | Span:
    """A media cell that was read and is fine: its path relative to the source's folder where it lies in it, or its content.

    `known`: most files of its column are of a kind that is read here, and so must this one be.

    A recording of which spans are taken is never copied into a cell: a film of two hours would be there once a row.
    """
    if isinstance(cell, Span):
        _read(cell, chunk.rooms, known)
        whole = cell.source
        lies = hold(whole, Path(chunk.table)) if chunk.copied or isinstance(whole, Blob) else _named(whole, chunk)
        return replace(cell, source=lies)
    if isinstance(cell, str) and ADDRESS.match(cell):
        raise BadValue(f"{cell} is an address, and nothing is fetched; download it and name the file")
    found: Path | Blob = cell if isinstance(cell, Blob | Path) else Path(chunk.folder) / str(cell)
    if isinstance(found, Path) and chunk.copied and found.is_file():
        content = Blob(_content(found), str(found))
        _read(content, chunk.rooms, known)  # what was judged is what is kept, and it is read once
        return Blob(content, str(_named(found, chunk)))
    _read(found, chunk.rooms, known)
    return _named(found, chunk) if isinstance(found, Path) else found


def _named(path: Path, chunk: Chunk) -> Path:
    """As the table says it. Compared as text: `Path.relative_to` took a sixth of the time of a build."""
    name, folder = str(path), chunk.folder.rstrip(os.sep) + os.sep
    inside = name.startswith(folder) and not name.startswith(HELD, len(folder))
    return Path(name[len(folder) :]) if inside else path.absolute()


def _read(value: Path | Blob | Span, rooms: Mapping[str, Modality], known: bool) -> None:
    """Let a room that takes such files read it; where several do, one that can is enough.

    Raises:
        BadValue: none can read it; the reason is that of the room whose files they are. Or no room takes such files, and
            they are `known`.
    """
    whole = value.source if isinstance(value, Span) else value
    name = whole.name if isinstance(whole, Blob) else str(whole)
    problems: list[BadValue] = []
    fitting = readers(suffix_of(name), rooms.values())
    for room in fitting:
        try:
            room.read(bytes(value) if isinstance(value, Blob) else value)
            return
        except BadValue as problem:
            where = name if isinstance(value, Blob) else problem.where or name  # a room knows bytes by their number only
            problems.append(BadValue(problem.what, where=where))
    if problems:
        raise problems[0]
    if isinstance(whole, Path) and not whole.is_file():
        raise BadValue("there is no such file", where=name)
    if isinstance(whole, Blob) and not whole:
        raise BadValue("the file is empty", where=name)
    if known and not fitting:
        raise BadValue("this is not a file of a kind that is read here", where=name)


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST_FILE:
        raise BadValue(f"the file is larger than {LARGEST_FILE >> 20} MB", where=str(path), fix="leave it outside the table")
    return path.read_bytes()
