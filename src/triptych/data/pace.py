"""Whether threads pay for the rows that are being read. Imports nothing heavy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

TRIAL, CHUNK = 32, 256
"""Rows handed to the threads at once; of the values themselves there are never more in memory than threads."""


class Pace:
    """With threads or without: the first rows are read both ways, the rest in the faster one.

    Decoding leaves Python's lock, so threads keep all cores busy; but values that are read in a tenth of a millisecond spend
    more on handing the lock over than they gain (1,740 rows of three small files each: 0.65 s with two threads, 0.35 without).
    """

    def __init__(self) -> None:
        """The first rows warm up; then one trial each way."""
        self.seconds: list[float] = []
        self.threaded, self.chunk = True, TRIAL

    @contextmanager
    def timed(self, rows: int) -> Iterator[None]:
        """Time a chunk of the trial, and decide after the last."""
        start = time.perf_counter()
        yield
        if len(self.seconds) < 4:
            self.seconds.append((time.perf_counter() - start) / rows)
            self.threaded = len(self.seconds) % 2 == 0
        if len(self.seconds) == 4 and self.chunk == TRIAL:
            self.threaded, self.chunk = self.seconds[2] < self.seconds[3], CHUNK
