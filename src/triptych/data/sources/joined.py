"""Sources as streams: several in one, or changed row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import SOURCE
from triptych.data.table import Table

Change = Callable[[Row, Path], Row | Reject]


def joined(name: str, parts: Mapping[str, Source], weights: Mapping[str, float] | None = None) -> Source:
    """Sources one after the other, `part/` before their ids. With `weights` they are a mixture: each row says its part."""
    findings = list(dict.fromkeys(said for source in parts.values() for said in source.findings))

    def rows() -> Iterator[Row | Reject]:
        for part, source in parts.items():
            told = {} if weights is None else {SOURCE: part}
            for row in source.rows():
                yield _within(part, row, told)
            findings.extend(said for said in source.findings if said not in findings)

    columns = list(dict.fromkeys(column for source in parts.values() for column in source.columns))
    totals = [source.total for source in parts.values()]
    total = None if None in totals else sum(filter(None, totals))
    folder = next(iter(parts.values())).folder
    return Source(name, rows, folder, findings, total, columns, parts, dict(weights or {}))


def _within(part: str, row: Row | Reject, told: Mapping[str, str]) -> Row | Reject:
    if isinstance(row, Reject):
        return Reject(f"{part}/{row.id}", row.reason)
    return Row(f"{part}/{row.id}", {**row.cells, **told})


def mapped(source: Source, change: Change) -> Source:
    """Every row as `change` gives it, which is told the folder that the row's relative paths start in."""
    if source.parts:
        parts = {name: mapped(part, change) for name, part in source.parts.items()}
        return joined(source.name, parts, source.weights or None)

    def rows() -> Iterator[Row | Reject]:
        for row in source.rows():
            yield row if isinstance(row, Reject) else change(row, source.folder)

    return replace(source, rows=rows, table=None)


def held(table: Table) -> Source:
    """A table as a source."""

    def rows() -> Iterator[Row | Reject]:
        yield from table.rows
        yield from table.rejects

    total = len(table.rows) + len(table.rejects)
    return Source(table.source, rows, table.folder, table.findings, total, table.columns, table=table)
