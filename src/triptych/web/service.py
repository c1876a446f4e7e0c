"""What the API and the page share: runs that are asked, rows that are answered together, answers that are remembered.

Nothing here knows HTTP or a page. All of it is called from one event loop; decoding happens in a few threads, and each run is
computed in one of its own.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from triptych.base.errors import InputError, TriptychError
from triptych.contract.cells import Blob, Cell, Several
from triptych.run.folder import open_folder
from triptych.run.spoken import Word
from triptych.use.catalogue import Hit, Part
from triptych.use.chatting import pieces
from triptych.use.feedback import Feedback, feedback_of
from triptych.use.opened import Answer, Run
from triptych.use.remarks import remark_of
from triptych.use.spaces import query_vector
from triptych.web.batching import Remembered, Watch, Worker, ending
from triptych.web.checked import check_row
from triptych.web.hearing import Listener, heard, listener, seconds_of
from triptych.web.limits import Limits
from triptych.web.problems import Gone, TooLarge, Unknown

T = TypeVar("T")
Unpacking = Callable[[Mapping[str, Any]], dict[str, Any]]
"""What was sent of a row -> its cells."""
Reading = Callable[[], list[tuple[dict[str, Any], Any]]]


@dataclass(frozen=True)
class Told:
    """What a run said of a row."""

    id: str
    """Nobody guesses it: feedback on the answer names it."""
    run: str
    tasks: dict[str, dict[str, Any]]
    """By task, as `Run.predict` says it."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"id": self.id, "run": self.run, "tasks": self.tasks, "seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class Given:
    """An answer that is remembered, with what it was about."""

    run: str
    row: dict[str, Any]
    tasks: dict[str, dict[str, Any]]


@dataclass(eq=False)
class Service:
    """Runs behind a door. `runs` by the name that callers use."""

    runs: Mapping[str, Run]
    catalogue: Any = None
    limits: Limits = field(default_factory=Limits)
    watch: Watch | None = None
    feedback_at: Path | None = None
    """Folder for remarks; by default they lie beside each run."""
    about: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    """What is told of each run."""
    feedback: dict[str, Feedback] = field(default_factory=dict, init=False)
    finder: str | None = field(default=None, init=False)
    """The run that made the catalogue."""
    _made_by: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """A thread a run, and some that decode."""
        self.workers = {name: Worker(name, self.limits, self._computed) for name in self.runs}
        self._readers = ThreadPoolExecutor(self.limits.readers, thread_name_prefix="reader")
        self.remembered = Remembered[Given](self.limits.answers, self.limits.answer_bytes)
        self.ready = False

    def load(self) -> None:
        """Read all that answers need into memory: from here on a run's folder may go.

        Raises:
            InputError: a file of a run is damaged, or the index was made by none of the runs.
        """
        for name, run in self.runs.items():
            _ = run.model, run.inputs, run.script, run.gallery
            run.model.parts()
            self.about[name] = about(name, run)
            self.feedback[name] = feedback_of(run.folder, self._place_of_feedback(name))
        if self.catalogue is not None:
            self.finder = self.maker()
            self._made_by = self.catalogue.about.model
        self.ready = True

    def _place_of_feedback(self, name: str) -> Path | None:
        """Beside the run; where another folder is named, in that, by the run's name."""
        return None if self.feedback_at is None else self.feedback_at / f"{name}.lance"

    def maker(self) -> str:
        """Which run made the catalogue.

        Raises:
            InputError: none of them did.
        """
        problem: InputError | None = None
        for name, run in self.runs.items():
            try:
                self.catalogue.check(run)
                return name
            except InputError as one:
                problem = problem or one
        assert problem is not None and self.catalogue is not None
        made_by = self.catalogue.about.run
        raise InputError(
            f"the index was made by none of the runs that are served: {', '.join(self.runs)}",
            where=problem.where,
            known=problem.known,
            fix=f"serve {made_by} too, or make one with a run of these: triptych search build RUN SOURCE --out FOLDER",
        ) from problem

    def close(self) -> None:
        """Let all threads end."""
        self.ready = False
        for worker in self.workers.values():
            worker.close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def run(self, name: str | None = None) -> str:
        """The name of a run; None is the only one, or the first.

        Raises:
            Unknown: there is none of that name.
        """
        if name is None:
            return next(iter(self.runs))
        if name not in self.runs:
            raise Unknown(f"there is no run {name[:80]!r} here", param="run", known=list(self.runs))
        return name

    async def predict(self, run: str | None, row: Mapping[str, Cell], tasks: Sequence[str] | None = None) -> Told:
        """What a run says of one row; inputs left out are absent.

        Raises:
            InputError: an unknown input or task, nothing at all, or a value that cannot be read.
            Busy: too many rows wait.
        """
        return (await self.predict_rows(run, [row], tasks))[0]

    async def predict_rows(
        self, run: str | None, rows: Sequence[Mapping[str, Any]], tasks: Sequence[str] | None = None, cells: Unpacking = dict
    ) -> list[Told]:
        """The same of several rows, in their order; `cells` makes them of what was sent, in a thread that decodes."""
        name, started = self.run(run), time.perf_counter()
        found = await self.answered(name, rows, self._tasks(self.runs[name], tasks), cells)
        seconds = time.perf_counter() - started
        return [self._told(name, row, answer, seconds) for row, answer in found]

    async def answered(
        self, name: str, rows: Sequence[Mapping[str, Any]], tasks: tuple[str, ...] | None, cells: Unpacking = dict
    ) -> list[tuple[dict[str, Any], Answer]]:
        """Rows as they were read, each with its answer, which nobody remembers."""
        opened = self.runs[name]

        def work(pairs: list[Any]) -> list[tuple[dict[str, Any], Answer]]:
            held = [row for row, _ in pairs]
            return list(zip(held, opened.answers(held, [values for _, values in pairs], tasks), strict=True))

        read = self._reading(opened, rows, cells)
        return await self.workers[name].when_read(("predict", tasks), work, len(rows), read, self._readers)

    async def embed(
        self, run: str | None, rows: Sequence[Mapping[str, Any]], cells: Unpacking = dict
    ) -> list[dict[str, list[float] | None]]:
        """Vectors of each row: `fused`, and `TASK.INPUT` where a task has such; None where the row lacks the input."""
        name = self.run(run)
        opened = self.runs[name]

        def work(pairs: list[Any]) -> list[dict[str, list[float] | None]]:
            columns = opened.vectors([values for _, values in pairs])
            return [{column: vectors[place] for column, vectors in columns.items()} for place in range(len(pairs))]

        return await self.workers[name].when_read("embed", work, len(rows), self._reading(opened, rows, cells), self._readers)

    async def write(self, run: str | None, task: str, row: Mapping[str, Cell], settings: Any = None, seed: int = 0) -> Writing:
        """Begin one row's answer in writing; its pieces come from what is given back.

        Raises:
            InputError: a value cannot be read, or nothing is left of the question.
        """
        name = self.run(run)
        opened = self.runs[name]
        held: Any = settings or opened.recipe.tasks[task]
        with self.workers[name].coming(1):
            values = (await self.decoding(self._reading(opened, [row])))[0][1]
        writing = Writing(f"chatcmpl-{secrets.token_urlsafe(16)}", name, held.longest)

        def begun() -> Iterator[str]:
            writing.asked, texts = opened.writing(task, row, values, settings, seed)
            return pieces(writing.counted(texts), held.stop)

        writing.source = self.workers[name].pieces(begun)
        writing.done = lambda said: self.remember(Told(writing.id, name, {task: {"said": said}}, 0.0), row)
        return writing

    async def stream(self, run: str | None, task: str, row: Mapping[str, Cell], settings: Any = None) -> AsyncIterator[str]:
        """One row's answer in writing, piece by piece; who stops listening stops it. For more than the text, see `write`."""
        async with aclosing((await self.write(run, task, row, settings)).pieces()) as said:
            async for piece in said:
                yield piece

    async def transcribe(self, run: str | None, sound: Blob, task: str | None = None) -> Heard:
        """What is said in a recording of any length, with times.

        Raises:
            InputError: no task of the run writes that down, or it cannot be read.
        """
        name = self.run(run)
        opened = self.runs[name]
        listens = listener(opened, task)
        with self.workers[name].coming(1):
            await self.decoding(check_row, opened.recipe, {listens.input: sound}, self.limits)
            seconds = await self.decoding(seconds_of, opened, listens, sound)
        words: list[Word] = []
        async with aclosing(self.workers[name].pieces(lambda: heard(opened, listens, sound))) as some:
            async for found in some:
                words += found
        return Heard(name, listens, tuple(words), seconds)

    async def search(self, parts: Sequence[Part], limit: int = 10, where: str | None = None) -> list[Hit]:
        """Rows of the catalogue that are nearest to a sum of parts.

        Raises:
            InputError: a part or the condition cannot be used.
            Unknown: the server has no catalogue.
        """
        catalogue, name = self.catalogue, self.finder
        if catalogue is None or name is None:
            raise Unknown("this server has no index to search", fix="triptych serve RUN --index FOLDER")
        if limit > self.limits.found:
            raise TooLarge(f"{limit} hits are more than the {self.limits.found} of one search", param="limit")
        run = self.runs[name]
        with self.workers[name].coming(1):
            for part in parts:
                await self.decoding(check_row, run.recipe, {part.input: part.value}, self.limits)
        vector = await self.workers[name].alone(lambda: query_vector(run, catalogue.space, parts))
        try:
            return await self.decoding(self._nearest, vector, limit, where)
        except InputError:
            if catalogue.path.is_dir():
                raise
            raise Gone("the index is no longer there", fix="build it again, and start the server anew") from None

    def _nearest(self, vector: Any, limit: int, where: str | None) -> list[Hit]:
        self.catalogue.refresh()
        if self.catalogue.about.model != self._made_by:
            raise Gone("the index was built anew by another model", fix="start the server anew with that run")
        return self.catalogue.nearest(vector, limit=limit, where=where)

    async def remark(self, answer_id: str, **words: Any) -> str:
        """Keep what somebody says of an answer; the remark's id. `words` are those of a `Remark`.

        Raises:
            Unknown: there is no such answer, or it is too long ago.
            InputError: the words say nothing that can be said of the run.
        """
        kept = self.remembered.get(answer_id)
        if kept is None:
            fix = "ids are remembered for a while, and not when the server is started anew"
            raise Unknown(f"there is no answer {answer_id[:80]!r}", param="answer_id", fix=fix)
        feedback = self.feedback[kept.run]
        remark = remark_of({**words, "answer_id": answer_id}, self.runs[kept.run].recipe)
        task = remark.task or next(iter(kept.tasks))
        remark = remark.model_copy(update={"task": task, "answer": kept.tasks.get(task)})
        try:
            return await self.decoding(feedback.add, remark, kept.row)
        except TriptychError as problem:
            if isinstance(problem, InputError) and feedback.path.parent.is_dir():
                raise
            raise Gone(f"the remark is not kept: {problem.what}", fix=problem.fix) from problem

    async def decoding(self, work: Callable[..., T], *given: Any) -> T:
        """`work(*given)` in one of the threads that decode."""
        try:
            work_of = asyncio.get_running_loop().run_in_executor(self._readers, work, *given)
        except RuntimeError:  # the threads have ended
            raise ending() from None
        return await work_of

    def _reading(self, run: Run, rows: Sequence[Mapping[str, Any]], cells: Unpacking = dict) -> Reading:
        """What reads some rows, in a thread that decodes: the cells of each, and what its rooms read of them."""
        if len(rows) > self.limits.rows:
            raise TooLarge(
                f"{len(rows):,} rows are more than the {self.limits.rows} that one request may have", fix="send several requests"
            )

        def read() -> list[tuple[dict[str, Any], Any]]:
            held = [cells(row) for row in rows]
            for row in held:
                check_row(run.recipe, row, self.limits)
            return [(row, run.read_row(row)) for row in held]

        return read

    def _tasks(self, run: Run, tasks: Sequence[str] | None) -> tuple[str, ...] | None:
        if tasks is None:
            return None
        for task in tasks:
            if task not in run.answered:
                raise Unknown(f"there is no task {task[:80]!r} in this run", param="tasks", known=run.answered)
        return tuple(dict.fromkeys(tasks))

    def _told(self, name: str, row: Mapping[str, Cell], answer: Answer, seconds: float) -> Told:
        told = Told(secrets.token_urlsafe(16), name, answer.tasks, seconds)
        self.remember(told, row)
        return told

    def remember(self, told: Told, row: Mapping[str, Cell]) -> None:
        """Keep an answer and what it was about, for feedback on it."""
        self.remembered.put(told.id, Given(told.run, dict(row), told.tasks), sum(map(_size, row.values())) + 2048)

    def _computed(self, name: str, rows: int) -> None:
        if self.watch is not None:
            self.watch(name, rows)


@dataclass
class Writing:
    """An answer while it is written."""

    id: str
    run: str
    longest: int
    asked: int = 0
    """Pieces of the question; known once the first piece of the answer has come."""
    count: int = 0
    """Pieces of the answer so far."""
    source: AsyncGenerator[str] | None = None
    done: Callable[[str], None] = lambda said: None

    @property
    def cut(self) -> bool:
        """Whether it ended because it may not be longer."""
        return self.count >= self.longest

    def counted(self, texts: Iterator[str]) -> Iterator[str]:
        """As it is written, a piece a step."""
        for text in texts:
            self.count += 1
            yield text

    async def pieces(self) -> AsyncGenerator[str]:
        """What is new, again and again; the whole is remembered once it is written."""
        assert self.source is not None
        said = ""
        async with aclosing(self.source) as source:
            async for piece in source:
                said += piece
                yield piece
        self.done(said)


@dataclass(frozen=True)
class Heard:
    """What is said in a recording of `seconds`."""

    run: str
    listens: Listener
    words: tuple[Word, ...]
    seconds: float

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(word.text for word in self.words)


def about(name: str, run: Run) -> dict[str, Any]:
    """What is told of a run: what it takes, what it answers, how well."""
    inputs = {column: {"modality": settings.modality} for column, settings in run.recipe.inputs.items()}
    tasks = {task: {"kind": settings.kind, "answered": task in run.answered} for task, settings in run.recipe.tasks.items()}
    told = run.folder.read("run.json")
    scores = [{key: score.get(key) for key in ("name", "untouched", "trained")} for score in run.scores]
    return {
        "id": name,
        "about": run.recipe.about,
        "made": told.get("made"),
        "inputs": inputs,
        "words": run.words,
        "tasks": tasks,
        "scores": scores,
    }


def _size(cell: Any) -> int:
    if isinstance(cell, Several):
        return sum(map(_size, cell.items))
    return len(cell) if isinstance(cell, bytes | str) else 64


def open_runs(paths: Sequence[str | Path]) -> dict[str, Run]:
    """Finished runs by their folders' names; of two folders of one name the second is NAME-2.

    Raises:
        InputError: a folder is no finished run.
    """
    found: dict[str, Run] = {}
    for path in paths:
        run = Run(open_folder(path))
        base = run.folder.path.resolve().name
        name = next(name for name in [base, *(f"{base}-{n}" for n in range(2, len(paths) + 1))] if name not in found)
        found[name] = run
    return found


__all__ = ["Blob", "Given", "Service", "Told", "open_runs"]
