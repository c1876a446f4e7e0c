"""Keys of a join: what a cell says, however it is written; and where in a table a key stands, at 16 bytes a row."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.contract.cells import Blob, Cell, Span
from triptych.data.columns import ID
from triptych.data.rows import Row

if TYPE_CHECKING:
    import numpy as np

PLAIN = re.compile(r"-?(0|[1-9]\d{0,39})(\.\d{1,40})?", re.ASCII)
"""A number as people write one. Not 007, which is a name, and not 12e5, which may be one."""
BETWEEN = "\x1f"  # a control character made for this


def key_of(cell: Cell) -> str | None:
    """What a cell says as a key: spaces around it do not count, and 7, 7.0 and "7" are one; None where it says nothing.

    Raises:
        ValueError: it is a list.
    """
    if isinstance(cell, Path | Blob | Span):
        return file_of(cell)
    if isinstance(cell, list):
        raise ValueError("a list is no key")
    if cell is None or cell != cell:
        return None
    text = str(cell).strip()
    number = repr(cell) if isinstance(cell, float) else text
    if isinstance(cell, float) or PLAIN.fullmatch(number):
        return _shortest(number)
    return text.lower() if isinstance(cell, bool) else text or None


def _shortest(number: str) -> str:
    plain = format(Decimal(number), "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain


def file_of(cell: Path | Blob | Span) -> str:
    """A file's whole path, or the name of what lies in a table; of a piece that of its recording."""
    source = cell.source if isinstance(cell, Span) else cell
    return source.name if isinstance(source, Blob) else os.path.abspath(source)


def cell_of(row: Row, column: str) -> Cell:
    """A row's cell; `id` is also the row's own id."""
    cell = row.cells.get(column)
    return row.id if cell is None and column == ID else cell


def joined_key(row: Row, columns: Sequence[str], folder: Path) -> str | None:
    """The key of a row of the joined table in `folder`, from where its files are seen; None where one of the columns is empty."""
    keys = []
    for column in columns:
        cell = cell_of(row, column)
        key = key_of(cell)
        keys.append(os.path.relpath(key, folder) if key and _is_file(cell) and os.path.isabs(key) else key)
    return None if None in keys else BETWEEN.join(map(str, keys))


def asked_keys(row: Row, columns: Sequence[str], folders: tuple[Path, Path], beside: Mapping[str, str]) -> Iterator[str]:
    """The ways in which a row of the source may be meant, the plainest first.

    A file is meant by its path from one of `folders`, the joined table's and the source's own, or by its whole path; a recording
    also by the file in the column that stands `beside` its name.

    Raises:
        ValueError: a cell is a list.
    """
    ways = [list(dict.fromkeys(_ways(row, column, folders, beside))) for column in columns]
    return (BETWEEN.join(way) for way in itertools.product(*ways))


def _ways(row: Row, column: str, folders: tuple[Path, Path], beside: Mapping[str, str]) -> Iterator[str]:
    cell = cell_of(row, column)
    if (key := key_of(cell)) is not None and not _is_file(cell):
        yield key
    theirs, ours = folders
    if isinstance(cell, str) and "\0" not in cell and os.path.splitext(cell)[1]:  # the other side may hold it as a file
        yield os.path.relpath(ours / cell.strip(), theirs)
    for held in (cell, row.cells.get(beside.get(column, ""))):
        if isinstance(held, Path | Blob | Span):
            file = file_of(held)
            yield from (os.path.relpath(file, folder) for folder in folders if os.path.isabs(file))
            yield file


def _is_file(cell: Cell) -> bool:
    return isinstance(cell, Path | Blob | Span)


class Places:
    """Where each key stands in a table: its rows ordered by the hashes of their keys."""

    def __init__(self, hashes: Sequence[int], places: Sequence[int]) -> None:
        """One hash and one place a row that has a key."""
        import numpy as np

        hashes_N = np.array(hashes, np.uint64)
        order = np.argsort(hashes_N, kind="stable")
        self.hashes_N: np.ndarray = hashes_N[order]
        self.places_N: np.ndarray = np.array(places, np.int64)[order]

    def find(self, keys: Iterator[str]) -> list[int]:
        """The places of the first of these keys that is there, in the table's order."""
        for key in keys:
            first, last = self.bounds(hashed(key))
            if last > first:
                return [int(place) for place in self.places_N[first:last]]
        return []

    def bounds(self, value: int) -> tuple[int, int]:
        """Where a hash begins and ends among the ordered ones."""
        import numpy as np

        wanted = np.uint64(value)
        return int(np.searchsorted(self.hashes_N, wanted, "left")), int(np.searchsorted(self.hashes_N, wanted, "right"))


def hashed(key: str) -> int:
    """Eight bytes of a key."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
