"""`triptych data speak`: the words of its command line. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings
from triptych.contract.tools import Rendering

BOUNDS = {"espeak": (80, 450), "piper": (25, 400)}
SPEED = {"espeak": (120, 220), "piper": (80, 125)}
PITCH = (20, 80)
ENGLISH = ("en-us", "en")
AUTO = "auto"


def _listed(value: Any) -> Any:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _range(value: Any) -> Any:
    """`120:220`, or `170` for one number."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        low, _, high = value.partition(":")
        if not (low.strip().isdigit() and (high or low).strip().isdigit()):
            raise ValueError(f"a range is LOW:HIGH in whole numbers, not {value!r}")
        return (int(low), int(high or low))
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Range = Annotated[tuple[int, int], BeforeValidator(_range)]


class Speak(Settings):
    """Who speaks, and how: each row's voice, speed and pitch are drawn from these by its id and the seed."""

    engine: Literal["espeak", "piper"] = Field(
        "espeak", description="espeak: eSpeak NG, many voices, quick; piper: a Piper voice (--model)"
    )
    model: str | None = Field(None, description="a Piper voice, NAME.onnx with NAME.onnx.json beside it")
    voices: Names | None = Field(
        None, description="eSpeak voices to draw from: languages, or language+variant; by default en-us,en, or the language of --language"
    )
    speakers: Names | None = Field(
        None,
        description="variants of eSpeak, or speakers of the Piper voice, to draw from; by default 42 that speak plainly, or all it has",
    )
    speed: Range | None = Field(
        None, description="LOW:HIGH, eSpeak: words a minute, by default 120:220; Piper: per cent of the voice's own, by default 80:125"
    )
    pitch: Range | None = Field(None, description="LOW:HIGH of 0 to 99, eSpeak alone; by default 20:80")
    language: str | None = Field(
        None, description="column with each row's language (de, en-us), or auto: found from the text, among those of --voices"
    )
    format: Literal["flac", "wav"] = Field("flac", description="flac is half as large, and loses nothing")
    seed: int = Field(0, description="another number, other voices; the same ones on every machine")

    @model_validator(mode="after")
    def _fits(self) -> Speak:
        for name, said, (least, most) in (("speed", self.speed, BOUNDS[self.engine]), ("pitch", self.pitch, (0, 99))):
            if said and not least <= said[0] <= said[1] <= most:
                raise ValueError(f"{name} is LOW:HIGH within {least} to {most}, not {said[0]}:{said[1]}")
        if self.engine == "espeak" and self.model:
            raise ValueError("model is for Piper: say engine piper too")
        if self.engine == "piper":
            if not self.model:
                raise ValueError(
                    "engine piper needs model, the path of a Piper voice: NAME.onnx, with NAME.onnx.json beside it (rhasspy/piper-voices)"
                )
            if strange := [name for name in ("voices", "pitch", "language") if getattr(self, name) is not None]:
                raise ValueError(f"{strange[0]} is for espeak: a Piper voice has its own")
        if self.language == AUTO and len({voice.partition("-")[0] for voice in self.voices or ()}) < 2:
            raise ValueError("language auto chooses among the languages of voices: name voices of two or more, en-us,de")
        return self

    def speeds(self) -> tuple[int, int]:
        """The range of speeds."""
        return self.speed or SPEED[self.engine]


class SpeakTool:
    """Implements `contract.tools.Renderer`."""

    kind: Literal["renderer"] = "renderer"
    name = "speak"
    about = "Add a spoken column to a table: each text said by a voice that is drawn for its row."
    reads = "text"
    out = "voice"
    Options: type[Settings] = Speak

    def open(self, options: Any) -> Rendering:
        """See `synthesis.py`."""
        from triptych.modalities.audio.synthesis import espoken, piped

        return piped(options, Path(options.model)) if options.engine == "piper" else espoken(options)
