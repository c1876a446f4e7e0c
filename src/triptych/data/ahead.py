"""Work done in threads ahead of the one who takes it, in order, and never far ahead."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Barrier, Condition
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def ahead(make: Callable[[A], B], items: Iterable[A], threads: int, depth: int) -> Iterator[B]:
    """`make` of each item, in their order, with up to `depth` of them made or in the making.

    What `make` raises is raised when its turn comes, after all that was made before it. The threads end with the last item,
    or when the iterator is closed; nothing is left behind.
    """
    rest = iter(items)
    pool = _pool(threads)
    waiting: deque[Future[B]] = deque()
    try:
        waiting.extend(pool.submit(make, item) for item in islice(rest, depth))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make, item) for item in islice(rest, 1))
            if not waiting:
                pool.shutdown()  # the taker knows how many there are and may never ask again
            yield made
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads whose torch operations are not split again: that many of them are enough for the cores.

    torch keeps one count for each thread and one for those to come, and setting the first sets the second too. So all
    threads are started and set here, and the second is put back before anybody else starts one.
    """
    pool, started, before = ThreadPoolExecutor(threads, "ahead"), Barrier(threads + 1), torch.get_num_threads()

    def settle() -> None:
        torch.get_num_threads()  # a thread that has not asked yet takes the count of those to come at its first operation
        torch.set_num_threads(1)
        started.wait()

    try:
        for _ in range(threads):
            pool.submit(settle)
        started.wait()
    except BaseException:  # Ctrl-C: a thread that waits for the others would never end, nor would the process
        started.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        torch.set_num_threads(before)
    return pool


class Gate:
    """Lets all threads work at once, or one at a time: where rows are quick, both are tried, and what takes less time stays.

    Decoding leaves Python's lock, and then two threads do twice as much. But values that are read in a tenth of a millisecond
    cost more in handing the lock over than is gained. Which of them it is depends on the files and the machine.
    """

    TRIALS = 3
    """Pieces of work one at a time, and for each thread all at once, before it is decided."""
    CLEARLY = 1.2
    """How many times quicker one at a time must be to stay: a few pieces of work are timed, and other programs disturb them."""
    SLOW = 1e-3
    """Seconds a row from which handing the lock over is nothing: then all threads work without a trial of one."""

    def __init__(self, threads: int) -> None:
        """Of so many threads."""
        self.threads = threads
        self.limit = threads
        """How many may work at once."""
        self._seconds: dict[int, list[float]] = {1: [], threads: []}
        self._working = 0
        self._turn = Condition()

    @contextmanager
    def pass_for(self, rows: int) -> Iterator[None]:
        """Wait for a turn, and work on so many rows."""
        with self._turn:
            self._turn.wait_for(lambda: self._working < self.limit)
            self._working += 1
            at_once, began = self.limit, time.perf_counter()
        try:
            yield
        finally:
            with self._turn:
                self._working -= 1
                self._seconds[at_once].append((time.perf_counter() - began) / max(rows, 1) / at_once)
                self.limit = self._decided()
                self._turn.notify_all()

    def _decided(self) -> int:
        alone, together = self._seconds[1], self._seconds[self.threads]
        if len(together) < self.TRIALS * self.threads or statistics.median(together) * self.threads > self.SLOW:
            return self.threads
        if len(alone) < self.TRIALS:
            return 1
        return 1 if self.CLEARLY * statistics.median(alone) < statistics.median(together) else self.threads
