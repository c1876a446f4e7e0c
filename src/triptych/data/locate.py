"""From the names of files in cells to paths: a cell says `clips/a.wav`, the folder of its table says where that is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from triptych.contract.cells import ADDRESS, Cell, Several
from triptych.contract.modality import Modality
from triptych.data.rows import Row
from triptych.data.several import each, together
from triptych.data.table import Table


def locate(table: Table, columns: Mapping[str, Modality]) -> Table:
    """Turn the cells of by-reference columns into paths, relative to the table's folder.

    So are cells of the other columns that name a file of their room which is there: the file is meant, not its name.
    """
    return replace(table, rows=table.rows.mapped(lambda row: located(row, table.folder, columns)))


def located(row: Row, folder: Path, columns: Mapping[str, Modality]) -> Row:
    """One row of a table in `folder`; `columns` says the rooms of those columns that are inputs."""
    placed = {name: _placed(row.cells.get(name), folder, room) for name, room in columns.items()}
    return Row(row.id, {name: cell for name, cell in {**row.cells, **placed}.items() if cell is not None})


def _placed(cell: Cell, folder: Path, room: Modality) -> Cell:
    if isinstance(cell, Several) or (isinstance(cell, list) and room.by_reference):
        return together([_placed(item, folder, room) for item in (cell if isinstance(cell, list) else each(cell))])
    if not isinstance(cell, str) or ADDRESS.match(cell):
        return cell
    return folder / cell if room.by_reference or _names_a_file(cell, folder, room) else cell


def _names_a_file(cell: str, folder: Path, room: Modality) -> bool:
    if len(cell) > 1000 or "\0" in cell or os.path.splitext(cell)[1].lower() not in room.suffixes:
        return False
    try:
        return (folder / cell).is_file()
    except OSError:
        return False
