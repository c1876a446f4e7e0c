"""Rows of several callers, computed together: nobody gets another's answer or error, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from triptych.base.errors import BadValue
from triptych.web.batching import Remembered, Worker
from triptych.web.limits import Limits
from triptych.web.problems import Busy


def squares(rows):
    if any(row < 0 for row in rows):
        raise BadValue("a row below 0")
    return [row * row for row in rows]


def test_what_waits_is_computed_together_up_to_a_bound_and_each_gets_its_own():
    sizes = []
    worker = Worker("run", Limits(batch=8), lambda name, rows: sizes.append(rows))
    begin = threading.Event()

    async def ask():
        first = asyncio.ensure_future(worker.alone(begin.wait))
        others = [asyncio.ensure_future(worker.together("a", squares, [n, n + 1])) for n in range(20)]
        other_kind = asyncio.ensure_future(worker.together("b", lambda rows: [str(row) for row in rows], [7]))
        await asyncio.sleep(0.05)
        begin.set()
        await first
        return await asyncio.gather(*others), await other_kind

    found, other = asyncio.run(ask())
    worker.close()
    assert found == [[n * n, (n + 1) ** 2] for n in range(20)] and other == ["7"]
    assert sorted(sizes, reverse=True) == [8, 8, 8, 8, 8, 1]


@pytest.mark.parametrize(("callers", "wait", "expected"), [(4, 0.5, {4}), (1, 1.0, {1})])
def test_callers_who_ask_again_are_waited_for_and_one_alone_never_waits(callers, wait, expected):
    sizes = []
    worker = Worker("run", Limits(batch=8, wait=wait), lambda name, rows: sizes.append(rows))

    async def again(number):
        for turn in range(6):
            assert await worker.together("a", squares, [turn]) == [turn * turn]
            await asyncio.sleep(0.002 * number)  # they come back one by one

    async def ask():
        await asyncio.gather(*map(again, range(callers)))

    asyncio.run(asyncio.wait_for(ask(), 4))  # one that waited would take 5 s
    worker.close()
    assert set(sizes[2:-callers] or sizes) == expected


def test_a_row_that_is_refused_costs_nobody_else():
    worker = Worker("run", Limits())
    begin = threading.Event()

    async def ask():
        held = asyncio.ensure_future(worker.alone(begin.wait))
        jobs = [asyncio.ensure_future(worker.together("a", squares, [n])) for n in (3, -1, 4)]
        await asyncio.sleep(0.02)
        begin.set()
        await held
        return await asyncio.gather(*jobs, return_exceptions=True)

    first, second, third = asyncio.run(ask())
    worker.close()
    assert (first, third) == ([9], [16]) and isinstance(second, BadValue)


def test_a_full_queue_is_said_at_once_and_is_free_again():
    worker = Worker("run", Limits(queue=3))
    with worker.coming(2), pytest.raises(Busy, match="3 rows wait"), worker.coming(2):
        pass
    with worker.coming(3):
        pass


def test_who_left_is_not_computed_for():
    worker, seen, begin = Worker("run", Limits()), [], threading.Event()

    async def ask():
        held = asyncio.ensure_future(worker.alone(begin.wait))
        left = asyncio.ensure_future(worker.together("a", lambda rows: seen.extend(rows) or rows, [1]))
        stays = asyncio.ensure_future(worker.together("a", lambda rows: seen.extend(rows) or rows, [2]))
        await asyncio.sleep(0.02)
        left.cancel()
        await asyncio.sleep(0)
        begin.set()
        await held
        return await stays

    assert asyncio.run(ask()) == [2] and seen == [2]
    worker.close()


def test_others_are_answered_between_the_pieces_of_an_answer_and_who_leaves_stops_it():
    worker, closed = Worker("run", Limits()), threading.Event()

    def endless():
        try:
            n = 0
            while True:
                yield (n := n + 1)
        finally:
            closed.set()

    async def ask():
        pieces, found = worker.pieces(endless), []
        async for piece in pieces:
            found.append(piece)
            assert await worker.together("a", squares, [piece]) == [piece * piece]
            if piece == 3:
                break
        await pieces.aclose()
        await worker.alone(lambda: None)
        return found

    assert asyncio.run(ask()) == [1, 2, 3] and closed.is_set()
    worker.close()


def test_only_the_newest_things_are_kept_and_no_more_than_fit():
    held = Remembered[int](most=3, most_bytes=100)
    for n in range(5):
        held.put(str(n), n, 10)
    assert [held.get(str(n)) for n in range(5)] == [None, None, 2, 3, 4]
    held.put("large", 9, 90)
    assert held.get("4") == 4 and held.get("3") is None and held.bytes == 100
    held.put("too large", 9, 101)
    assert held.get("too large") is None and held.get("large") == 9


def test_rows_are_handed_on_by_who_reads_them_and_a_file_that_cannot_be_read_costs_nobody_else():
    worker, readers, read = Worker("run", Limits()), ThreadPoolExecutor(2), []

    def reading(number):
        read.append(threading.current_thread().name)
        if number < 0:
            raise BadValue("it cannot be read")
        return [number, number + 1]

    async def ask():
        return await asyncio.gather(
            *(worker.when_read("a", squares, 2, lambda n=n: reading(n), readers) for n in (3, -1, 5)), return_exceptions=True
        )

    first, second, third = asyncio.run(ask())
    assert (first, third) == ([9, 16], [25, 36]) and isinstance(second, BadValue)
    assert all(name.startswith("ThreadPoolExecutor") for name in read)
    assert worker._coming == 0, "nothing is on its way any more"
    worker.close()
    readers.shutdown()


def test_who_left_is_not_read_for_and_threads_that_end_are_said():
    worker, readers, begin, read = Worker("run", Limits(queue=3)), ThreadPoolExecutor(1), threading.Event(), []

    async def ask():
        readers.submit(begin.wait)
        left = asyncio.ensure_future(worker.when_read("a", squares, 1, lambda: read.append(1) or [1], readers))
        await asyncio.sleep(0.01)
        left.cancel()
        last = asyncio.ensure_future(worker.when_read("a", squares, 1, lambda: [2], readers))
        await asyncio.sleep(0.01)
        begin.set()
        found = await last
        readers.submit(time.sleep, 0.1)
        cut = asyncio.ensure_future(worker.when_read("a", squares, 1, lambda: [3], readers))
        await asyncio.sleep(0.01)
        readers.shutdown(wait=False, cancel_futures=True)
        late = worker.when_read("a", squares, 1, lambda: [4], readers)
        return found, await asyncio.gather(cut, late, return_exceptions=True)

    found, ended = asyncio.run(ask())
    assert found == [4] and not read
    assert all(isinstance(one, Busy) and "ending" in str(one) for one in ended)
    assert worker._coming == 0
    worker.close()
