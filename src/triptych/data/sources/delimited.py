"""A CSV or TSV file with a header, whatever its delimiter and encoding."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from triptych.base.errors import InputError
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.encoded import BROKEN, TextFile, look
from triptych.data.sources.flat import all_named
from triptych.data.sources.quoted import FIX, Records, Torn

DELIMITERS = ",;\t|"
LONGEST_CELL = 16 * 2**20  # characters; Python's own limit of 131,072 is less than a long document


@dataclass(frozen=True)
class Delimited:
    """A file whose delimiter and header are known."""

    text: TextFile
    delimiter: str
    header: list[str]
    named: bool = False
    """Whether its ids name the rows: each has one, and no two the same."""


def read_delimited(path: Path) -> Source:
    """A CSV or TSV file with a header, read line by line; delimiter and byte-order mark are found by looking.

    A line with more cells than the header costs that row, and so does a quotation mark that is not closed; one with fewer cells is
    kept, and said. Cells are stripped; empty ones are absent.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    text = look(path, "export it as CSV in UTF-8")
    delimiter = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else _delimiter(text)
    lines = _lines(text, delimiter)
    first = next(lines, None)
    if first is None:
        raise InputError("the file is empty", where=str(path))
    if isinstance(first, Torn):
        raise InputError(f"this is not a header: {first.reason.partition(';')[0]}", where=f"{path}, line {first.line}", fix=FIX)
    file = Delimited(text, delimiter, _header(first, path))
    nameless = [str(place) for place, name in enumerate(file.header, start=1) if not name]
    findings = [*text.findings, *(f"{path.name}: column {place} has no name and was left aside" for place in nameless)]
    total, named = _looked_through(lines, file, findings)
    if not total:
        raise InputError("the file has no rows below its header", where=str(path))
    columns = [name for name in file.header if name]
    return Source(str(path), lambda: _rows(replace(file, named=named)), path.parent, findings, total, columns)


def _looked_through(lines: Iterator[list[str] | Torn], file: Delimited, findings: list[str]) -> tuple[int, bool]:
    """How many rows there are, and whether their ids name them; every line is read once, so a file that breaks off says so now."""
    place, total, short = (file.header.index("id") if "id" in file.header else -1), 0, []

    def ids() -> Iterator[str]:
        nonlocal total
        for line in lines:
            total += 1
            if isinstance(line, Torn):
                continue
            short.extend([total] if len(line) < len(file.header) else [])
            yield line[place] if 0 <= place < len(line) else ""

    named = all_named(ids(), findings, file.text.path.name)
    if short:
        some = f"{len(short):,} row{'s have' if len(short) > 1 else ' has'} fewer cells than the header"
        findings.append(f"{file.text.path.name}: {some}, the first is row {short[0]:,}; what is missing counts as empty")
    return total, named


def _lines(text: TextFile, delimiter: str) -> Iterator[list[str] | Torn]:
    """All records with anything in them, and lines that are none."""
    csv.field_size_limit(LONGEST_CELL)
    try:
        with text.open(newline="") as file:
            records = Records(file, delimiter)
            for line in records:
                if isinstance(line, Torn) or any(cell.strip() for cell in line):
                    yield line
    except csv.Error as error:
        raise InputError(f"this is not a delimited text file: {error}", where=f"{text.path}, line {records.line}") from error
    except BROKEN as error:
        raise InputError(f"the file breaks off: {error}", where=str(text.path), fix="copy or export it again") from error


def _delimiter(text: TextFile) -> str:
    """The candidate that splits the header most, among those that split the next lines as often (a comma in prose does not)."""
    counts = {mark: [len(line) for line in _first_lines(text, mark)] or [1] for mark in DELIMITERS}
    agreeing = {mark: sum(n == counted[0] for n in counted) / len(counted) for mark, counted in counts.items() if counted[0] > 1}
    return max(agreeing, key=lambda mark: (round(agreeing[mark], 1), counts[mark][0]), default=",")


def _first_lines(text: TextFile, mark: str) -> list[list[str]]:
    """Twenty lines as they would be split by `mark`; a quoted cell may span several lines of the file."""
    try:
        with text.open(newline="") as file:
            lines = islice(Records(file, mark), 20)
            return [line for line in lines if not isinstance(line, Torn) and any(map(str.strip, line))]
    except (csv.Error, *BROKEN):
        return []


def _header(cells: list[str], path: Path) -> list[str]:
    """The columns' names; one without a name (an index that a spreadsheet wrote) stays empty."""
    header = [cell.strip() for cell in cells]
    while header and not header[-1]:  # a trailing delimiter
        header.pop()
    twice = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if twice:
        known = [name for name in header if name]
        raise InputError(f"two columns are called {twice[0]!r}", where=f"{path}, first line", known=known, fix="rename one of the two")
    return header


def _rows(file: Delimited) -> Iterator[Row | Reject]:
    header = file.header
    place = header.index("id") if file.named else -1
    for number, line in enumerate(islice(_lines(file.text, file.delimiter), 1, None), start=1):
        if isinstance(line, Torn):
            yield Reject(f"{file.text.path.name} line {line.line}", line.reason)
            continue
        row_id = line[place].strip() if file.named else f"row-{number}"
        if any(cell.strip() for cell in line[len(header) :]):
            yield Reject(row_id, f"{len(line)} cells where the header has {len(header)}")
        else:
            yield Row(row_id, {name: cell.strip() for name, cell in zip(header, line, strict=False) if name and cell.strip()})
