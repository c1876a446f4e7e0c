"""A table joined by key: one to one, many to one, one to many; what has no partner is kept, rejected or refused, and counted."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.base.errors import InputError, TriptychError, nearest
from triptych.data.align.keys import Places, asked_keys, cell_of, hashed, joined_key
from triptych.data.align.side import AT_ONCE, Side, merged
from triptych.data.columns import ID
from triptych.data.rows import Reject, Row
from triptych.data.settings import IdJoin, sides

if TYPE_CHECKING:
    import numpy as np

FEW = 3


@dataclass
class Joined:
    """What happened on both sides: `rows` = `matched` + `alone` + `refused`; `made` rows came of the matched ones."""

    rows: int = 0
    matched: int = 0
    alone: int = 0
    refused: int = 0
    made: int = 0
    several: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    keys: dict[str, None] = field(default_factory=dict)
    """Some keys that were not found, for the message."""

    def check(self, where: str) -> None:
        """No row is lost."""
        if self.rows != self.matched + self.alone + self.refused or self.made < self.matched:
            raise TriptychError(
                f"of {self.rows} rows {self.matched} were joined, {self.alone} not, {self.refused} refused: some are lost", where=where
            )


@dataclass
class ById:
    """One join, for as many passes over the rows as are asked for; the table's keys are looked through once."""

    side: Side
    words: IdJoin
    place: str
    """Its place in the recipe: `data.join.0`."""
    folders: tuple[Path, Path]
    beside: dict[str, str]

    @property
    def on(self) -> dict[str, str]:
        """{column of the rows: column of the table}."""
        return sides(self.words.on)

    @cached_property
    def names(self) -> dict[str, str]:
        """{column of the table: its name in the joined rows}. A key is there already, unless it is the rows' own id."""
        return self.side.carried(theirs for ours, theirs in self.on.items() if ours != ID or theirs == ID)

    @cached_property
    def index(self) -> tuple[Places, list[Reject]]:
        """Where each key stands, and the rows that have none."""
        for column in self.on.values():
            self.side.require(column, f"{self.place}.on")
        hashes, places, rejects = array("Q"), array("Q"), []
        for place, row in enumerate(self.side.chosen(list(self.on.values()))):
            try:
                key = joined_key(row, list(self.on.values()), self.side.table.folder)
            except ValueError as error:
                rejects.append(Reject(self.side.called(row.id), f"{', '.join(self.on.values())}: {error}"))
                continue
            if key is not None:
                hashes.append(hashed(key))
                places.append(place)
        return Places(hashes, places), rejects

    def join(self, rows: Iterable[Row | Reject], told: list[str]) -> Iterator[Row | Reject]:
        """The rows with their partners.

        Raises:
            InputError: a column is not there, both sides have one of one name, nothing fits, or the words refuse what is there.
        """
        import numpy as np

        done, used_N = Joined(), np.zeros(len(self.side.rows), bool)
        _, rejects = self.index
        entries = iter(rows)
        while batch := list(islice(entries, AT_ONCE)):
            found = [self._found(entry, done) if isinstance(entry, Row) else [] for entry in batch]
            wanted = sorted({place for places in found if isinstance(places, list) for place in places})
            partners = dict(zip(wanted, self.side.rows.take(wanted), strict=True))
            for entry, places in zip(batch, found, strict=True):
                if isinstance(entry, Reject) or isinstance(places, Reject):
                    yield entry if isinstance(entry, Reject) else places  # type: ignore[misc]
                    continue
                yield from self._joined(entry, [partners[place] for place in places], done)
                self._used(entry, places, used_N)
        done.check(self.side.name)
        self._check(done, used_N)
        yield from self._rest(used_N)
        yield from [*self.side.rejects(), *rejects]
        told += self._in_words(done, used_N)

    def _found(self, row: Row, done: Joined) -> list[int] | Reject:
        """Places of a row's partners."""
        done.rows += 1
        done.columns.update(dict.fromkeys(row.cells))
        try:
            found = self.index[0].find(asked_keys(row, list(self.on), self.folders, self.beside))
        except ValueError as error:
            done.refused += 1
            return Reject(row.id, f"{', '.join(self.on)}: {error}")
        if not found and len(done.keys) < FEW:
            done.keys[" and ".join(str(cell_of(row, column)) for column in self.on)] = None
        return found

    def _joined(self, row: Row, partners: Sequence[Row], done: Joined) -> Iterator[Row | Reject]:
        """One row for each partner; with several its id says which."""
        if not partners:
            yield self._alone(row, done)
            return
        if len(partners) > 1 and self.words.many == "refuse":
            fix = f"{self.place}.many: rows makes a row of each, first takes the first"
            raise InputError(f"row {row.id} has {len(partners)} partners in {self.side.name}", where=self._where, fix=fix)
        taken = partners[:1] if self.words.many == "first" else partners
        done.matched, done.made, done.several = done.matched + 1, done.made + len(taken), done.several + (len(partners) > 1)
        for partner in taken:
            cells = {name: partner.cells.get(column) for column, name in self.names.items()}
            if self.side.prefix and ID in self.names:
                cells[self.names[ID]] = partner.id
            made = merged(row, cells, self.side, self.names.values(), self.place)
            yield made if len(taken) == 1 else Row(f"{row.id}/{partner.id}", made.cells)

    def _alone(self, row: Row, done: Joined) -> Row | Reject:
        key = " and ".join(f"{column} {cell_of(row, column)!r}" for column in self.on)
        if self.words.missing == "refuse":
            fix = f"{self.place}.missing: keep or reject"
            raise InputError(f"row {row.id} ({key}) has no partner in {self.side.name}", where=self._where, fix=fix)
        if self.words.missing == "reject":
            done.refused += 1
            return Reject(row.id, f"{self.side.name} has no row with {key}")
        done.alone += 1
        return merged(row, {}, self.side, self.names.values(), self.place)

    def _used(self, row: Row, places: list[int], used_N: np.ndarray) -> None:
        """Note the partners; the second row that asks for several of one key is a many to many."""
        if len(places) > 1 and self.words.many == "rows" and used_N[places[0]]:
            key = " and ".join(f"{column} {cell_of(row, column)!r}" for column in self.on)
            fix = f"{self.place}.many: all makes a row of every pair, first of one a row; or name a second column in on"
            what = f"{key} comes several times on both sides: {len(places)} times in {self.side.name}, and in row {row.id} again"
            raise InputError(what, where=self._where, fix=fix)
        used_N[places[:1] if self.words.many == "first" else places] = True

    @property
    def _where(self) -> str:
        return f"{self.place}: {self.side.source.name}"

    def _check(self, done: Joined, used_N: np.ndarray) -> None:
        """A column that no row has, keys that never meet and rows that nobody may leave are mistakes."""
        for column in self.on:
            if done.rows and column not in done.columns and column != ID:
                close = nearest(column, done.columns, 1)
                fix = f"did you mean {close[0]!r}?" if close else "name one of each side: on: {ours: theirs}"
                what = f"no row has a column {column!r}, which {self.place}.on asks for"
                raise InputError(what, where=self._where, known=done.columns, fix=fix)
        if done.rows and not done.matched and len(used_N):
            theirs = [
                " and ".join(str(cell_of(row, c)) for c in self.on.values())
                for row in islice(self.side.chosen(list(self.on.values())), FEW)
            ]
            what = f"no row has a partner in {self.side.name}: the rows say {', '.join(done.keys)}; it says {', '.join(theirs)}"
            raise InputError(what, where=self._where, fix="name the columns that hold the same: on: {ours: theirs}")
        if self.words.unused == "refuse" and not used_N.all():
            first = [row.id for row in self.side.rows.take([int(place) for place in (~used_N).nonzero()[0][:FEW]])]
            what = f"{(~used_N).sum():,} rows of {self.side.name} were not asked for: {', '.join(first)}"
            raise InputError(what, where=self._where, fix=f"{self.place}.unused: leave or keep")

    def _rest(self, used_N: np.ndarray) -> Iterator[Row]:
        """Rows of the table that nobody asked for, as rows of their own where that is wanted."""
        places = [int(place) for place in (~used_N).nonzero()[0]] if self.words.unused == "keep" else []
        for start in range(0, len(places), AT_ONCE):
            for row in self.side.rows.take(places[start : start + AT_ONCE]):
                cells = {name: row.cells.get(column) for column, name in self.names.items()}
                cells |= {ours: cell_of(row, theirs) for ours, theirs in self.on.items() if ours != ID}
                yield Row(self.side.called(row.id), {name: cell for name, cell in cells.items() if cell is not None})

    def _in_words(self, done: Joined, used_N: np.ndarray) -> Iterator[str]:
        on = ", ".join(ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in self.on.items())
        used = int(used_N.sum())
        yield (
            f"join {self.side.name} on {on}: {done.matched:,} of {done.rows:,} rows have a partner, {done.alone:,} are kept without one, "
            f"{done.refused:,} are rejected; {used:,} of its {len(used_N):,} rows were asked for, {len(used_N) - used:,} were not"
            f"{' (kept as rows)' if self.words.unused == 'keep' else ''}"
        )
        several = f"{done.several:,} row{'s have' if done.several > 1 else ' has'} several partners"
        if done.several and self.words.many == "first":
            yield f"join {self.side.name}: {several}, and the first of each was taken"
        elif done.several:
            key = next((self.names.get(theirs, "") if ours == ID else ours for ours, theirs in self.on.items()), "")
            fix = f"; data.split.group: {key} keeps them on one side of the split" if key else ""
            made = done.made - done.matched + done.several
            yield f"join {self.side.name}: {several} and became {made:,}{fix}"
