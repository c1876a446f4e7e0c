"""What the rows of a source depend on, in short words: when one of them changes, the rows may have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from triptych.contract.cells import Blob, Cell, Span
from triptych.data.rows import Reject, Source
from triptych.data.sources.folder import refuse
from triptych.data.sources.hub import is_name
from triptych.data.sources.patterns import expanded, is_pattern


def stamp(source: Source) -> str:
    """One word for all of `stamps`."""
    return hashlib.sha256("\n".join(stamps(source)).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def stamps(source: Source) -> Iterator[str]:
    """Name, size and time of every file that a source reads; of what has no files its version, or the hash of its rows."""
    if source.words:
        yield source.words
    if source.reads:
        yield source.version
        for part in source.reads:
            yield from stamps(part)
        return
    if source.parts:
        for name, part in source.parts.items():
            yield name
            yield from stamps(part)
        return
    yield source.name
    path = Path(source.name)
    if source.version or is_name(source.name):
        yield source.version
    elif path.exists() or is_pattern(path):
        for file in _files(path):
            yield _stamp(file)
    else:
        yield content(source)


def _files(path: Path) -> Iterator[Path]:
    """All files there. Unlike where rows are made of files, links to folders are followed: a layout's media may lie behind one."""
    if not path.is_dir():
        yield from expanded(path) if is_pattern(path) else [path]
        return
    visited: set[str] = set()
    for root, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in sorted(files) if real not in visited and not name.startswith("."))
        visited.add(real)


def _stamp(file: Path) -> str:
    try:
        about = file.stat()
    except OSError:  # a link to nothing
        return f"{file} gone"
    return f"{file} {about.st_size} {about.st_mtime_ns}"


def content(source: Source) -> str:
    """The hash of all rows; of a file by reference its name, size and time."""
    told = hashlib.sha256()
    for row in source.rows():
        told.update(f"\n{row.id!r}".encode())
        if isinstance(row, Reject):
            told.update(row.reason.encode("utf-8", "surrogatepass"))
            continue
        for name, cell in row.cells.items():
            told.update(f"\n{name!r}: {type(cell).__name__} ".encode())
            told.update(_bytes(cell))
    return told.hexdigest()


def _bytes(cell: Cell) -> bytes:
    if isinstance(cell, Span):
        return f"{cell.start} {cell.end} ".encode() + _bytes(cell.source)
    if isinstance(cell, Path):
        return _stamp(cell).encode("utf-8", "surrogateescape")
    return hashlib.sha256(cell).digest() if isinstance(cell, Blob) else repr(cell).encode("utf-8", "surrogatepass")
