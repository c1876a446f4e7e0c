"""What `data.windows` and `data.join` make of a stream of rows: first the windows, then one table after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from triptych.contract.cells import ADDRESS, Cell
from triptych.contract.modality import Modality
from triptych.data.align.byid import ById
from triptych.data.align.bytime import ByTime
from triptych.data.align.side import Side
from triptych.data.align.timeline import Timeline
from triptych.data.align.windows import cut
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import RowSettings, TimeJoin
from triptych.data.sources.joined import mapped


def aligned(source: Source, words: RowSettings, sides: Sequence[Side], rooms: Mapping[str, Modality]) -> Source:
    """The rows cut into windows and joined with the tables of `sides`, which are read when the first row is.

    What was matched and what was not is among the source's findings after the last row.
    """
    if not words.windows and not sides:
        return source
    wanted = {words.windows.column if words.windows else None, *(join.at for join in words.join if isinstance(join, TimeJoin))}
    found = mapped(source, lambda row, folder: _placed(row, folder, wanted, rooms, bool(source.parts)))
    joins = [_join(words, number, side, source.folder) for number, side in enumerate(sides)]
    findings: list[str] = list(source.findings)

    def rows() -> Iterator[Row | Reject]:
        told: list[str] = []
        stream = found.rows()
        if words.windows:
            stream = cut(stream, words.windows, rooms, source.folder, told)
        for join in joins:
            stream = join.join(stream, told)
        yield from stream
        told = [*source.findings, *(said for side in sides for said in side.table.findings), *told]
        findings.extend(said for said in told if said not in findings)

    columns = [*source.columns, *([words.windows.name] if words.windows and source.columns else [])]
    version = words.model_dump_json(include={"columns", "windows", "join"})
    reads = (source, *(side.source for side in sides))
    return Source(
        source.name, rows, source.folder, findings, None, list(dict.fromkeys(columns)), weights=source.weights, reads=reads, version=version
    )


def _join(words: RowSettings, number: int, side: Side, folder: Path) -> ById | ByTime:
    join, windows, place = words.join[number], words.windows, f"data.join.{number}"
    folders = (side.source.folder, folder)
    beside = {windows.name: windows.column} if windows else {}
    if isinstance(join, TimeJoin):
        return ByTime(Timeline(side, join, place, windows), folders, beside)
    return ById(side, join, place, folders, beside)


def _placed(row: Row, folder: Path, wanted: set[str | None], rooms: Mapping[str, Modality], all_files: bool) -> Row:
    """Names of files as paths from the folder of their own source: in the columns that are asked for; of several sources in all."""
    cells: dict[str, Cell] = {}
    for name, cell in row.cells.items():
        if isinstance(cell, str) and (name in wanted or all_files) and not ADDRESS.match(cell) and len(cell) < 1000 and "\0" not in cell:
            suffix = Path(cell).suffix.lower()
            named = any(room.by_reference and suffix in room.suffixes for room in rooms.values())
            if named and (name in wanted or (folder / cell).is_file()):
                cell = folder / cell
        cells[name] = cell
    return replace(row, cells=cells)
