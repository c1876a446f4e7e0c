"""What the name of a column says: that its values are where rows come from (a speaker, a song, a writer)."""

from __future__ import annotations

import re
from collections.abc import Container

HINTS = ("speaker", "song", "artist", "customer", "user", "patient", "writer", "author", "session", "group")
OTHERS = ("singer", "person", "subject", "voice", "recording", "video", "album", "scene", "source", "site", "device", "scan", "document")


def named_group(column: str, hints: tuple[str, ...] = HINTS + OTHERS) -> bool:
    """A name like speaker, speaker_id or songId."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower())
    return bool(words) and any(word in hints or word.removesuffix("s") in hints for word in (words[0], words[-1]))


def own_name(column: str, columns: Container[str]) -> str:
    """`pitch` for `voice.pitch` where the table has a column `voice`, of which it tells; else the name as it is."""
    of, _, own = column.rpartition(".")
    return own if of and of in columns else column
