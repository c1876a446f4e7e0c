"""What callers write in place of a file: base64, a data URL, an address -> bytes with a name that is ours."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from triptych.contract.cells import Blob
from triptych.web.problems import Refused

DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[\w.\"+-]*)*(?P<base64>;base64)?,", re.ASCII | re.IGNORECASE)
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
Fetch = Callable[[str], bytes]


def content(text: str, name: str, fetch: Fetch | None = None) -> Blob:
    """The bytes that a text stands for; `name` says where it stood, and `fetch` gets what is behind an address.

    Raises:
        Refused: it is no base64, empty, or an address that is not fetched.
    """
    if (found := DATA.match(text[:300])) is not None:
        if found["base64"] is None:
            raise Refused(f"{name}: the data URL is not in base64", param=name, fix="data:TYPE;base64,CONTENT")
        return Blob(_decoded(text[found.end() :], name), called(found["type"]))
    if ADDRESS.match(text[:40]):
        if fetch is None:
            fix = "send the content, as data:TYPE;base64,CONTENT"
            raise Refused(f"{name}: it is an address, and this server fetches none", param=name, fix=fix)
        return Blob(fetch(text), called(None))
    return Blob(_decoded(text, name), called(None))


def _decoded(text: str, name: str) -> bytes:
    try:
        try:
            found = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):  # there may be spaces or ends of lines in it
            found = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"{name}: this is no base64", param=name, fix="base64 of the file's content, or data:TYPE;base64,CONTENT") from None
    if not found:
        raise Refused(f"{name}: there is nothing in it", param=name)
    return found


def called(kind: str | None) -> str:
    """A name for messages, from the media type alone: names of callers are never looked at."""
    ending = (kind or "").rpartition("/")[2].split("+")[0].removeprefix("x-").lower()
    return f"sent.{ending}" if re.fullmatch(r"[a-z0-9]{1,8}", ending) else "sent"
