"""A written answer said aloud: the rooms' own speaker, one voice, a WAV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError, unknown_word
from triptych.base.files import written_aside
from triptych.base.settings import parse
from triptych.contract.tasks import IN_WRITING
from triptych.contract.tools import Rendering
from triptych.modalities import rooms
from triptych.use.opened import Answer, Run

FORMAT = "wav"
ESPEAK, PIPER = ("en-us+f3", 160), 100
"""The voice that speaks where none is named, and how fast: words a minute of eSpeak NG, per cent of a Piper voice's own speed."""
MODEL = ".onnx"


@dataclass(frozen=True)
class Speaker:
    """One voice at one speed; the same words always give the same bytes."""

    rendering: Rendering

    def say(self, text: str) -> bytes:
        """A text as the bytes of a WAV file.

        Raises:
            BadValue: there is nothing in it that can be said, or too much.
        """
        if not any(map(str.isalnum, text)):
            raise BadValue(f"there is nothing in {text[:40]!r} that can be said")
        return self.rendering.render(text, self.rendering.draw("", text, {}))


def speaker(by: str | None = None, speed: int | None = None) -> Speaker:
    """The voice called `by`: `en-us+f3` of eSpeak NG (by default), or a Piper voice, NAME.onnx, or NAME.onnx#SPEAKER where it has several.

    Raises:
        InputError: there is no such voice, the speed is out of its range, or a package is missing.
    """
    name = by or ESPEAK[0]
    model, _, one = name.partition("#")
    if Path(model).suffix == MODEL:
        asked: dict[str, Any] = {"engine": "piper", "model": model, "speed": speed or PIPER} | ({"speakers": one} if one else {})
    else:
        language, _, variant = name.partition("+")
        asked = {"voices": language, "speed": speed or ESPEAK[1], "pitch": 50} | ({"speakers": variant} if variant else {})
    tool = next(
        tool for room in rooms().values() for tool in getattr(room, "tools", ()) if tool.kind == "renderer" and tool.name == "speak"
    )
    return Speaker(tool.open(parse(tool.Options, {**asked, "format": FORMAT}, "the voice")))


def spoken(text: str, by: str | None = None, speed: int | None = None) -> bytes:
    """A text as a WAV file; see `speaker`, which is opened anew."""
    return speaker(by, speed).say(text)


def told_by(run: Run, task: str | None = None) -> str:
    """The task whose answers are said: the one that is named, or the only one that is answered in writing.

    Raises:
        InputError: there is none, or several, or it is not one of the run's.
    """
    there = run.recipe.tasks
    written = [name for name, one in there.items() if one.kind in IN_WRITING and one.kind != "prefer"]
    if task is not None:
        says = [name for name, one in there.items() if one.kind not in ("contrast", "prefer")]
        if task not in says:
            raise unknown_word("task with an answer to say", task, says, where=str(run.folder.path))
        return task
    if len(written) != 1:
        what = f"the run has {len(written) or 'no'} tasks that are answered in writing"
        known = written or [name for name, one in there.items() if one.kind not in ("contrast", "prefer")]
        raise InputError(what, where=str(run.folder.path), known=known, fix="--spoken-task TASK says whose answer is spoken")
    return written[0]


def places(out: Path, names: Sequence[str]) -> list[Path]:
    """Where each answer goes: into the file `out` where that is a WAV, which takes one; else into the folder `out`, as they are named.

    Raises:
        InputError: one file is named for several answers.
    """
    if out.suffix.lower() == f".{FORMAT}":
        if len(names) > 1:
            raise InputError(
                f"{len(names)} answers do not go into one file", where=str(out), fix=f"--speak {out.stem}/ is a folder for all"
            )
        return [out]
    if out.is_file() or out.suffix:
        raise InputError(f"what is spoken is a .{FORMAT} file", where=str(out), fix=f"--speak {out.stem}.{FORMAT}, or a folder")
    taken: set[str] = set()
    found = []
    for name in names:
        stem = next(one for number in range(1, len(names) + 2) if (one := name if number == 1 else f"{name}-{number}") not in taken)
        taken.add(stem)
        found.append(out / f"{stem}.{FORMAT}")
    return found


def named(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the answer to each row is called: after the row's first file, or its place."""
    found = []
    for number, row in enumerate(rows, start=1):
        file = next((value for value in row.values() if isinstance(value, Path)), None)
        found.append(file.stem if file else f"answer-{number}")
    return found


def write_spoken(voice: Speaker, answer: Answer, task: str, path: Path) -> None:
    """Say one task's answer into a file.

    Raises:
        BadValue: the task was not answered, or with nothing that can be said.
    """
    told = answer[task]
    if not told["said"]:
        raise BadValue(f"there is nothing to say: {told.get('why_not', 'the answer is empty')}", where=f"task {task}")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = voice.say(str(told["said"]))
    with written_aside(path) as aside:
        aside.write_bytes(content)
