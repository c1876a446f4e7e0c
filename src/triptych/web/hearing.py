"""A recording -> what is said in it and when, by whichever of a run's tasks can write that down."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob
from triptych.contract.modality import Limited, Streamed, Timed
from triptych.run.progress import Voice
from triptych.run.spoken import Word
from triptych.run.writing import words_of as words_asked
from triptych.use.opened import Run
from triptych.use.subtitles import AT_ONCE, WINDOW, words_of
from triptych.web.problems import Refused

AT_A_TIME = 64
"""Words of one step: others are answered in between."""


@dataclass(frozen=True)
class Listener:
    """A task of a run that writes down what is said. `timed`: it knows when each word was said."""

    task: str
    input: str
    timed: bool


def listener(run: Run, task: str | None = None) -> Listener:
    """The task so called, or the first that can.

    Raises:
        Refused: there is none.
    """
    known = [found for name, settings in run.recipe.tasks.items() if (found := _listener(run, name, settings)) is not None]
    if not known:
        fix = "a run with a ctc task, or one whose question is a recording alone"
        raise Refused("no task of this run writes down what is said", param="model", fix=fix)
    chosen = next((one for one in known if task in (None, one.task)), None)
    if chosen is None:
        raise Refused(f"task {(task or '')[:80]!r} does not write down what is said", param="model", known=[one.task for one in known])
    return chosen


def _listener(run: Run, name: str, task: Any) -> Listener | None:
    audio = [column for column, settings in run.recipe.inputs.items() if settings.modality == "audio"]
    if task.kind == "ctc":
        given = run.model.parts()[name].facts["input"]
        return Listener(name, given, True) if given in audio else None
    if task.kind != "generate" or task.template is None or task.choices:
        return None
    named = {field for _, field, _, _ in string.Formatter().parse(task.template) if field}
    others = [column for column in words_asked(run.recipe, task) if column != task.target]
    return Listener(name, next(iter(named)), False) if len(named) == 1 and named <= set(audio) and not others else None


def seconds_of(run: Run, listens: Listener, sound: Blob) -> float:
    """How long a recording is. Raises BadValue where it is none."""
    room = run.inputs[listens.input][0]
    return room.duration(sound) if isinstance(room, Timed) else 0.0


def heard(run: Run, listens: Listener, sound: Blob) -> Iterator[list[Word]]:
    """The words in their order, some at a time, made while they are asked for.

    A task that does not know when words were said tells each window's; their times are spread evenly over it.

    Raises:
        BadValue: the recording cannot be read.
    """
    words = words_of(run, sound, Voice(quiet=True), task=listens.task) if listens.timed else _written(run, listens, sound)
    while some := list(itertools.islice(words, AT_A_TIME)):
        yield some


def _written(run: Run, listens: Listener, sound: Blob) -> Iterator[Word]:
    room, preparation = run.inputs[listens.input]
    most = preparation.limit().most if isinstance(preparation, Limited) else WINDOW
    if not isinstance(room, Streamed):
        raise BadValue(f"input {listens.input!r} is not heard window by window")
    windows = iter(room.windows(sound, min(WINDOW, most), 0.0))
    while some := list(itertools.islice(windows, AT_ONCE)):
        values = [{listens.input: value} for _, value in some]
        for (start, value), answer in zip(some, run.answers(values, values, [listens.task]), strict=True):
            said = str(answer[listens.task]["said"]).split()
            step = getattr(value, "seconds", most) / max(len(said), 1)
            yield from (Word(word, start + n * step, start + (n + 1) * step, 1.0) for n, word in enumerate(said))
