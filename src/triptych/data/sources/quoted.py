"""Records of a delimited text whose quotation marks may not pair: one that is never closed costs its line, and not the rest.

A cell in quotation marks may hold newlines, so a mark that is not closed takes in all lines up to the next mark, or to the end.
Such a record gives itself away: something follows its closing mark, or none comes, or marks stand within its other cells. Then its
first line is given up, and the lines after it are read anew, where most of them have as many cells as the header. Where they do not
(a file that was cut off within a long text), none of them can be told from that text, and each is given up, by its number.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

UNCLOSED = "a quotation mark is opened and not closed where its cell ends"
FIX = 'write "" for " in a cell, or close it'
LOOKED_AT = 100
"""Lines that are looked at to know whether they are rows."""
MOST = 0.8
"""Share of them that must have as many cells as the header; all of them where cells of this file were seen to hold newlines."""


@dataclass(frozen=True)
class Torn:
    """A line that is no row, and why."""

    line: int
    reason: str


class _Lines:
    """Lines of a file one by one; those that were taken too many come again."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._again = iter(lines), deque[str]()
        self.taken: list[str] = []
        """Of the record that is being read."""
        self.before = 0
        """How many lines came before these."""
        self.ended = False
        """Whether the record came to the end of the file."""

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.taken.append(line)
        return line

    def over(self) -> None:
        """A record is over."""
        self.before += len(self.taken)
        self.taken, self.ended = [], False

    def back(self) -> None:
        """Only the first line belongs to the record."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class Records:
    """The cells of each record, the header's first, or a `Torn` line.

    Raises:
        csv.Error: a cell is longer than the limit of `csv`.
    """

    def __init__(self, lines: Iterable[str], delimiter: str, width: int = 0) -> None:
        """Of a file that was opened with `newline=""`, so that newlines in cells stay as they are.

        `width` is how many cells a row has, by default as many as the first.
        """
        self._lines, self._delimiter = _Lines(lines), delimiter
        self._width, self._spanning, self._opened, self._until = width, False, 0, 0
        mark = re.escape(delimiter)
        cell = rf'(?: *+"(?:[^"]|"")*+"|[^"{mark}\r\n]*+)'
        self._pairs = re.compile(rf"{cell}(?:{mark}{cell})*+[\r\n]*+")
        """A record of which all marks pair: none stands within a cell that does not begin with one."""

    @property
    def line(self) -> int:
        """Number of the line at which the reader is, from 1."""
        return self._lines.before + len(self._lines.taken)

    def __iter__(self) -> Iterator[list[str] | Torn]:
        """One record after the other; an empty line has no cells."""
        reader = csv.reader(self._lines, delimiter=self._delimiter, skipinitialspace=True, strict=True)
        while True:
            self._lines.over()
            try:
                cells: list[str] | None = next(reader)
            except StopIteration:
                return
            except csv.Error:
                cells = None
            if cells is not None and len(self._lines.taken) == 1 and len(cells) == self._width:
                yield cells
            else:
                yield from self._told(cells)

    def _told(self, cells: list[str] | None) -> Iterator[list[str] | Torn]:
        """What becomes of a record that is not plainly one line with as many cells as the header; None where its marks do not pair."""
        first, taken = self._lines.before + 1, self._lines.taken
        fits = cells is not None and len(cells) == self._width and self._pairs.fullmatch("".join(taken)) is not None
        if len(taken) == 1:
            yield self._single(first, cells)
        elif cells is not None and (fits or not self._width or not self._are_rows(taken[1:])):
            self._spanning = self._spanning or fits
            self._width = self._width or len(cells)
            yield cells
        else:
            yield from self._given_up(first, taken[1:])

    def _single(self, line: int, cells: list[str] | None) -> list[str] | Torn:
        """A record of one line. Marks that do not pair are passed over where the cells are as many as the header's."""
        unpaired = cells is None
        if cells is None:
            cells = _alone(self._lines.taken[0], self._delimiter)
        if cells is None:
            return Torn(line, f"{UNCLOSED}; {FIX}")
        if cells and self._width and len(cells) != self._width and (unpaired or line <= self._until):
            why = (
                f"after a quotation mark in line {self._opened} that is not closed"
                if not unpaired
                else f"its quotation marks do not pair; {FIX}"
            )
            return Torn(line, f"{len(cells)} cell{'s' * (len(cells) > 1)} where the header has {self._width}: {why}")
        self._width = self._width or len(cells)
        return cells

    def _given_up(self, first: int, rest: list[str]) -> Iterator[Torn]:
        """The first line of a record that a mark tore; what follows comes again, or is given up too."""
        self._opened, self._until = first, first + len(rest)
        if self._are_rows(rest if self._lines.ended else rest[:-1]):  # the last one has a mark of its own
            self._lines.back()
            yield Torn(first, f"{UNCLOSED}; {FIX}")
            return
        yield Torn(first, f"{UNCLOSED}, and the lines after it cannot be told from it; {FIX}")
        for line, text in enumerate(rest, start=first + 1):
            if text.strip():
                yield Torn(line, f"it may belong to the cell that is opened in line {first} and not closed")

    def _are_rows(self, lines: Sequence[str]) -> bool:
        """Whether lines by themselves have as many cells as the header; a single cell each is no sign of it where cells span lines."""
        some = [line for line in lines[:LOOKED_AT] if line.strip()]
        if self._width == 1:
            return not self._spanning
        alike = sum(len(_alone(line, self._delimiter) or ()) == self._width for line in some)
        return alike >= (1.0 if self._spanning else MOST) * len(some)


END = "\x00end"  # no text file holds it


def _alone(line: str, delimiter: str) -> list[str] | None:
    """The cells of a line by itself, as they are where marks do not pair; None where one is open at its end."""
    cells = next(csv.reader(iter([line, END]), delimiter=delimiter, skipinitialspace=True), [])
    return None if cells and cells[-1].endswith(END) else cells
