"""Which row each thread of a worker is reading, in a few bytes that both processes see: they outlive the one that wrote them."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from triptych.data.chunk import READERS


class Board:
    """What each thread of a worker is reading: the row's place in its chunk, in memory that both processes see."""

    SIZE = 8 * READERS

    def __init__(self, file: int) -> None:
        """`file`: an open file of `SIZE` bytes or more."""
        self._map = mmap.mmap(file, Board.SIZE)
        self._places = memoryview(self._map).cast("q")
        self._mine = threading.local()
        self._taken = iter(range(READERS))

    def clear(self) -> None:
        """Nothing is being read."""
        self._places[:] = memoryview(bytes(Board.SIZE)).cast("q")
        self._taken, self._mine = iter(range(READERS)), threading.local()

    @contextmanager
    def reading(self, place: int) -> Iterator[None]:
        """This thread reads the row at `place`."""
        slot = getattr(self._mine, "slot", None)
        if slot is None:
            slot = self._mine.slot = next(self._taken)
        self._places[slot] = place + 1
        try:
            yield
        finally:  # which a crash does not come to
            self._places[slot] = 0

    def read(self) -> list[int]:
        """The places of rows that are being read."""
        return sorted(place - 1 for place in self._places if place)
