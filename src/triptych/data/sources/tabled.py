"""A source for training: a small one in memory, a large one as a table in the cache folder, where its rows are read by number."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.base.files import cache_root
from triptych.contract.cells import Blob, Cell, Span
from triptych.contract.modality import Modality
from triptych.data.build import SILENT, Plan, build
from triptych.data.rejects import read_rejects
from triptych.data.rows import Listed, Reject, Row, Source
from triptych.data.settings import DataSettings
from triptych.data.sources import open_source
from triptych.data.sources.folder import files_in
from triptych.data.sources.hub import is_name
from triptych.data.sources.patterns import expanded, is_pattern
from triptych.data.stored import SUFFIX, is_stored, read_stored
from triptych.data.table import Table

HELD_BYTES = 64 * 2**20
ROW_BYTES = 400  # a row, its dictionary and its id, before what stands in its cells


def read_source(path: Path, rooms: Mapping[str, Modality], voice: Any = SILENT) -> Table:
    """Whatever stands at a path, as a table: see `open_source` and `as_table`."""
    return as_table(open_source(path, rooms), DataSettings(source=str(path)), rooms, voice)


def as_table(source: Source, words: DataSettings, rooms: Mapping[str, Modality], voice: Any) -> Table:
    """The table in which the rows stand, or all of them in memory; where they are many, a table of them in the cache folder.

    Such a table is made once: it is found again as long as the source's files and the words of the recipe are the same.
    """
    if source.table is not None:
        return source.table
    path = cache_root() / "tables" / f"{_key(source, words)}{SUFFIX}"
    if not is_stored(path):
        held = collected(source, HELD_BYTES)
        if held is not None:
            return held
        voice.say(f"the rows are many, so they are brought into a table once: {path}")
        build(source, path, rooms, Plan(max_rejected=1.0), voice)
    table = read_stored(path)
    beside = path.with_name(f"{path.name}.rejects.csv")
    rejects = read_rejects(beside) if beside.exists() else []
    return replace(table, source=source.name, rejects=rejects, findings=list(source.findings))


def collected(source: Source, most: float = math.inf) -> Table | None:
    """All rows in memory, or None where they take more than so many bytes.

    Columns that a stream does not know before come in the order in which they are met.
    """
    rows: list[Row] = []
    rejects: list[Reject] = []
    columns: dict[str, None] = dict.fromkeys(source.columns)
    size = 0
    for row in source.rows():
        if isinstance(row, Reject):
            rejects.append(row)
            continue
        rows.append(row)
        columns.update(dict.fromkeys(row.cells))
        size += ROW_BYTES + sum(map(_bytes, row.cells.values()))
        if size > most:
            return None
    return Table(list(columns), Listed(rows), source.name, source.folder, rejects=rejects, findings=list(source.findings))


def _bytes(cell: Cell) -> int:
    whole = cell.source if isinstance(cell, Span) else cell
    return len(whole) if isinstance(whole, Blob | str | list) else 0


def _key(source: Source, words: DataSettings) -> str:
    """What the rows depend on: the words that say where they are and what is made of them, and every file there."""
    asked = words.model_dump_json(include={"source", "columns"})
    told = "\n".join([asked, *(stamp for word in words.sources for stamp in _stamps(word)), *_versions(source)])
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _versions(source: Source) -> Iterator[str]:
    yield source.version
    for part in source.parts.values():
        yield from _versions(part)


def _stamps(word: str) -> Iterator[str]:
    if is_name(word):
        return
    path = Path(word)
    files = files_in(path) if path.is_dir() else expanded(path) if is_pattern(path) else [path]
    for file in files:
        about = os.stat(file)
        yield f"{file} {about.st_size} {about.st_mtime_ns}"
