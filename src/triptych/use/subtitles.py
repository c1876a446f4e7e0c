"""A recording of any length -> its words with their times, window by window, and subtitles of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, unknown_word
from triptych.base.files import written_aside
from triptych.contract.cells import Blob
from triptych.contract.modality import Limited, Paced, Streamed, Timed
from triptych.contract.values import Value
from triptych.run.progress import Voice
from triptych.run.spoken import Word, joined, spoken
from triptych.use.cues import WRITERS, cues
from triptych.use.opened import Run

WINDOW, OVERLAP = 30.0, 2.0
AT_ONCE = 4
"""Windows that go through the model together."""


def words_of(
    run: Run, path: Path | Blob, voice: Voice, *, task: str | None = None, window: float | None = None, overlap: float = OVERLAP
) -> Iterator[Word]:
    """The words of a recording in their order, made while they are asked for; memory does not grow with its length.

    Args:
        run: a run with a task that reads a sequence.
        path: the recording, or a film; or the content of one.
        voice: shows how far it is.
        task: which task, where there are several.
        window: seconds that are heard at once; by default 30, or as many as the run's input takes.
        overlap: seconds that two windows share.

    Raises:
        InputError: the run has no such task, or the window does not fit.
        BadValue: the recording cannot be read.
    """
    name = _task(run, task)
    given = run.model.parts()[name].facts["input"]
    room, preparation = run.inputs[given]
    most = preparation.limit().most if isinstance(preparation, Limited) else float("inf")
    seconds = min(WINDOW, most) if window is None else window
    _check_window(seconds, overlap, most, given)
    if not isinstance(room, Streamed):
        raise InputError(
            f"input {given!r} is read whole, and cannot be heard window by window", fix=f"triptych predict {run.folder.path} FILE"
        )
    total = room.duration(path) if isinstance(room, Timed) else 0.0
    windows = room.windows(path, seconds, overlap)
    count = max(1, -int(-(total - overlap) // (seconds - overlap)))

    def heard() -> Iterator[tuple[float, list[Word]]]:
        shown = iter(voice.track(windows, count, "listening"))
        while some := list(itertools.islice(shown, AT_ONCE)):
            yield from zip([start for start, _ in some], _heard(run, name, given, preparation, some), strict=True)

    return joined(heard(), overlap)


def _heard(run: Run, name: str, given: str, preparation: Any, some: list[tuple[float, Value]]) -> list[list[Word]]:
    passed, _ = run.passed([{given: value} for _, value in some])
    begins = [start + (preparation.begins(value) if isinstance(preparation, Paced) else 0.0) for start, value in some]
    return spoken(run.recipe.tasks[name], run.model.parts()[name].facts, passed.outputs[name], begins)


def _task(run: Run, asked: str | None) -> str:
    known = [name for name, task in run.recipe.tasks.items() if task.kind == "ctc"]
    if not known:
        what = "no task of this run writes down what is said"
        raise InputError(
            what, where=str(run.folder.path), fix="train one: tasks: {text: {kind: ctc, target: COLUMN}}, as in triptych train transcribe"
        )
    if asked is not None and asked not in known:
        raise unknown_word("ctc task", asked, known, where=str(run.folder.path))
    if asked is None and len(known) > 1:
        raise InputError(f"several tasks of this run write down what is said: {', '.join(known)}", fix=f"--task {known[0]}")
    return asked or known[0]


def _check_window(seconds: float, overlap: float, most: float, given: str) -> None:
    if seconds > most:
        raise InputError(
            f"a window of {seconds:g} s is longer than the {most:g} s that input {given!r} hears at once", fix=f"--window {most:g}"
        )
    if not 0 <= overlap <= seconds / 2:
        what = f"windows of {seconds:g} s cannot overlap by {overlap:g} s: at most half of a window is shared"
        raise InputError(what, fix=f"--overlap {min(OVERLAP, seconds / 4):g}")


def write_subtitles(words: Iterable[Word], out: Path) -> dict[str, Any]:
    """Write a .srt or .vtt file; tells its path, and how many words and subtitles it has.

    Raises:
        InputError: the ending is another.
    """
    writer = writer_of(out)
    counts = {"words": 0, "subtitles": 0}

    def counted(key: str, things: Iterable[Any]) -> Iterator[Any]:
        for thing in things:
            counts[key] += 1
            yield thing

    with written_aside(out) as aside, Path(aside).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(writer(counted("subtitles", cues(counted("words", words)))))
    return {"out": str(out), **counts}


def writer_of(out: Path) -> Any:
    """What writes a file of that name. Raises InputError where its ending is no subtitles'."""
    if out.suffix.lower() not in WRITERS:
        raise InputError(f"{str(out)!r} is no file of subtitles", known=list(WRITERS), fix=f"--out {out.with_suffix('.srt')}")
    return WRITERS[out.suffix.lower()]
