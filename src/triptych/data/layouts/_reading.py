"""What the layouts share: parts that must be there, lines under a header, files beside their annotations."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.cells import Cell, Span
from triptych.data.rows import Reject, Row
from triptych.data.sources.quoted import Records, Torn

SIDES = {"train": "train", "val": "validation", "validation": "validation", "dev": "validation", "test": "test"}
SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov")
AGAIN = "download and unpack it again"
LONGEST_CELL = 16 * 2**20  # characters; Python's own limit of 131,072 is less than a long document


def missing(what: str, where: Path, of: str, known: Sequence[str] = ()) -> InputError:
    """The error for a part of a layout that is not there. `where` is the path at which it should be."""
    return InputError(
        f"{of}: {what} is missing", where=str(where), known=known, fix="download and unpack it there, as its publisher lays it out"
    )


def first_of(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of some relative paths that is there."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def named(folder: Path) -> list[str]:
    """The names in a folder in their order; none where there is no folder.

    Raises:
        InputError: it may not be looked into; what is missing and what is locked are two things.
    """
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise locked(error) from error


def locked(error: OSError) -> InputError:
    """The error for a folder that cannot be looked into."""
    return InputError(f"cannot look into a folder: {error.strerror}", where=str(error.filename), fix="give yourself the right to read it")


def is_file(path: Path) -> bool:
    """Whether a file is there. A name from an annotation may be one that no file can have (too long): then it is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def records(
    path: Path, required: Sequence[str], *, delimiter: str = ",", quoted: bool = True, header: Sequence[str] | None = None
) -> Iterator[dict[str, str] | Reject]:
    """The lines of a delimited file as dictionaries of stripped cells.

    A line with another number of cells, or a quotation mark that is not closed, is a `Reject`.

    `header` names the columns of a file that has none; lines that start with `#` are left aside then.

    Raises:
        InputError: a required column is not in the header, nothing is below it, or the file cannot be read as text.
    """
    if header is None:
        header = check_header(path, required, delimiter=delimiter)
        skip = 1
    else:
        skip = 0
    empty = True
    for number, line in _lines(path, delimiter, quoted, len(header)):
        if isinstance(line, Torn):
            empty = False
            yield Reject(f"{path.name} line {number}", line.reason)
            continue
        if number <= skip or not line or (not skip and line[0].startswith("#")):
            continue
        empty = False
        if len(line) != len(header):
            yield Reject(f"{path.name} line {number}", f"{len(line)} cells where {len(header)} are expected: {', '.join(header)}")
            continue
        yield {name: cell.strip() for name, cell in zip(header, line, strict=True)}
    if empty:
        raise InputError("there is nothing below the header", where=str(path), fix=AGAIN)


def check_header(path: Path, required: Sequence[str], *, delimiter: str = ",") -> list[str]:
    """The names in a file's first line.

    Raises:
        InputError: one of the required names is not among them.
    """
    _, first = next(text_lines(path, delimiter, True), (1, []))
    header = [name.strip() for name in first]
    absent = [name for name in required if name not in header]
    if absent:
        seen = delimiter.join(header)[:200] or "nothing"
        raise InputError(
            f"the header has no column {absent[0]!r}; it says: {seen}",
            where=f"{path}, line 1",
            known=[f"{delimiter.join(required)} (expected)"],
            fix="put the publisher's file there, with its first line",
        )
    return header


def text_lines(path: Path, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line, read as they are asked for.

    Raises:
        InputError: the file cannot be read, or a quotation mark is not closed.
    """
    for number, line in _lines(path, delimiter, quoted):
        if isinstance(line, Torn):
            raise InputError(f"the line cannot be read: {line.reason}", where=f"{path}, line {number}", fix=AGAIN)
        yield number, line


def _lines(path: Path, delimiter: str, quoted: bool, width: int = 0) -> Iterator[tuple[int, list[str] | Torn]]:
    csv.field_size_limit(LONGEST_CELL)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if quoted:
                records = Records(file, delimiter, width)
                for line in records:
                    number = line.line if isinstance(line, Torn) else records.line
                    yield number, line
                return
            for number, line in enumerate(csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE), start=1):
                yield number, line
    except csv.Error as error:
        raise InputError(f"the line cannot be read: {error}", where=f"{path}, after line {number}", fix=AGAIN) from error
    except UnicodeDecodeError as error:
        raise InputError(f"the file is not UTF-8 text: {error}", where=str(path), fix=AGAIN) from error
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error


def json_file(path: Path) -> dict[str, Any]:
    """A whole JSON file that holds one object.

    Raises:
        InputError: it holds something else, or is cut short.
    """
    try:
        with path.open(encoding="utf-8") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not a whole JSON file: {error}", where=str(path), fix=AGAIN) from error
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    if not isinstance(found, dict):
        raise InputError(f"the file holds a JSON {type(found).__name__} where an object is expected", where=str(path))
    return found


def entries(found: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """A list of objects under a key of an annotation file.

    Raises:
        InputError: it is not there.
    """
    listed = found.get(key)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise InputError(
            f"the annotation file has no list of objects {key!r}",
            where=str(path),
            known=sorted(found)[:20],
            fix="put the publisher's file there",
        )
    return listed


def lacks(entry: Mapping[str, Any], needed: Mapping[str, type | tuple[type, ...]]) -> str | None:
    """What an annotation lacks of the fields it needs, in words; None where it has all."""
    for name, kind in needed.items():
        if name not in entry:
            return f"the annotation has no {name!r}"
        if not isinstance(entry[name], kind) or isinstance(entry[name], bool):
            return f"the annotation's {name!r} is {str(entry[name])[:40]!r}"
    return None


def row_of(row_id: str, column: str, folder: Path, name: str, cells: Mapping[str, Cell]) -> Row | Reject:
    """A row with the file `name` of a folder in its column, and the other cells that hold something.

    A name that is absolute or goes up leads out of the data set: it is refused like a file that is not there.
    """
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return Reject(row_id, f"{name!r} is no file name within {folder}")
    file = folder / name
    if not is_file(file):
        return Reject(row_id, f"the {column} file {file} is not there")
    return Row(row_id, {column: file, **filled(cells)})


def filled(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells that hold something: an absent one has no entry."""
    held = {name: _written(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}
    return {name: cell for name, cell in held.items() if cell is not None and cell != "" and cell != []}


def _written(text: str) -> str:
    """Text that can be written: JSON may hold one half of a character, which becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def once(rows: Iterable[Row | Reject]) -> Iterator[Row | Reject]:
    """The rows, where the later ones of an id become rejects. It remembers the ids, and only them."""
    seen: set[str] = set()
    for row in rows:
        if isinstance(row, Row):
            if row.id in seen:
                yield Reject(row.id, f"the id {row.id!r} stood in an earlier row, which is kept{_file(row)}")
                continue
            seen.add(row.id)
        yield row


def _file(row: Row) -> str:
    """The file of a row that is dropped."""
    for cell in row.cells.values():
        if isinstance(cell, Span | Path):
            return f"; this one is of {cell}"
    return ""


def _refuse(error: OSError) -> None:
    raise locked(error)


class Places:
    """Folders and suffixes at which media were seen below a root; names are tried there, none is remembered."""

    def __init__(self, root: Path, suffixes: Sequence[str]) -> None:
        """Walk once through the folders below `root`. Links are followed, as media often lie on another disk, but no loop is."""
        found: set[tuple[str, str]] = set()
        visited: set[str] = set()
        for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
            real = os.path.realpath(folder)
            folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
            visited.add(real)
            endings = {os.path.splitext(name)[1] for name in files}
            found |= {(folder, ending) for ending in endings if ending.lower() in suffixes}
        self.pairs = [(Path(folder), ending) for folder, ending in sorted(found)]

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def find(self, *stems: str) -> Path | None:
        """The first file called like one of the stems; a stem with a slash is none."""
        for stem in stems:
            for folder, ending in self.pairs if stem and "/" not in stem and "\\" not in stem else ():
                file = folder / f"{stem}{ending}"
                if is_file(file):
                    return file
        return None
