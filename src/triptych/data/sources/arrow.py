"""From Arrow's record batches to rows, whatever file or service they came from. pyarrow is imported when it is used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.contract.cells import ADDRESS, Blob, Media
from triptych.data.rows import Reject, Row
from triptych.data.sources.flat import AsMedia, flattened, id_text

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE = 16 * 2**20  # bytes of a batch that are turned into Python values together
MOST_ROWS = 1024


@dataclass(frozen=True)
class Shape:
    """What is known about a file's columns before its rows are read."""

    features: Mapping[str, Any] = field(default_factory=dict)
    """Of a Hugging Face data set, as its JSON has them; they hold the names of classes."""
    left: frozenset[str] = frozenset()
    """Columns that no cell can hold."""

    @property
    def findings(self) -> list[str]:
        """What is left aside."""
        return [f"the column {name!r} holds lists of files and was left aside" for name in sorted(self.left)]


def shape_of(schema: pa.Schema, where: str, features: Mapping[str, Any] | None = None) -> Shape:
    """Of one file; its own note about features counts where none is given.

    Raises:
        InputError: two columns have one name.
    """
    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise InputError(f"two columns are called {twice[0]!r}", where=where, known=schema.names, fix="rename one of the two")
    left = frozenset(column.name for column in schema if _lists_files(column.type) and not _are_files(column.type))
    return Shape(_noted(schema) if features is None else features, left)


def _noted(schema: pa.Schema) -> dict[str, Any]:
    """What `datasets` writes into every file: the features, under `huggingface`."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _are_files(kind: pa.DataType) -> bool:
    """Whether this is a list of files as Hugging Face keeps them, which is a cell of several."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return {field.name for field in kind.value_type} == {"bytes", "path"}


def _lists_files(kind: pa.DataType, inside: bool = False) -> bool:
    """Whether a list, at any depth, holds bytes."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _lists_files(kind.storage_type, inside)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return inside
    fields = [kind.field(place) for place in range(kind.num_fields)]
    return any(_lists_files(held.type, inside or not pa.types.is_struct(kind)) for held in fields)


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in slices of some megabytes; nothing is copied."""
    each = max(1, min(MOST_ROWS, AT_ONCE * batch.num_rows // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, each):
        yield batch.slice(start, each)


def rows_of(
    batches: Iterable[pa.RecordBatch], shape: Shape, folder: Path, name: Callable[[dict[str, Any]], str], more: Mapping[str, str]
) -> Iterator[Row | Reject]:
    """Every row of some batches; `name` makes its id, files by reference start at `folder`, each gets the cells `more` too."""
    for batch in batches:
        for piece in pieces(batch):
            for values in _values(piece, shape):
                row_id = name(values)
                if damaged := [column for column, value in values.items() if value is DAMAGED]:
                    yield Reject(row_id, f"{damaged[0]}: its text is not UTF-8")
                    continue
                try:
                    told = {column: _told(value, shape.features.get(column)) for column, value in values.items()}
                    yield Row(row_id, {**more, **flattened(told, as_media(folder))})
                except ValueError as error:
                    yield Reject(row_id, str(error))


def named_by(prefix: str, named: bool, before: int = 0) -> Callable[[dict[str, Any]], str]:
    """Ids: the row's own, or its number, which goes on after the rows of the files `before`."""
    number = before

    def name(values: dict[str, Any]) -> str:
        nonlocal number
        number += 1
        return prefix + (id_text(values.get("id")) if named else f"row-{number}")

    return name


def as_media(folder: Path) -> AsMedia:
    """`{bytes, path}`, as Hugging Face keeps files, -> the file by value or by reference; an address stays a text."""

    def media(value: Mapping[str, Any]) -> Media | str | None:
        content, path = value["bytes"], value["path"]
        if isinstance(content, bytes):
            return Blob(content, PurePosixPath(PureWindowsPath(path or "").as_posix()).name)
        if not path:
            return None
        return str(path) if ADDRESS.match(path) else folder / path

    return media


def _values(batch: pa.RecordBatch, shape: Shape) -> Iterator[dict[str, Any]]:
    names = [name for name in batch.schema.names if name not in shape.left]
    columns = [listed(_plain(batch.column(place))) for place, name in enumerate(batch.schema.names) if name not in shape.left]
    if not columns:
        yield from ({} for _ in range(batch.num_rows))
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


DAMAGED = object()
"""Stands for a value that Python cannot hold."""


def listed(column: pa.Array) -> list[Any]:
    """A column as Python values; `DAMAGED` for a text that is not UTF-8, which Arrow does not check when it reads a file."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return DAMAGED


def _plain(column: pa.Array) -> pa.Array:
    """Without extension types, dictionaries and dates, which become ISO 8601 texts: Python's own hold fewer years and no nanoseconds."""
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        return _plain(column.storage)
    kind = _plain_type(column.type)
    if kind == column.type:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:  # a time zone that this machine does not know: the moment stays, in UTC
        return column.cast(pa.timestamp(column.type.unit)).cast(kind) if pa.types.is_timestamp(column.type) else column


def _plain_type(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    types = pa.types
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return pa.string()
    if types.is_duration(kind):
        return pa.int64()
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([pa.field(held.name, _plain_type(held.type)) for held in (kind.field(n) for n in range(kind.num_fields))])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _plain_type(kind.value_type)
        return kind if inner == kind.value_type else pa.list_(inner)
    return kind


def _told(value: Any, feature: Any) -> Any:
    """A value with its classes by name instead of number; -1 is how `datasets` writes that there is none.

    Raises:
        ValueError: a class has no name.
    """
    if value is None or not isinstance(feature, Mapping | list):
        return value
    if isinstance(feature, list):
        return [_told(item, feature[0]) for item in value] if len(feature) == 1 and isinstance(value, list) else value
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return _class(value, feature["names"])
    if "feature" in feature:  # a list; of mappings it was once kept as a mapping of lists
        inner = feature["feature"]
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            return {name: [_told(item, inner.get(name)) for item in items or []] for name, items in value.items()}
        return [_told(item, inner) for item in value] if isinstance(value, list) else value
    if isinstance(value, Mapping) and not isinstance(feature.get("_type"), str):
        return {name: _told(held, feature.get(name)) for name, held in value.items()}
    return value


def _class(value: Any, names: list[str]) -> Any:
    if not isinstance(value, int) or value == -1:
        return None if value == -1 else value
    if not 0 <= value < len(names):
        raise ValueError(f"class {value} has no name: there are {len(names)}, from 0 to {len(names) - 1}")
    return names[value]
