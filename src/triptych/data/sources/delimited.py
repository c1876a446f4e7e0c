"""A CSV or TSV file with a header, whatever its delimiter and encoding."""

from __future__ import annotations

import csv
import io
from collections import Counter
from itertools import islice
from pathlib import Path

from triptych.base.errors import InputError
from triptych.data.rows import Listed, Reject, Row
from triptych.data.sources.encoded import BROKEN, look
from triptych.data.sources.flat import say_unnamed
from triptych.data.table import Table

DELIMITERS = ",;\t|"
LONGEST_CELL = 16 * 2**20  # characters; Python's own limit of 131,072 is less than a long document


def read_delimited(path: Path) -> Table:
    """A CSV or TSV file with a header; delimiter and byte-order mark are found by looking.

    A line with more cells than the header costs that row. Cells are stripped; empty ones are absent.
    """
    text, findings = _decoded(path)
    delimiter = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else _delimiter(text)
    lines = [line for line in _lines(text, delimiter, path) if any(cell.strip() for cell in line)]
    if len(lines) < 2:
        raise InputError("the file has no rows below its header" if lines else "the file is empty", where=str(path))
    header = _header(lines[0], path)
    nameless = [str(place) for place, name in enumerate(header, start=1) if not name]
    findings = [*findings, *(f"{path.name}: column {place} has no name and was left aside" for place in nameless)]
    rows, rejects = _rows(header, lines[1:], findings, path.name)
    return Table([name for name in header if name], Listed(rows), str(path), path.parent, rejects=rejects, findings=findings)


END = "\x00end"  # no text file holds it


def _lines(text: str, delimiter: str, path: Path) -> list[list[str]]:
    """All lines; a quote that is never closed would swallow the rest of the file, the mark at its end included."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(f"{text}\n{END}", newline=""), delimiter=delimiter, skipinitialspace=True)
    lines, starts = [], [1]
    try:
        for line in reader:
            lines.append(line)
            starts.append(reader.line_num + 1)
    except csv.Error as error:
        raise InputError(f"this is not a delimited text file: {error}", where=f"{path}, line {reader.line_num}") from error
    if lines[-1] != [END]:
        raise InputError("a quotation mark is opened and never closed", where=f"{path}, line {starts[-2]}", fix='write "" for " in a cell')
    return lines[:-1]


def _decoded(path: Path) -> tuple[str, list[str]]:
    text = look(path, "export it as CSV in UTF-8")
    try:
        with text.open(newline="") as file:
            return file.read(), text.findings
    except BROKEN as error:
        raise InputError(f"the file breaks off: {error}", where=str(path), fix="copy or export it again") from error


def _delimiter(text: str) -> str:
    """The candidate that splits the header most, among those that split the next lines as often (a comma in prose does not)."""
    counts = {mark: [len(line) for line in _first_lines(text, mark)] or [1] for mark in DELIMITERS}
    agreeing = {mark: sum(n == counted[0] for n in counted) / len(counted) for mark, counted in counts.items() if counted[0] > 1}
    return max(agreeing, key=lambda mark: (round(agreeing[mark], 1), counts[mark][0]), default=",")


def _first_lines(text: str, mark: str) -> list[list[str]]:
    """Twenty lines as they would be split by `mark`; a quoted cell may span several lines of the file."""
    try:
        return [
            line
            for line in islice(csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True), 20)
            if any(map(str.strip, line))
        ]
    except csv.Error:
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


def _rows(header: list[str], lines: list[list[str]], findings: list[str], where: str) -> tuple[list[Row], list[Reject]]:
    ids = [line[header.index("id")].strip() if "id" in header and len(line) > header.index("id") else "" for line in lines]
    given = [row_id for row_id in ids if row_id]
    again = len(given) - len(set(given))
    say_unnamed(findings, where, len(given), len(ids) - len(given), again)
    named = all(ids) and not again
    rows, rejects = [], []
    for number, line in enumerate(lines, start=1):
        row_id = ids[number - 1] if named else f"row-{number}"
        if any(cell.strip() for cell in line[len(header) :]):
            rejects.append(Reject(row_id, f"{len(line)} cells where the header has {len(header)}"))
            continue
        rows.append(Row(row_id, {name: cell.strip() for name, cell in zip(header, line, strict=False) if name and cell.strip()}))
    return rows, rejects
