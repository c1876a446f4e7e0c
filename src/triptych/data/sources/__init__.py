"""From a user's files to rows: what stands at a path, and who reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.modality import Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.delimited import read_delimited
from triptych.data.sources.folder import SPLIT_FOLDERS, read_folder
from triptych.data.stored import SUFFIX, read_stored
from triptych.data.table import Table

__all__ = ["SPLIT_FOLDERS", "open_source", "read_delimited", "read_folder", "read_source"]


def open_source(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """Rows of whatever stands at `path`, as a stream.

    Raises:
        InputError: there is nothing there, or nothing in it that can be read as rows.
    """
    table = read_source(path, rooms)

    def rows() -> Iterator[Row | Reject]:
        yield from table.rejects
        yield from table.rows

    return Source(str(path), rows, table.folder, table.findings, len(table.rows) + len(table.rejects))


def read_source(path: Path, rooms: Mapping[str, Modality]) -> Table:
    """Rows of a folder or a delimited file; nothing is decoded yet.

    Raises:
        InputError: there is nothing there, or nothing in it that can be read as rows.
    """
    if path.suffix == SUFFIX and path.is_dir():
        return read_stored(path)
    if path.is_dir():
        return read_folder(path, rooms)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {str(path)!r}", fix="give a folder of class folders, a .csv or .tsv file, or sample:digits"
        )
    if path.suffix.lower() not in {".csv", ".tsv"}:
        raise InputError(f"cannot read rows from a {path.suffix or 'suffixless'} file", where=str(path), known=["a folder", ".csv", ".tsv"])
    return read_delimited(path)
