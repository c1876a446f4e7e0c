"""Conversations as people keep them, to turns: the message shapes of OpenAI, ShareGPT and LLaVA."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from triptych.base.errors import BadValue, nearest
from triptych.modalities.text.read import whole

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
"""Who speaks: OpenAI's words, ShareGPT's, and those that exports of other chats use."""
FORMS = (("role", "content"), ("from", "value"))
"""How a message says who speaks and what: as OpenAI does, as ShareGPT does."""
LISTS = ("messages", "conversations", "conversation")
"""Under which name a whole object holds its messages."""
KINDS: dict[str, str] = {
    **dict.fromkeys(("image", "image_url", "input_image"), "image"),
    **dict.fromkeys(("audio", "audio_url", "input_audio"), "audio"),
    **dict.fromkeys(("video", "video_url", "input_video"), "video"),
}
"""Parts of a message that are media, and the word for each."""
TEXTS = ("text", "input_text", "output_text")
MEDIA: dict[str, str] = {"image": "image", "audio": "audio", "video": "video"}
"""The word that stands for a medium, `<image>` in LLaVA's texts, and the input that it means where nobody says otherwise."""
SHAPES = ('[{"role": "user", "content": ...}, ...]', '[{"from": "human", "value": ...}, ...]')


class Slot(NamedTuple):
    """Where the value of an input stands in a text: its `item`-th, of rows that have several."""

    name: str
    item: int = 0


@dataclass(frozen=True)
class Turn:
    """What one speaker says: words and slots in their order. `learnt`: it is an answer, to be given."""

    role: Role
    parts: tuple[str | Slot, ...]
    learnt: bool = False


def read_messages(cell: Any, where: str = "", media: Mapping[str, str] = MEDIA) -> list[Turn]:
    """A conversation, as a list of messages or JSON text, to turns. Tools, names and whatever else messages say is passed over.

    What an assistant says is learnt, but for messages of `weight` 0.

    Args:
        cell: a list of messages, an object that holds one, or either as JSON text.
        where: the row, for messages about what is wrong.
        media: {word of a medium: the input that takes it}. `<word>` in what a user says is its slot, and so is a part of that
            kind; a word that is not here is a word like others.

    Raises:
        BadValue: it is no conversation; a role is unknown; a message says nothing; a medium stands in an answer or has no input.
    """
    found = _messages(cell, where)
    turns: list[Turn] = []
    used: Counter[str] = Counter()
    for number, message in enumerate(found, start=1):
        at = f"{where}, message {number}" if where else f"message {number}"
        turn = _turn(message, at, media, used)
        if turn is not None:
            turns.append(turn)
    if not any(turn.role != "system" for turn in turns):
        raise BadValue("nobody says anything in this conversation", where=where)
    return turns


def check_counts(turns: Sequence[Turn], has: Mapping[str, int], where: str = "") -> None:
    """That the text names as many media as the row has, of every input.

    Raises:
        BadValue: it names more, or fewer; with both counts.
    """
    named = Counter(part.name for turn in turns for part in turn.parts if isinstance(part, Slot))
    for name in dict.fromkeys([*named, *has]):
        if named[name] != has.get(name, 0):
            said, there = named[name], has.get(name, 0)
            what = f"the conversation names {said} x {name}, and the row has {there}"
            fix = "write a place for each in the text, as <image> is one" if said < there else "add what is missing, or take its place out"
            raise BadValue(what, where=where, fix=fix)


def _messages(cell: Any, where: str) -> list[Any]:
    held = cell
    if isinstance(held, str):
        try:
            held = json.loads(held)
        except (ValueError, RecursionError) as error:
            raise BadValue(f"this is no conversation, nor JSON: {str(error)[:80]}", where=where, known=SHAPES) from error
    if isinstance(held, Mapping):
        name = next((name for name in LISTS if name in held), None)
        if name is None:
            raise BadValue(f"the object has no messages; it has {', '.join(map(str, held)) or 'nothing'}", where=where, known=LISTS)
        system = held.get("system")
        first = [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []
        held = [*first, *held[name]] if isinstance(held[name], list) else held[name]
    if not isinstance(held, list):
        raise BadValue(f"a conversation is a list of messages, not {_called(held)}", where=where, known=SHAPES)
    if not held:
        raise BadValue("the conversation is empty", where=where)
    return held


def _turn(message: Any, at: str, media: Mapping[str, str], used: Counter[str]) -> Turn | None:
    """One message; None for system words that say nothing."""
    if not isinstance(message, Mapping):
        raise BadValue(f"a message is an object, not {_called(message)}", where=at, known=SHAPES)
    speaker, said = next((form for form in FORMS if form[0] in message), FORMS[0])
    role = _role(message, speaker, at)
    parts = tuple(_joined(_parts(message, said, role, at, media, used)))
    if not parts and role == "system":
        return None
    if not any(isinstance(part, Slot) or part.strip() for part in parts):
        raise BadValue(f"the {role} says nothing", where=at)
    if role == "assistant" and any(isinstance(part, Slot) for part in parts):
        raise BadValue("a medium stands in an answer; answers are texts", where=at)
    return Turn(role, parts, role == "assistant" and message.get("weight") != 0)


def _role(message: Mapping[str, Any], speaker: str, at: str) -> Role:
    if speaker not in message:
        what = f"nothing says who speaks; the message has {', '.join(map(str, message)) or 'nothing'}"
        raise BadValue(what, where=at, known=[form[0] for form in FORMS])
    word = message[speaker]
    if isinstance(word, str) and word in ROLES:
        return ROLES[word]
    close = nearest(word, ROLES, 1) if isinstance(word, str) else []
    raise BadValue(f"unknown role {word!r}", where=at, known=ROLES, fix=f"did you mean {close[0]!r}?" if close else "")


def _parts(
    message: Mapping[str, Any], said: str, role: Role, at: str, media: Mapping[str, str], used: Counter[str]
) -> Iterator[str | Slot]:
    content = message.get(said)
    if content is None:
        calls = "tool_calls" in message or "function_call" in message
        raise BadValue("it calls a tool and says nothing; only texts are learnt" if calls else f"the message has no {said}", where=at)
    if isinstance(content, str):
        yield from _slots(whole(content), role, media, used)
        return
    if not isinstance(content, list):
        raise BadValue(f"{said} is a text or a list of parts, not {_called(content)}", where=at)
    for part in content:
        yield from _part(part, role, at, media, used)


def _part(part: Any, role: Role, at: str, media: Mapping[str, str], used: Counter[str]) -> Iterator[str | Slot]:
    """One part of a message in OpenAI's form."""
    if isinstance(part, str):
        yield whole(part)
        return
    told = part.get("type") if isinstance(part, Mapping) else None
    kind = told if isinstance(told, str) else ""
    if isinstance(part, Mapping) and kind in TEXTS:
        if not isinstance(part.get("text"), str):
            raise BadValue(f"a part of type {kind} has no text", where=at)
        yield whole(part["text"])
    elif kind in KINDS:
        if KINDS[kind] not in media:
            raise BadValue(f"there is {KINDS[kind]} in it, and no input takes that", where=at, known=media.values())
        yield _next(media[KINDS[kind]], used)
    else:
        what = f"unknown type of part {told!r}" if isinstance(part, Mapping) else f"a part of a message is an object, not {_called(part)}"
        raise BadValue(what, where=at, known=[*TEXTS, *KINDS])


def _slots(text: str, role: Role, media: Mapping[str, str], used: Counter[str]) -> Iterator[str | Slot]:
    """A text of a user at its `<image>`s; what others say is a text and nothing else."""
    if role != "user" or not media:
        yield text
        return
    for place, piece in enumerate(re.split(f"<({'|'.join(map(re.escape, media))})>", text)):
        yield _next(media[piece], used) if place % 2 else piece


def _next(name: str, used: Counter[str]) -> Slot:
    used[name] += 1
    return Slot(name, used[name] - 1)


def _joined(parts: Iterator[str | Slot]) -> Iterator[str | Slot]:
    """Without empty texts, and texts that follow each other as one."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        yield part
        text = ""
    if text:
        yield text


def _called(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
