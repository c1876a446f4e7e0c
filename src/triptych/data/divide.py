"""The sides of a split, or the folds of a cross-validation, written into a table as a column of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.data.columns import ID, Column, as_field, schema
from triptych.data.settings import SplitSettings
from triptych.data.split import divide, folds
from triptych.data.stored import META, open_dataset, read_about, read_stored

AT_ONCE = 65_536


def write_split(
    table: Path, settings: SplitSettings, stratify: str | None, name: str = "split", parts: int | None = None
) -> dict[str, Any]:
    """Divide the rows of the table at `table`, and make a new version of it that says so in the column `name`.

    Args:
        table: a table on the disk.
        settings: shares, group, seed; as in a recipe.
        stratify: column whose values get the same shares on each side.
        name: the column to write; an older split there is written over.
        parts: number of folds, 0 to `parts` - 1, in place of train, validation and test.

    Returns:
        `rows` and, for each side, how many rows; `version` of the table; `findings`: sides that should have rows and have none.

    Raises:
        InputError: there is no such table or column, or the rows cannot be divided so.
    """
    held = read_stored(table)
    if name == ID or (name in held.columns and not _is_split(held.column(name, "--name"))):
        raise InputError(f"the column {name!r} holds something else", where=str(table), fix="give the split another name with --name")
    if stratify:
        held.require(stratify, "--stratify")
    sides: Sequence[Any] = folds(held, settings, stratify, parts) if parts else divide(held, settings, stratify).splits
    version = _written(table, Column(name, "integer" if parts else "text", as_field(name)), sides)
    counts = Counter(map(str, sides))
    wanted = {} if parts else {"train": 1.0, "validation": settings.validation, "test": settings.test_share}
    why = f"; {settings.group} has too few different values for all sides" if settings.group else ""
    said = [f"no row is {side}{why}" for side, share in wanted.items() if share and not counts[side]]
    return {
        "table": str(table),
        "column": name,
        "version": version,
        "rows": len(sides),
        "sides": dict(sorted(counts.items())),
        "findings": said,
    }


def _is_split(cells: Sequence[object]) -> bool:
    """Whether an older split stands there, which may be written over."""
    found = {str(cell) for cell in cells if cell is not None}
    return found <= {"train", "validation", "test"} or all(cell.isdigit() and len(cell) < 4 for cell in found)


def _written(table: Path, column: Column, sides: Sequence[Any]) -> int:
    """Add the column under a field name of its own; the last step, which names it, makes it the one that is read."""
    import pyarrow as pa

    dataset = open_dataset(table)
    told = read_about(dataset, table)
    fresh = replace(column, field=f"{column.field} v{dataset.version}")
    shape = schema([fresh], {}).remove(0)
    batches = (pa.record_batch([pa.array(sides[at : at + AT_ONCE], shape.types[0])], schema=shape) for at in range(0, len(sides), AT_ONCE))
    dataset.add_columns(pa.RecordBatchReader.from_batches(shape, batches))
    columns = [old for old in told.columns if old.name != column.name] + [fresh]
    packed = replace(told, columns=columns).packed()
    dataset.update_schema_metadata({META: packed[META]})
    if older := [field for old in told.columns if old.name == column.name for field in old.names()]:
        dataset.drop_columns(older)
    return int(dataset.version)
