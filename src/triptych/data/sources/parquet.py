"""Parquet: one file or a folder of them, read some megabytes at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from triptych.base.errors import InputError
from triptych.contract.modality import Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.arrow import AT_ONCE, MOST_ROWS, Shape, listed, named_by, rows_of, shape_of
from triptych.data.sources.flat import all_named
from triptych.data.sources.folder import SPLIT_FOLDERS, files_in

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """One file."""

    path: Path
    rows: int
    batch: int
    """Rows that are decoded together."""
    shape: Shape
    has_id: bool
    cells: dict[str, str]
    """What its name and folders say of all its rows."""


def read_parquet(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """Structs become columns `a.b`, files that Hugging Face keeps as `{bytes, path}` and binary columns become files by value.

    Dates become ISO 8601 texts; the names of classes that `datasets` noted take the place of their numbers. Of a folder,
    `key=value` folders are columns, and `train-0001.parquet` or `train/` beside others says the side of the split.

    Raises:
        InputError: a file is damaged; it is named. Also later, where the damage is met while rows are read.
    """
    paths = sorted(file for file in files_in(path) if file.suffix.lower() == ".parquet") if path.is_dir() else [path]
    if not paths:
        raise InputError("there is no .parquet file in this folder", where=str(path))
    sides = _sides(paths, path)
    parts = [_part(file, path, sides.get(file)) for file in paths]
    findings = list(dict.fromkeys(said for part in parts for said in part.shape.findings))
    named = functools.cache(lambda: all(part.has_id for part in parts) and all_named(_ids(parts), findings, path.name))
    folder = path if path.is_dir() else path.parent
    return Source(str(path), lambda: _rows(parts, named(), folder), folder, findings, sum(part.rows for part in parts))


def _sides(paths: list[Path], root: Path) -> dict[Path, str]:
    """The side of the split that each file's name or first folder says, where all of them say one."""
    if not root.is_dir():
        return {}
    sides = {}
    for path in paths:
        inside = path.relative_to(root)
        words = [*(part.lower() for part in inside.parts[:-1]), path.stem.split("-")[0].lower()]
        sides[path] = next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "")
    return sides if all(sides.values()) else {}


def _part(path: Path, root: Path, side: str | None) -> Part:
    with _opened(path) as file:
        about, schema = file.metadata, file.schema_arrow
        size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        batch = max(1, min(MOST_ROWS, AT_ONCE * about.num_rows // max(1, size)))
        cells = _partition(path.relative_to(root).parts[:-1]) if root.is_dir() else {}
        if side:
            cells["split"] = side
        return Part(path, about.num_rows, batch, shape_of(schema, str(path)), "id" in schema.names, cells)


def _partition(folders: tuple[str, ...]) -> dict[str, str]:
    pairs = [folder.split("=", 1) for folder in folders if "=" in folder]
    return {unquote(name): unquote(value) for name, value in pairs if name and value not in ("", NO_PARTITION)}


def _opened(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, PermissionError | FileNotFoundError):
        return InputError(f"cannot read the file: {error.strerror or error}", where=str(path))
    first = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"this Parquet file is damaged, or is none: {first}", where=str(path), fix="copy or export it again")


def _batches(part: Part, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    with _opened(part.path) as file:
        try:
            yield from file.iter_batches(part.batch if columns is None else MOST_ROWS, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(part.path, error) from error


def _ids(parts: list[Part]) -> Iterator[Any]:
    for part in parts:
        for batch in _batches(part, ["id"]):
            yield from listed(batch.column(0))


def _rows(parts: list[Part], named: bool, folder: Path) -> Iterator[Row | Reject]:
    before = 0
    for part in parts:
        yield from rows_of(_batches(part), part.shape, folder, named_by("", named, before), part.cells)
        before += part.rows
