"""Which room takes a file, told by its ending; where several rooms read the ending, by a look into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from triptych.contract.cells import Blob
from triptych.contract.modality import Modality

HEAD = 8192
"""Bytes at a file's start that say what it is."""


def suffix_of(name: str) -> str:
    """The ending of a file's name, lower case with the dot."""
    return Path(name[-300:]).suffix.lower()


def ending_of(content: bytes) -> str:
    """The ending that a file without a name should have, told by how its content begins; empty where that says nothing."""
    import filetype

    found = filetype.guess_extension(content[:HEAD])
    return f".{found}" if found else ""


def readers(suffix: str, rooms: Iterable[Modality]) -> list[Modality]:
    """The rooms that read files of an ending; first the one whose files they are, then its guests."""
    return sorted((room for room in rooms if suffix in room.suffixes), key=lambda room: suffix in room.guest)


def room_of(file: Path | Blob, rooms: Mapping[str, Modality]) -> Modality | None:
    """The first room that reads such files and finds something in this one; the first of all where none does."""
    name = file.name if isinstance(file, Blob) else str(file)
    fitting = readers(suffix_of(name), rooms.values())
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    content = bytes(file) if isinstance(file, Blob) else file
    return next((room for room in fitting if room.holds(content)), fitting[0])


def share(first: Modality, second: Modality) -> bool:
    """Whether two rooms may read one column: the files of one may hold a value of the other too."""
    return bool(first.suffixes & second.guest or second.suffixes & first.guest)
