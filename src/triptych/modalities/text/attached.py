"""Files inside of conversations, taken out of them: a data URL, sound in base64, the path of a file. Nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from triptych.contract.cells import ADDRESS, Blob, Several
from triptych.modalities.text.messages import FORMS, KINDS

DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?P<more>(?:;[^,;]*)*),", re.IGNORECASE)
ENDINGS = {"jpeg": "jpg", "mpeg": "mp3", "x-wav": "wav", "wave": "wav", "svg+xml": "svg", "quicktime": "mov", "x-matroska": "mkv"}
"""Endings of files whose media type is called otherwise."""


def taken_apart(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a row with the files of its conversation in fields called image, audio and video.

    In the conversation their places stay, as parts that hold nothing. One without files is left as it is.

    Raises:
        ValueError: a file is damaged, is an address, or the row has such a field already.
    """
    found: dict[str, list[Blob | str]] = {}
    changed: dict[str, Any] = {}
    for name, value in fields.items():
        if _is_conversation(value):
            before = sum(map(len, found.values()))
            messages = [_without_files(message, number, found) for number, message in enumerate(value, start=1)]
            if sum(map(len, found.values())) > before:
                changed[name] = messages
    if twice := next((kind for kind in found if fields.get(kind) is not None), None):
        raise ValueError(f"its messages hold {twice}, and a field {twice!r} stands beside them")
    files = {kind: Several(tuple(held)) if len(held) > 1 else held[0] for kind, held in found.items()}
    return {**fields, **changed, **files} if found else fields


def _is_conversation(value: Any) -> bool:
    """Only a list of messages whose contents are parts can hold files."""
    listed = isinstance(value, list) and value and all(isinstance(message, Mapping) for message in value)
    return bool(listed) and any(isinstance(message.get(said), list) for message in value for _, said in FORMS)


def _without_files(message: Mapping[str, Any], number: int, found: dict[str, list[Blob | str]]) -> Mapping[str, Any]:
    said = next((said for _, said in FORMS if isinstance(message.get(said), list)), None)
    if said is None:
        return message
    parts = []
    for part in message[said]:
        told = part.get("type") if isinstance(part, Mapping) else None
        kind = KINDS.get(told) if isinstance(told, str) else None
        held = next(_payloads(part, str(told)), None) if kind else None
        if kind and held is not None:
            try:
                found.setdefault(kind, []).append(_file(held, kind))
            except ValueError as error:
                raise ValueError(f"message {number}: {error}") from error
            part = {"type": kind}
        parts.append(part)
    return {**message, said: parts}


def _payloads(part: Mapping[str, Any], told: str) -> Iterator[str | Mapping[str, Any]]:
    """What a part holds of its file, wherever it says it: `image_url: {url: ...}`, `input_audio: {data: ...}`, `image: a.png`."""
    for word in dict.fromkeys((told, KINDS[told], f"{KINDS[told]}_url", "url", "path")):
        value = part.get(word)
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, Mapping):
            if isinstance(value.get("data"), str):
                yield value
            yield from (value[inner] for inner in ("url", "path") if isinstance(value.get(inner), str) and value[inner])


def _file(held: str | Mapping[str, Any], kind: str) -> Blob | str:
    """Bytes with a name whose ending tells what they are; or a path."""
    if isinstance(held, Mapping):
        ending = str(held.get("format") or "").lower().lstrip(".")
        return Blob(_decoded(held["data"], kind), f"{kind}.{ending}" if ending else kind)
    if match := DATA.match(held):
        content = held[match.end() :]
        subtype = (match["type"] or "").lower().partition("/")[2]
        name = f"{kind}.{ENDINGS.get(subtype, subtype)}" if subtype else kind
        coded = match["more"].lower().endswith(";base64")
        return Blob(_decoded(content, kind) if coded else unquote_to_bytes(content), name)
    if held.lower().startswith("data:"):
        raise ValueError(f"the {kind} is a data URL that breaks off: {held[:40]!r}")
    if held.lower().startswith("file://"):
        return unquote(held[len("file://") :])
    if ADDRESS.match(held):
        raise ValueError(f"{held[:200]} is an address, and nothing is fetched; download it and name the file")
    return held


def _decoded(text: str, kind: str) -> bytes:
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the {kind} is no base64: {error}") from error
    if not content:
        raise ValueError(f"the {kind} is empty")
    return content
