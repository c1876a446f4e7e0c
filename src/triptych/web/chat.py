"""/v1/chat/completions: what OpenAI's clients send -> a question to a run that answers in writing."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from triptych.contract.cells import Blob
from triptych.use.chatting import Conversation
from triptych.use.opened import Run
from triptych.web.media import content
from triptych.web.native import Native
from triptych.web.problems import Refused, TooLarge, Unknown
from triptych.web.reading import tree_of
from triptych.web.schemas import Closed, checked
from triptych.web.service import Service, Writing
from triptych.web.told import as_problem, told

HARMLESS = ("user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier", "prompt_cache_retention")
"""Words that change no answer here, nor with OpenAI."""
USUAL: dict[str, Sequence[Any]] = {
    "n": (1,),
    "logprobs": (False,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Words that a decoder here has nothing for, and the values that ask for nothing."""


class Address(BaseModel):
    """Where a picture or a film is: a data URL."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class Sound(BaseModel):
    """A recording."""

    data: str
    format: str = Field("wav", max_length=20)


class Text(BaseModel):
    """Words of a message."""

    type: Literal["text"]
    text: str


class Image(BaseModel):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: Address


class Audio(BaseModel):
    """A recording of a message."""

    type: Literal["input_audio"]
    input_audio: Sound


class Video(BaseModel):
    """A film of a message; OpenAI has none."""

    type: Literal["video_url"]
    video_url: Address


class Message(Closed):
    """What was said by somebody."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Annotated[Text | Image | Audio | Video, Field(discriminator="type")]] | None = None
    name: str | None = Field(None, max_length=200)
    refusal: None = None


class Wanted(BaseModel):
    """Of a stream: whether the counts come at its end."""

    include_usage: bool = False


class Chat(BaseModel):
    """A body of /v1/chat/completions. Other words of OpenAI's are refused where they ask for something."""

    model_config = ConfigDict(extra="allow")
    model: str = Field(max_length=300, description="a run, or RUN:TASK; GET /v1/models lists them")
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: Wanted | None = None
    max_tokens: int | None = Field(None, ge=1, description="pieces of the answer at most")
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: (
        Annotated[str, Field(min_length=1, max_length=200)]
        | Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=4)]
        | None
    ) = None


@dataclass(frozen=True)
class Question:
    """What a run is asked."""

    run: str
    task: str
    row: dict[str, Any]
    settings: Any
    seed: int


async def complete(native: Native, request: Request) -> Response:
    """An answer in writing to a conversation with pictures and recordings, at once or as it is written."""
    tree = await tree_of(request)
    _refuse_strange(tree)
    asked = checked(Chat, tree)
    service = native.service
    question = await service.decoding(_question, native, asked)
    writing = await service.write(question.run, question.task, question.row, question.settings, question.seed)
    model, pieces = asked["model"], writing.pieces()
    if asked["stream"]:
        first = await anext(pieces, "")  # what is wrong is said with its own status, and not in the middle of an answer
        usage = bool(asked["stream_options"] and asked["stream_options"]["include_usage"])
        return StreamingResponse(
            _streamed(writing, model, first, pieces, usage), media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )
    said = ""
    async with aclosing(pieces):
        async for piece in pieces:
            said += piece
            if await request.is_disconnected():
                break
    message = {"role": "assistant", "content": said, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": _why(writing), "logprobs": None}
    return told({**_head(writing, model, "chat.completion"), "choices": [choice], "usage": _usage(writing)})


async def _streamed(writing: Writing, model: str, first: str, rest: AsyncGenerator[str], usage: bool) -> AsyncGenerator[bytes]:
    """The events of a stream. Who leaves cancels this, and with it what writes."""
    head = _head(writing, model, "chat.completion.chunk")

    def event(delta: dict[str, Any], why: str | None = None) -> bytes:
        chunk = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": why, "logprobs": None}]}
        return b"data: " + to_json(chunk) + b"\n\n"

    async with aclosing(rest):
        yield event({"role": "assistant", "content": first})
        try:
            async for piece in rest:
                yield event({"content": piece})
        except Exception as problem:
            yield b"data: " + bytes(as_problem(problem).body) + b"\n\n"
            return
    yield event({}, _why(writing))
    if usage:
        yield b"data: " + to_json({**head, "choices": [], "usage": _usage(writing)}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def _head(writing: Writing, model: str, kind: str) -> dict[str, Any]:
    return {"id": writing.id, "object": kind, "created": int(time.time()), "model": model}


def _why(writing: Writing) -> str:
    return "length" if writing.cut else "stop"


def _usage(writing: Writing) -> dict[str, int]:
    return {"prompt_tokens": writing.asked, "completion_tokens": writing.count, "total_tokens": writing.asked + writing.count}


def _refuse_strange(tree: dict[str, Any]) -> None:
    """Raises where a word asks for what no decoder here can do."""
    for name, value in tree.items():
        if name in Chat.model_fields or name in HARMLESS or value is None:
            continue
        if name not in USUAL or not any(value == usual and isinstance(value, type(usual)) for usual in USUAL[name]):
            raise Refused(f"{name[:80]!r} is nothing that this server can do", param=name[:80], fix="leave it out")


def named(service: Service, model: str) -> tuple[str, str | None]:
    """RUN or RUN:TASK -> both.

    Raises:
        Unknown: there is no such run.
    """
    run, _, task = model.rpartition(":")
    if model in service.runs:
        return model, None
    if run in service.runs:
        return run, task
    raise Unknown(f"there is no model {model[:80]!r} here", param="model", known=list(service.runs))


def _question(native: Native, asked: dict[str, Any]) -> Question:
    """What the run is asked; decodes nothing but base64."""
    service = native.service
    name, task = named(service, asked["model"])
    run = service.runs[name]
    talk = Conversation(run, task)
    _fill(native, talk, asked["messages"])
    line = talk.said.pop()["content"] if talk.said and talk.said[-1]["role"] == "user" else None
    if line is None:
        raise Refused("the last message is not the user's", param="messages", fix="end with a message of role user")
    if not talk.whole and line and talk.asked is None:
        what = f"the question of task {talk.task!r} has no place for words: {talk.tasks[talk.task].template}"
        raise Refused(what, param="messages", fix="send the files without a text")
    seed = asked["seed"] if asked["seed"] is not None else secrets.randbits(62)
    return Question(name, talk.task, talk.row(line), _settings(service, talk, asked), seed)


def _settings(service: Service, talk: Conversation, asked: dict[str, Any]) -> Any:
    """The task's settings with what the caller wants of them."""
    held = talk.settings()
    most = asked["max_completion_tokens"] or asked["max_tokens"]
    if most is not None and most > service.limits.tokens:
        raise TooLarge(f"{most:,} pieces are more than the {service.limits.tokens:,} of one answer", param="max_tokens")
    if held.choices and (asked["stop"] or asked["temperature"]):
        raise Refused(f"task {talk.task!r} answers with one of some choices: nothing is drawn or stopped", param="temperature")
    stop = [asked["stop"]] if isinstance(asked["stop"], str) else asked["stop"]
    wanted = {"longest": most, "temperature": asked["temperature"], "top_p": asked["top_p"], "stop": stop}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if wanted.get("temperature"):
        wanted["beams"] = 1  # a search for the likeliest draws nothing
    return held.model_copy(update={"longest": min(held.longest, service.limits.tokens), **wanted})


def _fill(native: Native, talk: Conversation, messages: list[dict[str, Any]]) -> None:
    """Tell a conversation all messages. Where questions stand alone, the files and words of the last ones stay."""
    length = 0
    for message in messages:
        parts = message["content"] or []
        parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
        length += sum(len(part.get("text", "")) for part in parts)
        if length > native.service.limits.characters:
            raise TooLarge(
                f"the conversation is longer than the {native.service.limits.characters:,} characters that are taken", param="messages"
            )
        if message["role"] in ("system", "developer"):
            talk.system = "\n".join([*([talk.system] if talk.system else []), _words(parts)])
            continue
        talk.said.append({"role": message["role"], "content": _content(native, talk, message["role"], parts)})
    if talk.whole:  # each file has its place in the words already
        talk.shared, talk.given = talk.given, {}


def _words(parts: list[dict[str, Any]]) -> str:
    if any(part["type"] != "text" for part in parts):
        raise Refused("system messages have words alone", param="messages")
    return "\n".join(part["text"] for part in parts)


def _content(native: Native, talk: Conversation, role: str, parts: list[dict[str, Any]]) -> str:
    """A message's words; of a whole conversation with a place for each file, which is kept beside."""
    words, given, counts = list[str](), dict[str, list[Any]](), dict[str, int]()
    for part in parts:
        if part["type"] == "text":
            words.append(part["text"])
            continue
        if role != "user":
            raise Refused("only a user's messages have files", param="messages")
        name = _input(talk.run, part["type"].partition("_")[0].replace("input", "audio"), counts)
        given.setdefault(name, []).append(_file(native, part))
        if talk.whole:
            words.append(f"<{name}>")
    for name, files in given.items():
        talk.given[name] = [*talk.given.get(name, []), *files] if talk.whole else files
    return "\n".join(words) if talk.whole else " ".join(words).strip()


def _input(run: Run, modality: str, counts: dict[str, int]) -> str:
    """The input that a file is for: the only one of its modality, or the next one of several."""
    known = [name for name, settings in run.recipe.inputs.items() if settings.modality == modality]
    if not known:
        has = ", ".join(settings.modality for settings in run.recipe.inputs.values())
        raise Refused(f"this run has no input for {modality}: it has {has}", param="messages")
    place = counts.get(modality, 0) if len(known) > 1 else 0
    counts[modality] = counts.get(modality, 0) + 1
    if place >= len(known):
        raise Refused(f"this run has {len(known)} inputs for {modality}, and a message has more", param="messages", known=known)
    return known[place]


def _file(native: Native, part: dict[str, Any]) -> Blob:
    held = part[part["type"]]
    return content(held["data"] if "data" in held else held["url"], part["type"], native.fetch)
