"""/v1/audio/transcriptions: a recording -> its words, as text, with times, or as subtitles."""

from __future__ import annotations

import math
import zlib
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import Field
from starlette.datastructures import UploadFile

from triptych.run.spoken import Word
from triptych.use.cues import cues, srt, vtt
from triptych.web.chat import named
from triptych.web.native import Native
from triptych.web.problems import Refused
from triptych.web.reading import OtherKind, blob_of, form_of, is_form
from triptych.web.schemas import Closed, checked
from triptych.web.service import Heard
from triptych.web.told import told

LISTS = ("timestamp_granularities", "include")
FORM = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "a recording, or a film"},
        "model": {"type": "string", "description": "a run, or RUN:TASK"},
        "response_format": {"type": "string", "enum": ["json", "text", "srt", "vtt", "verbose_json"]},
        "language": {"type": "string"},
    },
}


class Transcription(Closed):
    """The fields of the form besides its file."""

    model: str = Field(max_length=300)
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    language: str | None = Field(None, max_length=40, description="is given back: a run knows the language it was trained on")
    prompt: Literal[""] | None = Field(None, description="nothing can be told to what listens")
    temperature: Annotated[float, Field(ge=0, le=0)] | None = Field(None, description="0: nothing is drawn")
    stream: Literal["false", "False"] | None = Field(None, description="comes whole")
    timestamp_granularities: list[Literal["word", "segment"]] = Field(default=[], max_length=2)
    include: list[str] = Field(default=[], max_length=0)


async def transcribe(native: Native, request: Request) -> Response:
    """What is said in a recording of any length: text, words with their times, or subtitles."""
    if not is_form(request):
        raise OtherKind("a recording is sent as a form", known=["multipart/form-data"])
    async with form_of(request, native.service.limits) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refused("there is no file in the form", param="file")
        sound = await blob_of(file)
        given: dict[str, Any] = {}
        for key, value in form.multi_items():
            name = key.removesuffix("[]")
            if name != "file":
                given[name] = [*given.get(name, []), value] if name in LISTS else value
    asked = checked(Transcription, given)
    run, task = named(native.service, asked["model"])
    return _as(await native.service.transcribe(run, sound, task), asked)


def _as(heard: Heard, asked: dict[str, Any]) -> Response:
    kind = asked["response_format"]
    if "word" in asked["timestamp_granularities"] and not heard.listens.timed:
        raise Refused("this run does not know when each word was said", param="timestamp_granularities", fix="leave it out")
    if kind == "text":
        return PlainTextResponse(f"{heard.text}\n")
    if kind in ("srt", "vtt"):
        writer = srt if kind == "srt" else vtt
        return Response("".join(writer(cues(heard.words))), media_type="text/vtt" if kind == "vtt" else "application/x-subrip")
    usage = {"type": "duration", "seconds": round(heard.seconds, 3)}
    if kind == "json":
        return told({"text": heard.text, "usage": usage})
    words = [{"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in heard.words]
    found = {"task": "transcribe", "language": asked["language"] or "und", "duration": round(heard.seconds, 3), "text": heard.text}
    with_words = heard.listens.timed and "word" in asked["timestamp_granularities"]
    return told({**found, "segments": _segments(heard.words, heard.seconds), **({"words": words} if with_words else {}), "usage": usage})


def _segments(words: tuple[Word, ...], seconds: float) -> list[dict[str, Any]]:
    """As subtitles would show them, but none goes on behind the end of the recording; figures of Whisper's that nothing here has are 0."""
    found = []
    for number, cue in enumerate(cues(words)):
        text = " ".join(cue.lines)
        inside = [word for word in words if cue.start - 1e-6 <= word.middle <= cue.end + 1e-6] or list(words)
        sure = sum(math.log(max(word.confidence, 1e-9)) for word in inside) / len(inside)
        packed = len(text.encode()) / max(len(zlib.compress(text.encode())), 1)
        end = max(cue.start, min(cue.end, seconds))
        times = {"id": number, "seek": 0, "start": round(cue.start, 3), "end": round(end, 3), "text": text, "tokens": []}
        found.append({**times, "temperature": 0.0, "avg_logprob": sure, "compression_ratio": packed, "no_speech_prob": 0.0})
    return found
