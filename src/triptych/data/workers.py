"""Processes that read files for a build, so that a file that crashes its decoder, or hangs it, costs one row and not the build.

Each worker is a Python of its own that imports nothing of the user's program (no `if __name__ == "__main__"` is needed) and
is never forked, as Lance keeps threads. Which rows it is reading stands in a few bytes that both sides see: when it dies,
or stays too long at one row, it is known which one that was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from triptych.base.errors import TriptychError
from triptych.data.board import Board
from triptych.data.chunk import Chunk, Done, judge_from, write_chunk
from triptych.data.rows import Reject

RECENT = 2  # chunks under way for each worker: one is written, one is ready
TRIES = 3  # times that a chunk is begun again where no row of it can be blamed
GLANCE = 0.5  # seconds between looks at what the workers do
START = "from triptych.data.workers import serve; serve({})"


@dataclass
class Task:
    """A chunk on its way. `probed`: its rows are read one by one from there on, to learn which one ends its worker; None: written."""

    chunk: Chunk
    probed: int | None = None
    tries: int = 0

    def without(self, place: int, reason: str) -> None:
        """A row is refused in its chunk, whose order and count stay."""
        entries = list(self.chunk.entries)
        entries[place] = Reject(entries[place].id, reason)
        self.chunk = replace(self.chunk, entries=entries)

    def after_death(self, reading: list[int], how: str) -> None:
        """What is to be done next, after the worker died while it read these rows.

        Raises:
            TriptychError: it dies again and again, and of no row.
        """
        if self.probed is not None and reading:
            self.without(reading[0], f"its decoder crashed: reading it ended the process ({how})")
            self.probed = reading[0] + 1
            return
        self.tries += 1
        if self.tries >= TRIES:
            raise TriptychError(
                f"the process that reads files was ended {TRIES} times, and not by one file ({how})",
                fix="it may lack memory: start fewer --workers, or close other programs; the build goes on where it stopped",
            )
        self.probed = min(reading, default=0)

    def after_hanging(self, hung: list[int], patience: float) -> None:
        """The rows that were read for too long are refused, and the chunk is begun again."""
        for place in hung:
            self.without(place, f"its decoder hangs: reading it took more than {patience:g} s")


class Worker:
    """One process, and what it is doing."""

    def __init__(self) -> None:
        """Start it."""
        self.shared = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self.shared.truncate(Board.SIZE)
        self.board = Board(self.shared.fileno())
        self.line, theirs = Pipe()
        fds = (theirs.fileno(), self.shared.fileno())
        self.process = subprocess.Popen([sys.executable, "-c", START.format(",".join(map(str, fds)))], pass_fds=fds)
        theirs.close()
        self.line.send(sys.path)
        self.task: Task | None = None
        self._since: dict[int, float] = {}

    def give(self, task: Task) -> None:
        """Work on this."""
        self.task, self._since = task, {}
        with suppress(OSError):  # it is dead: seen when its answer is asked for
            self.line.send((task.chunk, task.probed))

    def answer(self) -> Done | Exception | None:
        """What came of the task; None where a probe found nothing.

        Raises:
            EOFError: the process is dead.
        """
        try:
            return self.line.recv()
        except OSError:
            raise EOFError from None

    def hung(self, patience: float) -> list[int]:
        """Rows that have been read for longer than `patience`, as far as it was looked."""
        now, reading = time.monotonic(), self.board.read()
        self._since = {place: self._since.get(place, now) for place in reading}
        return [place for place in reading if now - self._since[place] > patience]

    def how_it_ended(self) -> str:
        """`signal 11, SIGSEGV`, or its exit code."""
        code = self.process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {-code}, {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"

    def end(self) -> None:
        """Whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.line.close()
        self.shared.close()


class Crew:
    """Some workers that write chunks."""

    def __init__(self, count: int, patience: float) -> None:
        """`patience`: seconds that reading one row may take."""
        self.count, self.patience = count, patience
        self.workers: list[Worker] = []

    def written(self, chunks: Iterator[Chunk]) -> Iterator[Done]:
        """What came of each chunk, in their order; a few are under way at a time.

        Raises:
            Exception: what a worker raised.
        """
        order: deque[Task] = deque()
        waiting: deque[Task] = deque()
        done: dict[int, Done] = {}
        tasks = map(Task, chunks)
        try:
            while True:
                while len(order) < RECENT * self.count and (task := next(tasks, None)) is not None:
                    order.append(task)
                    waiting.append(task)
                if not order:
                    return
                self._hand_out(waiting)
                for task, found in self._finished(waiting):
                    done[id(task)] = found
                while order and id(order[0]) in done:
                    yield done.pop(id(order.popleft()))
        finally:
            for worker in self.workers:
                worker.end()

    def _hand_out(self, waiting: deque[Task]) -> None:
        for worker in self.workers:
            if waiting and worker.task is None:
                worker.give(waiting.popleft())
        while waiting and len(self.workers) < self.count:
            self.workers.append(Worker())
            self.workers[-1].give(waiting.popleft())

    def _finished(self, waiting: deque[Task]) -> Iterator[tuple[Task, Done]]:
        """Chunks that are written; what is to be done again goes back to the front of those that wait."""
        ready = wait([worker.line for worker in self.workers if worker.task], GLANCE)
        for worker in list(self.workers):
            task = worker.task
            if task is None:
                continue
            if worker.line in ready:
                found = self._answer(worker, task)
                if isinstance(found, Done):
                    yield task, found
                else:
                    waiting.appendleft(task)
            elif hung := worker.hung(self.patience):
                task.after_hanging(hung, self.patience)
                self._dismiss(worker)
                waiting.appendleft(task)

    def _answer(self, worker: Worker, task: Task) -> Done | None:
        """The chunk as it was written, or None where there is more to do."""
        try:
            found = worker.answer()
        except EOFError:
            task.after_death(worker.board.read(), worker.how_it_ended())
            self._dismiss(worker)
            return None
        worker.task = None
        if isinstance(found, Exception):
            raise found
        if found is None:
            task.probed = None
        return found

    def _dismiss(self, worker: Worker) -> None:
        worker.end()
        self.workers.remove(worker)


def serve(line: int, shared: int) -> None:
    """What a worker does until nobody is there any more to give it work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a group; the builder ends its workers itself
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with open(os.devnull, "wb") as nowhere:  # what codecs print there names no file; errors go to the builder
        os.dup2(nowhere.fileno(), 2)
    board = Board(shared)
    with Connection(line) as builder, suppress(EOFError, OSError):  # nobody is there any more
        sys.path[:] = builder.recv()
        while True:
            builder.send(_answered(builder, board))


def _end_with(parent: int) -> None:
    """A worker that hangs would outlive a builder that was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _answered(builder: Any, board: Board) -> Done | Exception | None:
    """What comes of the next task: None of a probe that found nothing."""
    try:
        chunk, probed = builder.recv()
    except EOFError:
        raise
    except Exception as error:  # a room that cannot be imported here
        return _noted(error)
    board.clear()
    try:
        if probed is None:
            return write_chunk(chunk, board.reading)
        judge_from(chunk, probed, board.reading)
        return None
    except Exception as error:
        return _noted(error)


def _noted(error: Exception) -> Exception:
    """With where it was raised, which is lost on the way to another process."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    return error
