"""What one look at a file found, kept for the next time: files that were looked through once are not decoded again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sqlite3
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

from triptych.base.files import cache_root, digest
from triptych.base.settings import spelled_out
from triptych.contract.cells import Blob, Cell, Media, Several, Span
from triptych.contract.examined import Examined, Fault
from triptych.contract.modality import Modality

FILE = "looks.sqlite"
FRESH = 2.0
"""Seconds for which a file's time of change is not trusted: it could be written again within the same tick of the clock."""
MAKE = """
create table if not exists files (path text primary key, size integer, changed integer, digest text) without rowid;
create table if not exists looks (key blob primary key, told text, sketch blob) without rowid;
"""


class Looks:
    """Contents of files by path, size and time of change; what was examined of a content by the room that looked.

    One file, `looks.sqlite` in the cache folder, for all tables and recipes; any number of threads and processes may use it.
    Where it cannot be written or is damaged, nothing is kept, or it is begun anew: it only ever spares work.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open or make it, in `folder` or the cache folder."""
        self._lock = threading.Lock()
        self._path = (folder or cache_root()) / FILE
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError:  # it is damaged; of one that others hold locked, nothing is known for now
            for path in self._path.parent.glob(f"{FILE}*"):
                path.unlink(missing_ok=True)
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            db.executescript("pragma journal_mode=wal; pragma synchronous=off;" + MAKE)
        except (sqlite3.OperationalError, OSError):
            return None
        return db

    def close(self) -> None:
        """Write down what was kept."""
        self.flush()
        if self._db is not None:
            self._db.close()
            self._db = None

    def flush(self) -> None:
        """Make it last."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db is not None:
                self._db.commit()

    def forget(self) -> None:
        """Keep nothing of what was seen, and give its room back."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db is not None:
                self._db.executescript("delete from files; delete from looks; vacuum; pragma wal_checkpoint(truncate);")

    def _asked(self, words: str, *values: Any) -> Any:
        """The first row of an answer; None where there is none, or the database fails: then nothing is known."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            return None if self._db is None else self._db.execute(words, values).fetchone()
        return None

    def content(self, cell: Media) -> str:
        """A digest of what the cell holds: of a file, its bytes, however it is called; with its times, of a span.

        Raises:
            OSError: the file cannot be read.
        """
        if isinstance(cell, Several):
            return " and ".join(item if isinstance(item, str) else self.content(item) for item in cell.items)
        if isinstance(cell, Span):
            return f"{self.content(cell.source)} {cell.start!r} {cell.end!r}"
        if isinstance(cell, Blob):
            return hashlib.sha256(cell).hexdigest()
        about = cell.stat()
        name, size, changed = str(cell.absolute()), about.st_size, about.st_mtime_ns
        if found := self._asked("select digest from files where path = ? and size = ? and changed = ?", name, size, changed):
            return str(found[0])
        made = digest(cell)
        if time.time() - about.st_mtime > FRESH:
            self._asked("insert or replace into files values (?, ?, ?, ?)", name, size, changed, made)
        return made

    def get(self, key: bytes) -> Examined | None:
        """What was found under the key, if it was."""
        found = self._asked("select told, sketch from looks where key = ?", key)
        return _examined(*found) if found else None

    def put(self, key: bytes, seen: Examined) -> None:
        """Keep it."""
        told = {name: value for name, value in asdict(seen).items() if name != "sketch"}
        self._asked("insert or replace into looks values (?, ?, ?)", key, json.dumps(told), seen.sketch)


def _examined(told: str, sketch: bytes) -> Examined:
    found: dict[str, Any] = json.loads(told)
    return Examined(**{**found, "sketch": sketch, "faults": tuple(Fault(**fault) for fault in found["faults"])})


def look_key(room: Modality, settings: Any, content: str) -> bytes:
    """Names one look: what was looked at, with which settings (or in whose words), by which code."""
    told = json.dumps([code_of(type(room).__module__), settings if isinstance(settings, str) else spelled_out(settings), content])
    return hashlib.sha256(told.encode()).digest()[:20]


@functools.cache
def code_of(package: str) -> str:
    """A digest of a package's source: another version may see something else."""
    folder = Path(str(sys.modules[package].__file__)).parent
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def is_media(cell: Cell) -> TypeGuard[Media]:
    """Whether the cell is a file, its bytes or a piece of it: what takes time to decode."""
    return isinstance(cell, Path | Blob | Span | Several)
