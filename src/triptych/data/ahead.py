"""Work done in threads ahead of the one who takes it, in order, and never far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Barrier
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
        torch.set_num_threads(1)
        started.wait()

    for _ in range(threads):
        pool.submit(settle)
    started.wait()
    torch.set_num_threads(before)
    return pool
