"""A catalogue: rows with the vector that a run gives each of them, found again by a text, a picture, a voice or a sum of such.

A folder: `entries.lance` holds the source's columns and the vectors, `about.json` says which model made them, `rejects.csv` what could not
be used. Every row has one vector (`spaces.row_vectors`), so what is found is rows. `filling.py` builds and changes it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.contract.cells import Cell
from triptych.data import stored
from triptych.data.columns import ID
from triptych.data.stored import Stored
from triptych.run.folder import open_folder
from triptych.use import filters, nearby
from triptych.use.shelved import ABOUT, ENTRIES, REJECTS, Kept, check_files, read_about, run_of
from triptych.use.spaces import Part, Space, query_vector, space_of

if TYPE_CHECKING:
    import lance
    import numpy as np

    from triptych.use.opened import Run

MOST_FOUND = 10_000
REBUILD = "triptych search build RUN SOURCE --out FOLDER makes one with this run"


@dataclass(frozen=True)
class Hit:
    """A row that was found. `similarity` is the cosine between it and what was looked for; `row` are its cells, media as paths or bytes."""

    id: str
    similarity: float
    row: dict[str, Cell]


@dataclass
class Catalogue:
    """An index, opened. What other processes change in it meanwhile is seen by the next search."""

    path: Path
    about: Kept = field(init=False)
    rows: Stored = field(init=False)
    _stamp: tuple[int, int] = field(init=False, default=(0, 0))
    _maker: Run | None = field(init=False, default=None, repr=False)
    _turn: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Read what it says of itself, and compare its files with their checksums."""
        self.refresh()

    @property
    def dataset(self) -> lance.LanceDataset:
        """The Lance data set itself."""
        return self.rows.dataset

    @property
    def columns(self) -> list[str]:
        """The source's columns, which stand in a condition and in a hit."""
        return list(self.rows.columns)

    @property
    def space(self) -> Space:
        """The space its vectors are of."""
        return Space(self.about.space, self.about.inputs)

    def __len__(self) -> int:
        """How many rows are found in it."""
        return int(self.dataset.count_rows())

    def refresh(self) -> None:
        """Open it again where it was changed since.

        Raises:
            InputError: it is gone, damaged, or made by a later version.
        """
        with self._turn:
            try:
                now = (self.path / ABOUT).stat()
            except OSError:
                read_about(self.path)  # says what is wrong
                raise
            if (now.st_ino, now.st_mtime_ns) == self._stamp:
                return
            self.about = read_about(self.path)
            check_files(self.path, self.about)
            dataset = stored.open_dataset(self.path / ENTRIES)
            told = stored.read_about(dataset, self.path / ENTRIES)
            root = stored.root_of(told, self.path / ENTRIES)
            self.rows = Stored(dataset, {column.name: column for column in told.columns}, root)
            self._stamp = now.st_ino, now.st_mtime_ns

    def check(self, run: Run) -> None:
        """Refuse a run whose vectors are others.

        Raises:
            InputError: the index was made by another model.
        """
        if self.space.digest(run) != self.about.model:
            what = f"the index was made by another model than {run.folder.path}: their vectors cannot be compared"
            raise InputError(what, where=str(self.path), known=[f"{self.about.run} (made it)"], fix=REBUILD)

    def find(self, *, limit: int = 10, where: str | None = None, exact: bool = False, **parts: Any) -> list[Hit]:
        """As `search`, by the run that made the index: `find(text="a mug", image=("shoe.jpg", 0.5))`, a value or a value and its weight."""
        if self._maker is None:
            self._maker = run_for(self)
        weighted = (value if isinstance(value, tuple) else (value, 1.0) for value in parts.values())
        asked = [Part(name, value, weight) for name, (value, weight) in zip(parts, weighted, strict=True)]
        return self.search(self._maker, asked, limit=limit, where=where, exact=exact)

    def search(self, run: Run, parts: Sequence[Part], *, limit: int = 10, where: str | None = None, exact: bool = False) -> list[Hit]:
        """The rows nearest to the sum of some parts, the nearest first.

        Args:
            run: the run that made the index, or a copy of it.
            parts: what is looked for; each is a value of an input of the space, with its weight.
            limit: how many rows at most.
            where: a condition on the columns, in the words of SQL; rows for which it is not true are not looked at.
            exact: compare every vector, also where there is an index of them.

        Raises:
            InputError: another model's vectors, an unknown input or column, a condition that cannot be read, or no direction is left.
            BadValue: a part's value cannot be read.
        """
        self.refresh()
        self.check(run)
        self._check_limit(limit)
        return self.nearest(query_vector(run, self.space, parts), limit=limit, where=where, exact=exact)

    def nearest(self, vector_D: np.ndarray, *, limit: int = 10, where: str | None = None, exact: bool = False) -> list[Hit]:
        """The rows nearest to a vector of the space, of length one; otherwise as `search`."""
        self._check_limit(limit)
        near, further = None if exact else self.about.near, where is not None  # few rows may fulfil a condition
        columns = [ID, "_distance", *(name for column in self.rows.columns.values() for name in column.names())]

        def ask(further: bool) -> Any:
            return self._asked(where, columns=columns, nearest=nearby.asked(vector_D, limit, near, further), prefilter=True)

        found = ask(further)
        if near and not further and len(found) < min(limit, len(self)):
            found = ask(True)
        rows = self.rows.decoded(found)
        hits = [Hit(row.id, 1.0 - away, row.cells) for row, away in zip(rows, found["_distance"].to_pylist(), strict=True)]
        return sorted(hits, key=lambda hit: (-hit.similarity, hit.id))

    def warm(self) -> None:
        """Read the index of the vectors into memory: for who asks many questions."""
        nearby.warm(self.dataset)

    def told(self) -> dict[str, Any]:
        """What is to be said of it, in plain values."""
        kept, rejects = self.about, self.path / REJECTS
        words = ("model", "space", "inputs", "by", "width", "copied", "made", "near")
        return {
            "index": str(self.path),
            "rows": len(self),
            "columns": {column.name: column.kind for column in self.rows.columns.values()},
            **{word: getattr(kept, word) for word in words},
            "run": str(run_of(self.path, kept)),
            "root": str(self.rows.root),
            "rejects": str(rejects) if rejects.exists() else None,
        }

    def ids(self, where: str) -> list[str]:
        """The ids of all rows for which a condition is true."""
        self.refresh()
        return [str(row_id) for row_id in self._asked(where, columns=[ID])[ID].to_pylist()]

    def _asked(self, where: str | None, **words: Any) -> Any:
        if where is None:
            return self.dataset.to_table(**words)
        try:
            return self.dataset.to_table(filter=filters.condition(where, self.rows.columns), **words)
        except (ValueError, OSError, RuntimeError) as error:
            raise filters.refusal(error, where, self.rows.columns) from error

    @staticmethod
    def _check_limit(limit: int) -> None:
        if not 1 <= limit <= MOST_FOUND:
            raise InputError(f"{limit} rows cannot be looked for", fix=f"--limit 1 to {MOST_FOUND:,}")


def open_catalogue(path: str | Path, run: Run | None = None) -> Catalogue:
    """Open an index; with a run, it is checked that the run made it.

    Raises:
        InputError: it is no index, damaged, made by a later version, or by another model.
    """
    found = Catalogue(Path(path))
    if run is not None:
        found.check(run)
    return found


def run_for(catalogue: Catalogue, named: str | None = None) -> Run:
    """The run that made an index, where it was or at another place; it is checked.

    Raises:
        InputError: it is not there, or is another.
    """
    from triptych.use.opened import Run

    path = Path(named) if named else run_of(catalogue.path, catalogue.about)
    if not named and not path.is_dir():
        fix = "say where it is now: --run FOLDER"
        raise InputError(f"the run that made the index is not at {str(path)!r}", where=str(catalogue.path), fix=fix)
    run = Run(open_folder(path))
    catalogue.check(run)
    return run


__all__ = ["Catalogue", "Hit", "Part", "open_catalogue", "run_for", "space_of"]
