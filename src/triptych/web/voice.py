"""/v1/audio/speech: a text -> a recording that says it, by eSpeak NG: what a run answers, for who cannot read it."""

from __future__ import annotations

import io
from typing import Annotated, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from triptych.base.errors import BadValue, InputError
from triptych.use.voiced import ESPEAK, speaker
from triptych.web.chat import named
from triptych.web.native import Native
from triptych.web.problems import Refused, TooLarge
from triptych.web.reading import tree_of
from triptych.web.schemas import Closed, checked

USUAL = ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
"""OpenAI's voices: clients must name one. Here the usual voice speaks for all of them."""
LONGEST = 4096
"""Characters of a text, as with OpenAI."""
SLOWEST, QUICKEST = 80, 450
"""Words a minute that eSpeak NG speaks."""
FORMATS = {"mp3": ("MP3", "audio/mpeg"), "wav": ("WAV", "audio/wav"), "flac": ("FLAC", "audio/flac"), "opus": ("OGG", "audio/ogg")}
PCM = 24_000
"""Samples a second of what comes without a head."""
KINDS = [*(kind for _, kind in FORMATS.values()), "audio/pcm"]


class Speech(Closed):
    """A body of /v1/audio/speech."""

    model: str = Field(max_length=300, description="any run that is served: all of them have the same voices")
    input: str = Field(min_length=1, max_length=LONGEST, description="what is said")
    voice: str = Field(
        ESPEAK[0],
        pattern=r"^[A-Za-z][A-Za-z0-9-]{0,30}(\+[A-Za-z0-9_-]{1,30})?$",
        description="a voice of eSpeak NG: a language and a variant, en-us+f3 or de+m3; OpenAI's names are the usual one",
    )
    response_format: Literal["mp3", "wav", "flac", "opus", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4, allow_inf_nan=False)] = 1.0
    instructions: Literal[""] | None = Field(None, description="nothing can be told to this voice")
    stream_format: Literal["audio"] | None = None


async def speak(native: Native, request: Request) -> Response:
    """A text as a recording: mp3 where nothing else is asked, or wav, flac, opus, pcm (16 bit, 24 kHz)."""
    asked = checked(Speech, await tree_of(request))
    named(native.service, asked["model"])
    if len(asked["input"]) > native.service.limits.characters:
        raise TooLarge(f"a text of more than the {native.service.limits.characters:,} characters that are taken", param="input")
    voice = ESPEAK[0] if asked["voice"] in USUAL else asked["voice"]
    speed = min(max(round(ESPEAK[1] * asked["speed"]), SLOWEST), QUICKEST)
    said = await native.service.decoding(_said, asked["input"], voice, speed)
    kind = asked["response_format"]
    found = await native.service.decoding(_written, said, kind)
    return Response(found, media_type=FORMATS[kind][1] if kind in FORMATS else "audio/pcm")


def _said(text: str, voice: str, speed: int) -> bytes:
    try:
        return speaker(voice, speed).say(text)
    except BadValue:
        raise
    except InputError as problem:
        raise Refused(problem.what, param="voice", fix=problem.fix, known=problem.known) from None


def _written(wav: bytes, kind: str) -> bytes:
    """A WAV as a file of another kind."""
    if kind == "wav":
        return wav
    import soundfile

    from triptych.modalities.audio.prepare import resampled

    wave_N, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    if kind == "pcm":
        wave_N = resampled(wave_N, rate, PCM)
        return bytes((wave_N.clip(-1, 1) * 32767).astype("<i2"))
    if kind == "opus":
        wave_N, rate = resampled(wave_N, rate, PCM), PCM
    held = io.BytesIO()
    soundfile.write(held, wave_N, rate, format=FORMATS[kind][0], subtype="OPUS" if kind == "opus" else None)
    return held.getvalue()
