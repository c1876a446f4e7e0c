"""Rows that hold a list made into a row for each of its entries: the boxes of a picture, the questions about a sound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from triptych.base.errors import InputError, nearest
from triptych.contract.cells import Cell, Several
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import EachSettings
from triptych.data.sources.joined import joined

Entry = Any
"""What stands in a list: plain values, or such lists and objects as JSON has."""


@dataclass
class Taken:
    """What became of the rows."""

    rows: int = 0
    entries: int = 0
    without: int = 0
    again: int = 0
    refused: int = 0
    why: str = ""
    """Entries that are not what `into` says, and why the first is not."""
    columns: dict[str, None] = field(default_factory=dict)


def each_entry(source: Source, words: EachSettings, among: str = "") -> Source:
    """The source with a row for each entry of the column's lists; a row without one stays as it is.

    What became of the rows is among the source's findings after the last. Of several sources each is changed by itself, as
    the paths in their cells start in folders of their own; `among` names the one.

    Raises:
        InputError: no row of the only source has the column; said after the last.
    """
    if source.parts:
        parts = {name: each_entry(part, words, name) for name, part in source.parts.items()}
        return joined(source.name, parts, source.weights or None)
    findings = list(source.findings)

    def rows() -> Iterator[Row | Reject]:
        done = Taken()
        yield from _rows(source.rows(), words, done)
        if not among:
            _check(words, done)
        findings.extend(said for said in (*source.findings, *_in_words(words, done, among)) if said not in findings)

    kept = [name for name in source.columns if name != words.column]
    columns = list(dict.fromkeys([*kept, *(words.into or [words.column]), words.name])) if source.columns else []
    return replace(source, rows=rows, findings=findings, columns=columns, total=None, table=None)


def _rows(rows: Iterable[Row | Reject], words: EachSettings, done: Taken) -> Iterator[Row | Reject]:
    before: set[Cell] = set()
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        done.columns.update(dict.fromkeys(row.cells))
        cell = row.cells.get(words.column)
        mark = row.cells.get(words.once) if words.once else None
        if mark is not None and not isinstance(mark, list):
            if mark in before:
                done.again += 1
                continue
            before.add(mark)
        try:
            found = entries(cell)
        except ValueError as problem:
            yield Reject(row.id, f"{words.column}: {problem}")
            continue
        if not found:
            done.without += 1
            yield Row(row.id, {name: cell for name, cell in row.cells.items() if name != words.column})
            continue
        done.rows += 1
        done.entries += len(found)
        for number, entry in enumerate(found, 1):
            made = _row(row, number, entry, words)
            if isinstance(made, Reject):
                done.refused, done.why = done.refused + 1, done.why or made.reason
            yield made


def _row(row: Row, number: int, entry: Entry, words: EachSettings) -> Row | Reject:
    made = f"{row.id}-{number}"
    places: Mapping[str, Any] = words.into or {words.column: None}
    try:
        new = {name: as_cell(picked(entry, place)) for name, place in places.items()}
    except ValueError as problem:
        return Reject(made, f"{words.column}, entry {number}: {problem}")
    of = {} if row.cells.get(words.name) is not None else {words.name: row.id}
    kept = {name: cell for name, cell in row.cells.items() if name != words.column}
    return Row(made, {name: cell for name, cell in {**kept, **of, **new}.items() if cell is not None})


def entries(cell: Cell) -> Sequence[Entry]:
    """The entries of a cell: a list, several files, or a list as JSON writes it.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(cell, Several):
        return cell.items
    if cell is None or isinstance(cell, list):
        return cell or []
    try:
        found = json.loads(cell) if isinstance(cell, str) else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list):
        return found
    raise ValueError(f"{str(cell)[:60]!r} is no list (columns: {{NAME: {{type: list}}}} makes one of a text with separators)")


def picked(entry: Entry, place: Any) -> Entry:
    """The entry itself, what stands at a place of it or under a name, or several of these.

    Raises:
        ValueError: there is no such place.
    """
    if place is None:
        return entry
    if isinstance(place, list):
        return [picked(entry, each) for each in place]
    if isinstance(place, int):
        if not isinstance(entry, list) or place >= len(entry):
            raise ValueError(
                f"{_short(entry)} has no place {place}" + (" (the first is 0)" if isinstance(entry, list) else ": it is no list")
            )
        return entry[place]
    if not isinstance(entry, dict) or place not in entry:
        raise ValueError(f"{_short(entry)} has nothing called {place!r}")
    return entry[place]


def as_cell(found: Entry) -> Cell:
    """A value of JSON as a cell: lists of plain values as they are, what is nested as JSON again."""
    plain = str | int | float | bool
    if isinstance(found, dict) or (isinstance(found, list) and not all(isinstance(one, plain) for one in found)):
        return json.dumps(found, ensure_ascii=False)
    cell: Cell = found
    return cell


def _short(entry: Entry) -> str:
    said = json.dumps(entry, ensure_ascii=False, default=str)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _check(words: EachSettings, done: Taken) -> None:
    """Refuse a column that no row had, and places that no entry had."""
    for place, name in (("column", words.column), ("once", words.once)):
        if name is not None and done.columns and name not in done.columns:
            close = nearest(name, done.columns, 1)
            fix = f"did you mean {close[0]!r}?" if close else f"name a column of the rows in data.each.{place}"
            raise InputError(f"no row has a column {name!r}, which data.each asks for", known=done.columns, fix=fix)
    if done.entries and done.refused == done.entries:
        raise InputError(f"no entry has what data.each.into asks for; the first: {done.why}", fix="count places from 0")


def _in_words(words: EachSettings, done: Taken, among: str) -> Iterator[str]:
    of = f" of {among}" if among else ""
    yield f"each: {done.rows:,} row{'s' * (done.rows != 1)}{of} became {done.entries:,}, one for each entry of {words.column!r}"
    if done.without:
        rows, stay = ("rows", "stay as they are") if done.without != 1 else ("row", "stays as it is")
        yield f"each: {done.without:,} {rows}{of} without an entry {stay}"
    if done.again:
        rows, are = ("rows", "are") if done.again != 1 else ("row", "is")
        yield f"each: {done.again:,} {rows}{of} {are} left out, as one with the same {words.once!r} came before"
