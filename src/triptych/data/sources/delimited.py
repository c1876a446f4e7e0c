"""A CSV or TSV file with a header, whatever its delimiter and encoding."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from triptych.base.errors import InputError
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.encoded import BROKEN, TextFile, look
from triptych.data.sources.flat import all_named

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

    A line with more cells than the header costs that row; one with fewer is kept, and said. Cells are stripped; empty ones are absent.

    Raises:
        InputError: it cannot be read, has no rows, or a quotation mark is never closed.
    """
    text = look(path, "export it as CSV in UTF-8")
    delimiter = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else _delimiter(text)
    lines = _lines(text, delimiter)
    first = next(lines, None)
    if first is None:
        raise InputError("the file is empty", where=str(path))
    file = Delimited(text, delimiter, _header(first, path))
    nameless = [str(place) for place, name in enumerate(file.header, start=1) if not name]
    findings = [*text.findings, *(f"{path.name}: column {place} has no name and was left aside" for place in nameless)]
    total, named = _looked_through(lines, file, findings)
    if not total:
        raise InputError("the file has no rows below its header", where=str(path))
    columns = [name for name in file.header if name]
    return Source(str(path), lambda: _rows(replace(file, named=named)), path.parent, findings, total, columns)


def _looked_through(lines: Iterator[list[str]], file: Delimited, findings: list[str]) -> tuple[int, bool]:
    """How many rows there are, and whether their ids name them; every line is read once, so a file that breaks off says so now."""
    place, total, short = (file.header.index("id") if "id" in file.header else -1), 0, []

    def ids() -> Iterator[str]:
        nonlocal total
        for line in lines:
            total += 1
            short.extend([total] if len(line) < len(file.header) else [])
            yield line[place] if 0 <= place < len(line) else ""

    named = all_named(ids(), findings, file.text.path.name)
    if short:
        some = f"{len(short):,} row{'s have' if len(short) > 1 else ' has'} fewer cells than the header"
        findings.append(f"{file.text.path.name}: {some}, the first is row {short[0]:,}; what is missing counts as empty")
    return total, named


END = "\x00end"  # no text file holds it


def _lines(text: TextFile, delimiter: str) -> Iterator[list[str]]:
    """All lines with anything in them; a quote that is never closed would swallow the rest of the file, the mark at its end included."""
    csv.field_size_limit(LONGEST_CELL)
    number, start, line = 0, 1, [END]
    try:
        with text.open(newline="") as file:
            reader = csv.reader(chain(file, [END]), delimiter=delimiter, skipinitialspace=True)
            for line in reader:
                start, number = number + 1, reader.line_num
                if line != [END] and any(cell.strip() for cell in line):
                    yield line
    except csv.Error as error:
        raise InputError(f"this is not a delimited text file: {error}", where=f"{text.path}, line {reader.line_num}") from error
    except BROKEN as error:
        raise InputError(f"the file breaks off: {error}", where=str(text.path), fix="copy or export it again") from error
    if line != [END]:
        where, fix = f"{text.path}, line {start}", 'write "" for " in a cell'
        raise InputError("a quotation mark is opened and never closed", where=where, fix=fix)


def _delimiter(text: TextFile) -> str:
    """The candidate that splits the header most, among those that split the next lines as often (a comma in prose does not)."""
    counts = {mark: [len(line) for line in _first_lines(text, mark)] or [1] for mark in DELIMITERS}
    agreeing = {mark: sum(n == counted[0] for n in counted) / len(counted) for mark, counted in counts.items() if counted[0] > 1}
    return max(agreeing, key=lambda mark: (round(agreeing[mark], 1), counts[mark][0]), default=",")


def _first_lines(text: TextFile, mark: str) -> list[list[str]]:
    """Twenty lines as they would be split by `mark`; a quoted cell may span several lines of the file."""
    try:
        with text.open(newline="") as file:
            lines = islice(csv.reader(file, delimiter=mark, skipinitialspace=True), 20)
            return [line for line in lines if any(map(str.strip, line))]
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
        row_id = line[place].strip() if file.named else f"row-{number}"
        if any(cell.strip() for cell in line[len(header) :]):
            yield Reject(row_id, f"{len(line)} cells where the header has {len(header)}")
        else:
            yield Row(row_id, {name: cell.strip() for name, cell in zip(header, line, strict=False) if name and cell.strip()})
