"""One thread a run that computes. Rows of several requests that wait at the same time go through the model together.

While the model is at work, others arrive; what is there when it is free goes in next, up to `batch` rows. Where others are
looked for (they are being decoded, or just had an answer and asked at the same time as these before), it waits for them, `wait`
seconds at most: without that, callers who ask again and again fall into halves that never meet. A single caller never waits.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from triptych.web.limits import Limits
from triptych.web.problems import Busy

T = TypeVar("T")
DONE = object()
FADES = 0.75
"""What is left, a batch later, of the number of callers that were seen at once."""


class Watch(Protocol):
    """Who hears how large batches are."""

    def __call__(self, name: str, rows: int, /) -> None:
        """`rows` of run `name` were computed together."""


@dataclass(eq=False)
class Job:
    """Rows that wait, and where their answers go. Jobs with an equal `kind` may be computed together; None stands alone."""

    kind: Any
    work: Callable[[list[Any]], Sequence[Any]]
    rows: list[Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    arrived: float = field(default_factory=time.monotonic)


class Worker:
    """The thread of one run."""

    def __init__(self, name: str, limits: Limits, watch: Watch | None = None) -> None:
        """The thread starts with the first job."""
        self.name, self.limits, self.watch = name, limits, watch
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._coming = self._reading = 0  # rows on their way, and the requests that bring them
        self._crowd = 0.0  # requests that were here at once, of late
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        with self._changed:
            return sum(len(job.rows) for job in self._jobs)

    @contextmanager
    def coming(self, rows: int) -> Iterator[None]:
        """Inside of it, rows are on their way, and the worker may wait for them.

        Raises:
            Busy: the queue is full.
        """
        self._expect(rows)
        try:
            yield
        finally:
            self._came(rows)

    def _expect(self, rows: int) -> None:
        with self._changed:
            if self._coming + sum(len(job.rows) for job in self._jobs) + rows > self.limits.queue:
                raise Busy(f"{self.limits.queue} rows wait for run {self.name!r} already", fix="come again in a moment")
            self._coming += rows
            self._reading += 1

    def _came(self, rows: int) -> None:
        with self._changed:
            self._coming -= rows
            self._reading -= 1
            self._changed.notify()

    async def together(self, kind: Any, work: Callable[[list[Any]], Sequence[T]], rows: Sequence[Any]) -> list[T]:
        """`work` of some rows, computed with what else waits; it gives one thing a row, in their order.

        A row that `work` refuses costs nobody else's.
        """
        return await self._put(kind, work, list(rows))

    async def when_read(
        self, kind: Any, work: Callable[[list[Any]], Sequence[T]], count: int, read: Callable[[], list[Any]], readers: Executor
    ) -> list[T]:
        """`work` of the `count` rows that `read` gives in one of the threads that read; these hand them on, and the loop is not woken.

        Raises:
            Busy: the queue is full, or the server is ending.
        """
        loop = asyncio.get_running_loop()
        job = Job(kind, work, [], loop, loop.create_future())
        self._expect(count)

        def ended(done: Future[None]) -> None:
            if done.cancelled():  # the threads end, and this one had not begun
                self._came(count)
                _tell([job], ending())

        try:
            readers.submit(self._read_for, job, count, read).add_done_callback(ended)
        except RuntimeError:  # the threads have ended
            self._came(count)
            raise ending() from None
        found: list[T] = await job.answer
        return found

    def _read_for(self, job: Job, count: int, read: Callable[[], list[Any]]) -> None:
        """In a thread that reads: the rows of a job, which then waits for its turn."""
        if job.answer.cancelled():  # who left is not read for
            self._came(count)
            return
        try:
            job.rows = read()
        except BaseException as problem:
            self._came(count)
            _tell([job], problem)
            return
        try:
            self._add(job, came=count)
        except Busy as problem:
            _tell([job], problem)

    async def alone(self, work: Callable[[], T]) -> T:
        """`work()` in the thread, when its turn comes."""
        found: list[T] = await self._put(None, lambda _: [work()], [None])
        return found[0]

    async def pieces(self, make: Callable[[], Iterator[T]]) -> AsyncGenerator[T]:
        """What an iterator gives, each step of it when its turn comes: others are answered in between.

        Who stops listening stops it.
        """
        steps = await self.alone(make)
        try:
            while (piece := await self.alone(lambda: next(steps, DONE))) is not DONE:
                yield piece  # type: ignore[misc]
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                self._later(close)

    def close(self) -> None:
        """Let the thread end; what waits is cancelled."""
        with self._changed:
            self._closed = True
            waiting, self._jobs = list(self._jobs), deque()
            self._changed.notify()
        for job in waiting:
            _tell([job], ending())

    def _later(self, work: Callable[[], Any]) -> None:
        """Do something in the thread that nobody waits for."""
        loop = asyncio.get_running_loop()
        self._add(Job(None, lambda _: [work()], [None], loop, loop.create_future()))

    async def _put(self, kind: Any, work: Callable[[list[Any]], Sequence[Any]], rows: list[Any]) -> Any:
        loop = asyncio.get_running_loop()
        job = Job(kind, work, rows, loop, loop.create_future())
        self._add(job)
        return await job.answer

    def _add(self, job: Job, came: int = 0) -> None:
        """Let a job wait; `came` of its rows were on their way."""
        with self._changed:
            self._coming -= came
            self._reading -= came > 0
            if self._closed:
                raise ending()
            job.arrived = time.monotonic()
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"run {self.name}", daemon=True)
                self._thread.start()
            self._changed.notify()

    # in the thread

    def _run(self) -> None:
        while jobs := self._next():
            compute(jobs, self._computed)

    def _computed(self, jobs: Sequence[Job]) -> None:
        """Just before their answers go out: how many were here at once. These are about to ask again, if they ask again and again."""
        if self.watch is not None and jobs[0].kind is not None:
            self.watch(self.name, sum(len(job.rows) for job in jobs))
        with self._changed:
            self._crowd = max(len(jobs) + len(self._jobs) + self._reading, FADES * self._crowd)

    def _next(self) -> list[Job]:
        """Jobs to compute together; none at the end."""
        free = time.monotonic()
        with self._changed:
            while not self._jobs and not self._closed:
                self._changed.wait()
            if self._closed:
                return []
            first = self._jobs[0]
            until = max(first.arrived, free) + self.limits.wait
            while first.kind is not None and self._short_of(self._alike(first)):
                if (left := until - time.monotonic()) <= 0 or self._closed:
                    break
                self._changed.wait(left)
            return self._taken()

    def _short_of(self, rows: int) -> bool:
        """Whether to wait for more than so many rows: for who is read, up to a whole batch; for who may ask again, up to half of one.

        From there on little is gained, and who computes at once lets the others ask meanwhile.
        """
        if self._reading:
            return rows < self.limits.batch
        return len(self._jobs) <= self._crowd - 1 and rows < self.limits.batch // 2

    def _alike(self, first: Job) -> int:
        return sum(len(job.rows) for job in self._jobs if job.kind == first.kind)

    def _taken(self) -> list[Job]:
        if not self._jobs:
            return []
        first = self._jobs.popleft()
        taken, left, rows = [first], deque[Job](), len(first.rows)
        for job in self._jobs:
            fits = first.kind is not None and job.kind == first.kind and rows + len(job.rows) <= self.limits.batch
            if fits:
                rows += len(job.rows)
            (taken if fits else left).append(job)
        self._jobs = left
        return taken


def ending() -> Busy:
    """What who comes too late is told."""
    return Busy("the server is ending", fix="come again when it is up")


def compute(jobs: list[Job], computed: Callable[[Sequence[Job]], None]) -> None:
    """Compute jobs of one kind together; where that fails, one by one, so that each has its own answer or error.

    `computed` hears of those that were computed before they are told.
    """
    jobs = [job for job in jobs if not job.answer.cancelled()]  # who left is not computed for
    if not jobs:
        return
    try:
        found = iter(list(jobs[0].work([row for job in jobs for row in job.rows])))
    except BaseException as problem:
        if len(jobs) > 1:
            for job in jobs:
                compute([job], computed)
            return
        computed(jobs)
        _tell(jobs, problem)
        return
    computed(jobs)
    _tell(jobs, None, [list(itertools.islice(found, len(job.rows))) for job in jobs])


def _tell(jobs: Sequence[Job], problem: BaseException | None, found: Sequence[Any] = ()) -> None:
    """Give jobs their answers, or a problem; a loop is woken once for all of its own."""

    def told(some: list[tuple[Job, Any]]) -> None:
        for job, answer in some:
            if not job.answer.done():
                job.answer.set_exception(problem) if problem is not None else job.answer.set_result(answer)

    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, Any]]] = {}
    for job, answer in itertools.zip_longest(jobs, found):
        by_loop.setdefault(job.loop, []).append((job, answer))
    for loop, some in by_loop.items():
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(told, some)


@dataclass
class Remembered(Generic[T]):
    """The newest things, some in number and bytes."""

    most: int
    most_bytes: int
    held: dict[str, tuple[T, int]] = field(default_factory=dict)
    bytes: int = 0

    def put(self, key: str, thing: T, size: int) -> None:
        """Keep a thing; the oldest go."""
        if size > self.most_bytes or not self.most:
            return
        self.held[key] = (thing, size)
        self.bytes += size
        while len(self.held) > self.most or self.bytes > self.most_bytes:
            _, gone = self.held.pop(next(iter(self.held)))
            self.bytes -= gone

    def get(self, key: str) -> T | None:
        """A thing, while it is kept."""
        found = self.held.get(key)
        return found[0] if found else None
