"""What `--speak` adds to the verb `predict`: every answer as a file that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.base.errors import InputError

if TYPE_CHECKING:
    from triptych.use.opened import Answer, Run

SpeakOption = Annotated[
    str | None, typer.Option(metavar="OUT", help="say the written answer: OUT.wav for one row, or a folder, which gets a file a row")
]
ByOption = Annotated[
    str | None, typer.Option(metavar="VOICE", help="who says it: a voice of eSpeak NG, by default en-us+f3, or a Piper voice, NAME.onnx")
]
SpeedOption = Annotated[
    int | None, typer.Option(min=1, help="how fast: words a minute, by default 160; of a Piper voice per cent of its own speed")
]
TaskOption = Annotated[str | None, typer.Option(metavar="TASK", help="whose answer is said, where several tasks are answered in writing")]


class Aloud:
    """Says the answers to some rows, one after the other; without `--speak` it does nothing."""

    def __init__(
        self, run: Run, rows: Sequence[Mapping[str, Any]], out: str | None, by: str | None, speed: int | None, task: str | None
    ) -> None:
        """Raises InputError where the voice, the task or the file will not do; nothing was predicted by then."""
        self.paths: list[Path] = []
        if out is None:
            if given := [name for name, value in (("by", by), ("speed", speed), ("task", task)) if value is not None]:
                raise InputError(f"--spoken-{given[0]} is for what is spoken, and nothing is", fix="add --speak OUT.wav")
            return
        from triptych.use import voiced

        self.task, self.voice = voiced.told_by(run, task), voiced.speaker(by, speed)
        self.paths = voiced.places(Path(out), voiced.named(rows))

    def say(self, place: int, answer: Answer) -> dict[str, str]:
        """Say the answer to the row at `place`; what is to be told of it. Raises BadValue where there is nothing to say."""
        if not self.paths:
            return {}
        from triptych.use import voiced

        voiced.write_spoken(self.voice, answer, self.task, self.paths[place])
        return {"spoken": str(self.paths[place])}
