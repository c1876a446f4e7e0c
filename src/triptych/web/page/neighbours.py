"""The training rows near to an answer's row: a run's are embedded once, in a thread of their own, and the page says how far that is."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeVar

from triptych.base.errors import BadValue, InputError, TriptychError
from triptych.base.files import cache_root
from triptych.modalities import rooms
from triptych.run.progress import Voice
from triptych.use.opened import Run
from triptych.use.similar import FOLDER, Near, Source, Space, space_of

T = TypeVar("T")


class Progress(Voice):
    """Says on the page what is being done."""

    def __init__(self) -> None:
        """Nothing is done yet."""
        super().__init__(quiet=True)
        self.what, self.done, self.total = "opening the run's data", 0, 0

    def track(self, items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
        """Count items as they are done."""
        self.what, self.done, self.total = what, 0, total or 0
        for item in items:
            yield item
            self.done += 1

    def html(self) -> str:
        """How far it is."""
        count = f" {self.done:,} of {self.total:,}" if self.total else ""
        bar = f"<progress max='{self.total}' value='{self.done}' aria-label='{escape(self.what)}'></progress>" if self.total else ""
        return f"<p class='quiet' role='status'>{escape(self.what)}{count} {bar}</p>"


@dataclass
class Beside:
    """One run's rows to compare with."""

    run: Run
    voice: Progress = field(default_factory=Progress)
    space: Space | None = None
    problem: TriptychError | None = None
    thread: threading.Thread | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    columns: str | None = None
    """What the columns of its source hold, as HTML, once that was looked at."""

    def __post_init__(self) -> None:
        """The source is opened when a row is shown."""
        self.source = Source(self.run)

    @property
    def at_hand(self) -> bool:
        """Whether it costs nothing: the vectors are here, or in the cache."""
        return self.space is not None or (cache_root() / FOLDER / f"{self.run.folder.digest()}.parquet").exists()

    @property
    def busy(self) -> bool:
        """Whether rows are being embedded."""
        return self.thread is not None and self.thread.is_alive()

    def start(self) -> None:
        """Make the space, unless it is there or being made."""
        with self.lock:
            if self.space is None and not self.busy:
                self.problem = None
                self.thread = threading.Thread(target=self._make, name=f"neighbours {self.run.folder.name}", daemon=True)
                self.thread.start()

    def _make(self) -> None:
        try:
            self.space = space_of(self.run, self.voice)
            if self.space.side == "train":
                self.source.table()
        except TriptychError as problem:
            self.problem = problem
        except Exception as error:  # a thread's error reaches nobody else
            self.problem = InputError(f"the rows to compare with could not be made: {type(error).__name__}")

    def html(self, vectors: Mapping[str, Any], most: int = 6) -> str:
        """The nearest rows as cards.

        Raises:
            TriptychError: there are no rows to compare with.
        """
        if self.problem is not None:
            raise self.problem
        if self.space is None:
            return ""
        near = self.space.nearest(vectors, most)
        cells = self._cells([one.id for one in near])
        note = f"<p class='quiet'>{escape(self.space.note)}</p>" if self.space.note else ""
        cards = "".join(self._card(one, held) for one, held in zip(near, cells, strict=True))
        space = "what the fusion makes of a row" if self.space.name == "fused" else f"the shared space of {self.space.name}"
        side = {"train": "training", "test": "test"}[self.space.side]
        head = f"<p class='quiet'>The nearest of {len(self.space.ids):,} {side} rows, by cosine in {escape(space)}.</p>"
        return f"{note}{head}<ul class='cards'>{cards}</ul>"

    def _cells(self, ids: list[str]) -> list[dict[str, Any]]:
        try:
            return self.source.cells(ids)
        except (TriptychError, OSError):
            return [{} for _ in ids]

    def _card(self, near: Near, cells: Mapping[str, Any]) -> str:
        shown = "".join(self._shown(name, cell) for name, cell in cells.items())
        label = f"<strong>{escape(near.label)}</strong>" if near.label else ""
        return f"<li class='card'><p>{label} <span class='quiet'>{near.similarity:.3f} · {escape(near.id)}</span></p>{shown}</li>"

    def _shown(self, name: str, cell: Any) -> str:
        room = rooms()[self.run.recipe.inputs[name].modality]
        try:
            return "".join(room.show(value) for value in _each(self.run.read({name: cell})[name]))
        except BadValue as problem:
            return f"<p class='quiet'>{escape(name)}: {escape(problem.what)}</p>"


def _each(value: Any) -> list[Any]:
    from triptych.data.several import each

    return each(value)
