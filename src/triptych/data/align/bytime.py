"""A table of segments (a transcript, subtitles, events) joined to windows, pieces or moments of the same recordings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.base.errors import InputError, TriptychError, nearest
from triptych.contract.cells import Blob, Cell, Span
from triptych.data.align.keys import asked_keys, file_of, hashed, key_of
from triptych.data.align.segments import Segments
from triptych.data.align.side import AT_ONCE, merged
from triptych.data.align.timeline import RECORDING, Timeline
from triptych.data.align.times import seconds_of
from triptych.data.rows import Reject, Row

if TYPE_CHECKING:
    import numpy as np

FEW = 3


@dataclass
class Timed:
    """What happened on both sides: `rows` = `matched` + `alone` + `refused`."""

    used_N: np.ndarray
    known_N: np.ndarray
    """Segments of recordings that some row is of."""
    rows: int = 0
    matched: int = 0
    alone: int = 0
    refused: int = 0
    made: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    recordings: dict[str, None] = field(default_factory=dict)
    mixed: Counter[str] = field(default_factory=Counter)

    def check(self, where: str) -> None:
        """No row is lost."""
        if self.rows != self.matched + self.alone + self.refused or self.made < self.matched:
            raise TriptychError(
                f"of {self.rows} rows {self.matched} were joined, {self.alone} not, {self.refused} refused: some are lost", where=where
            )


@dataclass
class ByTime:
    """One join, for as many passes over the rows as are asked for; the segments are looked through once."""

    table: Timeline
    folders: tuple[Path, Path]
    beside: dict[str, str]

    def __post_init__(self) -> None:
        """What is asked for often."""
        self.side, self.words, self.place = self.table.side, self.table.words, self.table.where
        windows = self.table.windows
        self.at = self.words.at or (windows.column if windows else "")
        self.name = windows.name if windows else RECORDING

    def join(self, rows: Iterable[Row | Reject], told: list[str]) -> Iterator[Row | Reject]:
        """The rows with the segments that belong to them.

        Raises:
            InputError: a column is not there, both sides have one of one name, nothing fits, or the words refuse what is there.
        """
        import numpy as np

        segments, rejects = self.table.index
        done = Timed(np.zeros(len(self.side.rows), bool), np.zeros(len(self.side.rows), bool))
        entries = iter(rows)
        while batch := list(islice(entries, AT_ONCE)):
            found = [self._found(entry, segments, done) if isinstance(entry, Row) else entry for entry in batch]
            wanted = sorted({place for places in found if isinstance(places, list) for place in places})
            partners = dict(zip(wanted, self.side.rows.take(wanted), strict=True))
            done.used_N[wanted] = True
            for entry, places in zip(batch, found, strict=True):
                if isinstance(places, Reject) or isinstance(entry, Reject):
                    yield entry if isinstance(entry, Reject) else places  # type: ignore[misc]
                else:
                    yield from self._joined(entry, [partners[place] for place in places], done)
        done.check(self.side.name)
        self._check(done, segments)
        yield from [*self.side.rejects(), *rejects]
        told += self._in_words(done, segments)

    def _found(self, row: Row, segments: Segments, done: Timed) -> list[int] | Reject:
        """Places of a row's segments, in the order of time."""
        done.rows += 1
        done.columns.update(dict.fromkeys(row.cells))
        try:
            when = self._when(row.cells.get(self.at))
            bounds = self._recording(row, segments, done)
        except ValueError as error:
            done.refused += 1
            return Reject(row.id, f"{self.at}: {error}")
        if when is None or bounds is None:
            return []
        done.known_N[segments.places_N[bounds[0] : bounds[1]]] = True
        if when[0] == when[1] and self.words.match != "any":
            what = f"row {row.id} is a moment ({when[0]:g} s), and {self.place}.match: {self.words.match} asks for a part of a segment"
            raise InputError(what, where=self._where, fix="match: any takes the segment that goes on at that moment")
        return segments.inside(bounds, *when, self.words.match)

    def _when(self, cell: Cell) -> tuple[float, float] | None:
        """From when to when a row goes; a moment is both."""
        if isinstance(cell, Span):
            return cell.start, math.inf if cell.end is None else cell.end
        if isinstance(cell, Path | Blob):
            return 0.0, math.inf
        return None if cell is None else (seconds_of(cell), seconds_of(cell))

    def _recording(self, row: Row, segments: Segments, done: Timed) -> tuple[int, int] | None:
        """Where the segments of a row's recording are."""
        if not self.table.on:
            self._one_alone(row, done)
            return segments.of(hashed(""))
        for key in asked_keys(row, list(self.table.on), self.folders, self.beside):
            if len(done.recordings) < FEW:
                done.recordings[key] = None
            low, high = segments.of(hashed(key))
            if high > low:
                return low, high
        return None

    def _one_alone(self, row: Row, done: Timed) -> None:
        """A table that does not say which recording it is of fits one alone."""
        cell = row.cells.get(self.at)
        if (name := key_of(row.cells.get(self.name)) or (file_of(cell) if isinstance(cell, Span | Path | Blob) else None)) is not None:
            done.recordings[name] = None
        if len(done.recordings) > 1:
            what = f"{self.side.name} does not say which recording its segments are of, and there are several: {', '.join(done.recordings)}"
            fix = f"give it a column {RECORDING!r} with such names, or name the one that it has: {self.place}.on: {{{RECORDING}: file}}"
            raise InputError(what, where=self._where, known=self.side.table.columns, fix=fix)

    def _joined(self, row: Row, partners: Sequence[Row], done: Timed) -> Iterator[Row | Reject]:
        if not partners:
            yield self._alone(row, done)
            return
        done.matched, names = done.matched + 1, self.table.names
        if self.words.many == "join":
            done.made += 1
            yield merged(row, self._together(partners, done), self.side, names.values(), self.place)
            return
        for partner in partners:
            done.made += 1
            cells = {name: partner.cells.get(column) for column, name in names.items()}
            made = merged(row, cells, self.side, names.values(), self.place)
            yield Row(f"{row.id}/{partner.id}", made.cells)

    def _together(self, partners: Sequence[Row], done: Timed) -> dict[str, Cell]:
        """Several segments as one: texts one after the other, of the rest what they agree on."""
        cells: dict[str, Cell] = {}
        for column, name in self.table.names.items():
            held = [cell for partner in partners if (cell := partner.cells.get(column)) is not None]
            if column in self.words.text:
                parts = (part for cell in held for part in (cell if isinstance(cell, list) else [cell]))
                cells[name] = self.words.separator.join(map(str, parts)) or None
            elif held and all(type(cell) is type(held[0]) and cell == held[0] for cell in held):
                cells[name] = held[0]
            elif held:
                done.mixed[name] += 1
        return cells

    def _alone(self, row: Row, done: Timed) -> Row | Reject:
        if self.words.missing == "refuse":
            fix = f"{self.place}.missing: keep or reject"
            raise InputError(f"row {row.id} has no segment in {self.side.name}", where=self._where, fix=fix)
        if self.words.missing == "reject":
            done.refused += 1
            cell = row.cells.get(self.at)
            return Reject(row.id, f"{self.side.name} has no segment for {cell.name if isinstance(cell, Blob) else str(cell)}")
        done.alone += 1
        return merged(row, {}, self.side, self.table.names.values(), self.place)

    @property
    def _where(self) -> str:
        return f"{self.place}: {self.side.source.name}"

    def _check(self, done: Timed, segments: Segments) -> None:
        """A column that no row has, and times that never meet, are mistakes."""
        for column, word in [(self.at, "at"), *((name, "on") for name in self.table.on)]:
            if done.rows and column not in done.columns and column != "id":
                close = nearest(column, done.columns, 1)
                fix = f"did you mean {close[0]!r}?" if close else f"name another with {self.place}.{word}"
                what = f"no row has a column {column!r}, which {self.place}.{word} asks for"
                raise InputError(what, where=self._where, known=done.columns, fix=fix)
        if done.rows and not done.matched and len(segments.places_N):
            raise self._nothing(done, segments)
        if self.words.unused == "refuse" and (left := len(segments.places_N) - int(done.used_N.sum())):
            fix = f"{self.place}.unused: leave"
            raise InputError(f"{left:,} segments of {self.side.name} belong to no row", where=self._where, fix=fix)

    def _nothing(self, done: Timed, segments: Segments) -> InputError:
        if done.known_N.any():
            span = f"{segments.starts_N.min():g} to {segments.ends_N.max():g} s"
            what = f"no segment of {self.side.name} belongs to any row; its segments go from {span}"
            return InputError(what, where=self._where, fix="check that both count seconds from the recording's start")
        theirs = ", ".join(self.table.recordings(FEW))
        what = f"{self.side.name} is of none of the recordings: the rows say {', '.join(done.recordings)}; it says {theirs}"
        return InputError(what, where=self._where, fix="name the columns that hold the same: on: {ours: theirs}")

    def _in_words(self, done: Timed, segments: Segments) -> Iterator[str]:
        used, every = int(done.used_N.sum()), len(segments.places_N)
        strange = every - int(done.known_N.sum())
        of = f" ({strange:,} of them are of other recordings)" if strange else ""
        yield (
            f"join {self.side.name} by time: {done.matched:,} of {done.rows:,} rows have a segment, {done.alone:,} are kept without one, "
            f"{done.refused:,} are rejected; {used:,} of its {every:,} segments belong to a row, {every - used:,} to none{of}"
        )
        if done.made > done.matched:
            yield f"join {self.side.name}: {done.matched:,} rows became {done.made:,}, one for each segment"
        for name, count in done.mixed.items():
            texts = ", ".join([*self.words.text, name.removeprefix(self.side.prefix)])
            fix = f"{self.place}.text: [{texts}] joins them"
            yield f"join {self.side.name}: {name!r} is empty in {count:,} rows whose segments do not agree on it; {fix}"
