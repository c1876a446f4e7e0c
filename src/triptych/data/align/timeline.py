"""A table of segments in time (a transcript, subtitles, events), read for a join."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from triptych.contract.cells import Span
from triptych.data.align.keys import hashed, joined_key
from triptych.data.align.segments import Segments
from triptych.data.align.side import Side
from triptych.data.align.times import between
from triptych.data.rows import Reject, Row
from triptych.data.settings import TimeJoin, WindowSettings, sides

RECORDING = "recording"


@dataclass
class Timeline:
    """The table with the columns that say when and of which recording."""

    side: Side
    words: TimeJoin
    where: str
    """The join's place in the recipe: `data.join.0`."""
    windows: WindowSettings | None

    @cached_property
    def on(self) -> dict[str, str]:
        """{column of the rows: column of the table} that says which recording; none where the table is of one alone."""
        if self.words.on is not None:
            return sides(self.words.on)
        ours = self.windows.name if self.windows else RECORDING
        theirs = next((name for name in (ours, RECORDING) if name in self.side.table.columns), None)
        return {ours: theirs} if theirs else {}

    @cached_property
    def times(self) -> list[str]:
        """Columns of the table that say when."""
        if self.words.windows:
            return [self.words.windows.column]
        return [self.words.start] if self.words.end is None else [self.words.start, self.words.end]

    @cached_property
    def names(self) -> dict[str, str]:
        """{column of the table: its name in the joined rows}."""
        gone = [] if self.words.many == "rows" or self.words.windows else self.times
        return self.side.carried([*self.on.values(), *gone])

    @cached_property
    def index(self) -> tuple[Segments, list[Reject]]:
        """The segments, and the rows that are none."""
        self._require()
        hashes, starts, ends, places, rejects = array("Q"), array("d"), array("d"), array("q"), []
        for place, row in enumerate(self.side.chosen([*self.on.values(), *self.times])):
            try:
                first, last = self._segment(row)
                key = joined_key(row, list(self.on.values()), self.side.table.folder)
                if key is None:
                    raise ValueError(f"it does not say which recording: {', '.join(self.on.values())} is empty")
            except ValueError as error:
                rejects.append(Reject(self.side.called(row.id), str(error)))
                continue
            hashes.append(hashed(key))
            starts.append(first)
            ends.append(first if last is None else last)
            places.append(place)
        return Segments(hashes, starts, ends, places), rejects

    def _require(self) -> None:
        """The table's columns that the words name are there."""
        for column in self.on.values():
            self.side.require(column, f"{self.where}.on")
        if not self.words.windows:
            for column, word in zip(self.times, ("start", "end"), strict=False):
                fix = "name it; null where its rows are moments" if word == "end" else "name the column of seconds"
                self.side.require(column, f"{self.where}.{word}", f"{fix}: {self.where}.{word}")
        if self.words.many == "join":
            for column in self.words.text:
                self.side.require(column, f"{self.where}.text", f"name the columns to join: {self.where}.text: [NAME], or [] for none")

    def _segment(self, row: Row) -> tuple[float, float | None]:
        if not self.words.windows:
            return between(row.cells.get(self.words.start), row.cells.get(self.words.end or ""), ends=self.words.end is not None)
        cell = row.cells.get(self.words.windows.column)
        if not isinstance(cell, Span) or cell.end is None:
            raise ValueError(f"it has no recording in {self.words.windows.column!r}")
        return cell.start, cell.end

    def recordings(self, most: int) -> list[str]:
        """Some of the recordings that it speaks of."""
        every = (joined_key(row, list(self.on.values()), self.side.table.folder) for row in self.side.chosen(list(self.on.values())))
        return list(islice(dict.fromkeys(key for key in islice(every, 10_000) if key is not None), most))
