"""Where the files that rows name by reference lie, as a table on the disk says it: relative to one folder, so that both can move."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from triptych.contract.cells import ADDRESS, Cell, Several, Span
from triptych.data.rows import Row, Source
from triptych.data.several import each, together
from triptych.data.sources.joined import mapped
from triptych.data.stored import About, root_of


def common_folder(source: Source) -> Path:
    """The folder of a source; of several the one above all of theirs, where that is not the root of the disk."""
    folders = list(_folders(source))
    above = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    return above if above != Path(above.anchor) else folders[0].absolute()


def _folders(source: Source) -> Iterator[Path]:
    if not source.parts:
        yield source.folder
    for part in [*source.parts.values(), *source.reads]:
        yield from _folders(part)


def placed(source: Source, told: About, table: Path) -> Source:
    """The rows with a whole path in each cell of a media column, and as the source's folder the one the table counts from."""
    root, here = root_of(told, table), common_folder(source)
    media = {column.name for column in told.columns if column.kind == "media"}

    def change(row: Row, folder: Path) -> Row:
        return Row(row.id, {name: placed_cell(cell, folder) if name in media else cell for name, cell in row.cells.items()})

    return replace(mapped(source, change), folder=here if here.resolve() == root.resolve() else root)


def placed_cell(cell: Cell, folder: Path) -> Cell:
    """The cell of a media column with whole paths; those that are not whole start in `folder`."""
    if isinstance(cell, Several | list):
        return together([placed_cell(item, folder) for item in (cell if isinstance(cell, list) else each(cell))])
    if isinstance(cell, Span) and isinstance(cell.source, Path):
        return replace(cell, source=cell.source.absolute())
    if isinstance(cell, Path):
        return cell.absolute()
    return (folder / cell).absolute() if isinstance(cell, str) and not ADDRESS.match(cell) else cell
