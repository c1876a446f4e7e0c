"""A table on the disk, in the Lance format: rows are read when they are asked for, in any order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.contract.cells import ADDRESS, Blob, Cell, Span
from triptych.data.columns import ID, Column
from triptych.data.held import HELD, held_at
from triptych.data.rows import Row
from triptych.data.several import SEVERAL, unpacked_several
from triptych.data.table import Table

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

SUFFIX = ".lance"
FORMAT = 1
META = "triptych"
AT_ONCE = 64  # rows a read while going through all: some may hold a megabyte
SCALARS_AT_ONCE = 8192


@dataclass(frozen=True)
class About:
    """What the table says of itself: its columns, and the folder that relative paths were relative to."""

    columns: list[Column]
    root: str
    relative_root: str
    """The same folder as seen from the table's own, so that both can be moved together."""

    def packed(self) -> dict[str, str]:
        """As the metadata of an Arrow schema."""
        return {META: json.dumps({"format": FORMAT, **asdict(self)})}


def about(columns: Sequence[Column], root: Path, table: Path) -> About:
    """`root`: the folder of the source; `table`: the table's own folder."""
    absolute = root.resolve()
    return About(list(columns), str(absolute), os.path.relpath(absolute, table.resolve().parent))


def import_lance() -> None:
    """Lance tells of its own doings on standard error; only what is wrong is for the user."""
    os.environ.setdefault("LANCE_LOG", "error")


def is_stored(path: Path) -> bool:
    """Whether a table lies there."""
    return path.suffix == SUFFIX and path.is_dir() and (path / "_versions").is_dir()


def open_dataset(path: Path, version: int | None = None) -> lance.LanceDataset:
    """The Lance data set itself.

    Raises:
        InputError: there is none, it is damaged, or has no such version.
    """
    import_lance()
    import lance

    if not path.exists():
        raise InputError(f"there is no table {str(path)!r}", fix=f"triptych data build SOURCE {path} makes one")
    if not is_stored(path):
        raise InputError("this is not a finished table", where=str(path), fix=f"triptych data build SOURCE {path} makes or finishes it")
    try:
        return lance.dataset(str(path), version=version)
    except (ValueError, OSError) as error:
        raise InputError(f"the table cannot be opened: {str(error).splitlines()[0]}", where=str(path)) from error


def read_about(dataset: lance.LanceDataset, path: Path) -> About:
    """What the table says of itself.

    Raises:
        InputError: it was not made by triptych, or by a later one.
    """
    packed = (dataset.schema.metadata or {}).get(META.encode())
    if packed is None:
        raise InputError(
            "this Lance table was not made by triptych", where=str(path), fix="export it as Parquet and build a table from that"
        )
    told = json.loads(packed)
    if told.pop("format") > FORMAT:
        raise InputError("this table was made by a later version of triptych", where=str(path), fix="update triptych")
    return unpacked(told)


def unpacked(told: dict[str, Any]) -> About:
    """From plain values."""
    return About(**{**told, "columns": [Column(**column) for column in told["columns"]]})


def root_of(told: About, table: Path) -> Path:
    """The folder that the table's relative paths start in: as seen from the table, where both were moved together."""
    beside = Path(os.path.normpath(table.resolve().parent / told.relative_root))
    return beside if beside.is_dir() else Path(told.root)


def read_stored(path: Path, version: int | None = None) -> Table:
    """The table at `path`; its rows stay on the disk."""
    dataset = open_dataset(path, version)
    told = read_about(dataset, path)
    root = root_of(told, path)
    names = [column.name for column in told.columns]
    rows = Stored(dataset, {column.name: column for column in told.columns}, root)
    return Table(list(dict.fromkeys([ID, *names])), rows, str(path), root)


def _listed(cells: pa.ChunkedArray) -> list[Any]:
    """The cells as Python's own; files as they lie in memory, since they are copied once more in any case."""
    import pyarrow as pa

    return [cell.as_buffer() for cell in cells] if cells.type == pa.large_binary() else cells.to_pylist()


@dataclass(frozen=True)
class Stored:
    """Implements `Rows` over a Lance data set. `index` says which of its rows, None all; `changes` are applied when a row is read."""

    dataset: lance.LanceDataset
    columns: dict[str, Column]
    root: Path
    index: Sequence[int] | None = None
    changes: tuple[Callable[[Row], Row], ...] = ()

    def __len__(self) -> int:
        return self.dataset.count_rows() if self.index is None else len(self.index)

    def __getitem__(self, index: int) -> Row:
        return self.take([index])[0]

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.take(range(start, min(start + AT_ONCE, len(self))))

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        if not len(indices):
            return []
        wanted = [self.columns[name] for name in (columns if columns is not None else self.columns) if name in self.columns]
        places = [int(i) for i in indices] if self.index is None else [self.index[i] for i in indices]
        ordered = sorted(set(places))  # Lance reads them in this order, and would copy everything once more to put it back
        found = self.dataset.take(ordered, columns=[ID, *(name for column in wanted for name in column.names())])
        rows = self._put_back(self._rows(found, wanted), ordered, places)
        for change in self.changes:
            rows = [change(row) for row in rows]
        return rows

    @staticmethod
    def _put_back(rows: list[Row], ordered: list[int], places: list[int]) -> list[Row]:
        """Rows read in the table's order, in the order asked for; one that was asked for twice is two rows."""
        if ordered == places:
            return rows
        at = dict(zip(ordered, rows, strict=True))
        return [Row(at[place].id, dict(at[place].cells)) for place in places]

    def ids(self) -> list[str]:
        """See `Rows`."""
        return [str(row_id) for row_id in self._read(ID)]

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        if column != ID and column not in self.columns:
            yield from (None for _ in range(len(self)))
            return
        yield from self._read(self.columns[column].field if column in self.columns else ID)

    def _read(self, field: str) -> Iterator[Cell]:
        """One field of Lance's."""
        if self.index is None:
            for batch in self.dataset.to_batches(columns=[field], batch_size=SCALARS_AT_ONCE, scan_in_order=True):
                yield from batch.column(0).to_pylist()
        else:
            for start in range(0, len(self.index), SCALARS_AT_ONCE):
                places = list(self.index[start : start + SCALARS_AT_ONCE])
                yield from self.dataset.take(places, columns=[field]).column(0).to_pylist()

    def subset(self, indices: Sequence[int]) -> Stored:
        """See `Rows`."""
        return replace(self, index=list(indices) if self.index is None else [self.index[i] for i in indices])

    def mapped(self, change: Callable[[Row], Row]) -> Stored:
        """See `Rows`."""
        return replace(self, changes=(*self.changes, change))

    def decoded(self, found: pa.Table) -> list[Row]:
        """Rows of what Lance gave, with the cells of those columns whose fields are all there."""
        return self._rows(found, [column for column in self.columns.values() if set(column.names()) <= set(found.column_names)])

    def _rows(self, found: pa.Table, columns: Sequence[Column]) -> list[Row]:
        ids = found.column(ID).to_pylist()
        cells: list[dict[str, Cell]] = [{} for _ in ids]
        for column in columns:
            parts = [_listed(found.column(name)) for name in column.names()]
            for row, values in zip(cells, zip(*parts, strict=True), strict=True):
                if values[0] is not None:
                    row[column.name] = self._cell(column, values)
        return [Row(str(row_id), row) for row_id, row in zip(ids, cells, strict=True)]

    def _cell(self, column: Column, values: tuple[Any, ...]) -> Cell:
        if column.kind != "media":
            return values[0]
        name, content, start, end = values
        return unpacked_several(name, content, self._file) if name.startswith(SEVERAL) else self._file(name, content, start, end)

    def _file(self, name: str, content: Any, start: float | None, end: float | None) -> Path | Blob | Span | str:
        if content is None and ADDRESS.match(name):
            return str(name)
        if content is None and name.startswith(HELD):
            return Span(held_at(name, Path(self.dataset.uri)), start or 0.0, end)
        whole = self.root / name if content is None else Blob(content, name)
        return whole if start is None else Span(whole, start, end)
