"""A source for training: a small one in memory, a large one as a table in the cache folder, where its rows are read by number."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.base.files import cache_root, in_use, write_json
from triptych.contract.cells import Blob, Cell, Several, Span
from triptych.contract.modality import Modality
from triptych.data.build import SILENT, Plan, build
from triptych.data.rejects import read_rejects
from triptych.data.rows import Listed, Reject, Row, Source
from triptych.data.settings import RowSettings
from triptych.data.sources import open_source
from triptych.data.sources.stamps import stamp
from triptych.data.stored import SUFFIX, is_stored, read_stored
from triptych.data.table import Table

HELD_BYTES = 64 * 2**20
ROW_BYTES = 400  # a row, its dictionary and its id, before what stands in its cells


def read_source(path: Path, rooms: Mapping[str, Modality], voice: Any = SILENT) -> Table:
    """Whatever stands at a path, as a table: see `open_source` and `as_table`."""
    return as_table(open_source(path, rooms), RowSettings(source=str(path)), rooms, voice)


def as_table(source: Source, words: RowSettings, rooms: Mapping[str, Modality], voice: Any) -> Table:
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
    in_use(path)
    if not is_stored(path):
        _bring(source, path, rooms, voice)
    beside = path.with_name(f"{path.name}.rejects.csv")
    rejects = read_rejects(beside) if beside.exists() else []
    findings = json.loads(_notes(path).read_text(encoding="utf-8")) if _notes(path).exists() else []
    return replace(read_stored(path), source=source.name, rejects=rejects, findings=findings)


def _bring(source: Source, path: Path, rooms: Mapping[str, Modality], voice: Any) -> None:
    """Build the table, or wait for the process that builds it."""
    with _in_turn(path.with_name(f"{path.name}.lock"), voice):
        if is_stored(path):
            return
        voice.say(f"the rows are many, so they are brought into a table once: {path}")
        built = build(source, path, rooms, Plan(max_rejected=1.0), voice)
        write_json(_notes(path), list(dict.fromkeys([*source.findings, *built.findings])))


def _notes(path: Path) -> Path:
    """What a reader found while it read: the next run does not read the source again, and says it too."""
    return path.with_name(f"{path.name}.findings.json")


@contextmanager
def _in_turn(path: Path, voice: Any) -> Iterator[None]:
    """One process after the other; the lock ends with its process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            voice.say("another process brings these rows into a table; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    if isinstance(cell, Several):
        return sum(map(_bytes, cell.items))
    whole = cell.source if isinstance(cell, Span) else cell
    return len(whole) if isinstance(whole, Blob | str | list) else 0


def _key(source: Source, words: RowSettings) -> str:
    """What the rows depend on: the words that say where they are and what is made of them, and every file there."""
    asked = words.model_dump_json(include={"source", "columns", "empty", "windows", "join"})
    return hashlib.sha256(f"{asked}\n{stamp(source)}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
