"""What a table's cell may hold, whatever source it came from. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from triptych.base.errors import BadValue

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
"""How the address of something on a network begins; nothing is fetched."""


LEEWAY = 0.1
"""Seconds by which a span may end after its recording: times in a table are rounded, and lengths in a header too."""


class Blob(bytes):
    """The content of a file that lies in the table itself. `name` is what the file was called, for messages and its suffix."""

    name: str

    def __new__(cls, content: bytes, name: str = "") -> Blob:
        """`content` is taken as it is."""
        blob = super().__new__(cls, content)
        blob.name = name
        return blob

    def __reduce__(self) -> tuple[type[Blob], tuple[bytes, str]]:
        """Keep the name when it goes to another process."""
        return Blob, (bytes(self), self.name)


@dataclass(frozen=True)
class Span:
    """A piece of a recording or a video, in seconds from its start; `end` None is its end."""

    source: Path | Blob
    start: float
    end: float | None = None

    def __str__(self) -> str:
        """`talk.mp3 12.5-20.0 s`."""
        name = self.source.name if isinstance(self.source, Blob) else str(self.source)
        return f"{name} {self.start:g}-{'' if self.end is None else f'{self.end:g}'} s"

    def within(self, seconds: float) -> tuple[float, float]:
        """Start and end in a recording of so many seconds.

        Raises:
            BadValue: it ends before it begins, is empty, or lies outside of the recording; the message says both lengths.
        """
        end = seconds if self.end is None else self.end
        asked, long = f"the span {self.start:g}-{end:g} s", f"the recording is {seconds:.2f} s long"
        if not (math.isfinite(self.start) and math.isfinite(end)):
            raise BadValue(f"{asked} has no such times; {long}")
        if end < self.start and self.start < seconds:
            raise BadValue(f"{asked} ends before it begins; {long}", fix="swap its two times")
        if self.start < 0 or self.start >= seconds or end > seconds + LEEWAY:
            raise BadValue(f"{asked} lies outside of the recording: it takes {end - self.start:.2f} s, and {long}")
        if min(end, seconds) <= self.start:
            raise BadValue(f"{asked} is empty: it takes 0 s, and {long}")
        return self.start, min(end, seconds)


@dataclass(frozen=True)
class Several:
    """Several files of one row in one column, in their order; a text is a path that is not placed yet, or an address."""

    items: tuple[Path | Blob | Span | str, ...]

    def __str__(self) -> str:
        """`a.png, b.png`."""
        return ", ".join(item.name if isinstance(item, Blob) else str(item) for item in self.items)


Media = Path | Blob | Span | Several
Scalar = str | int | float | bool
Cell = Scalar | list[Scalar] | Media | None
"""Text, a number, a truth value, a list of them, a file by reference (its path), by value (its bytes) or in part, some; or nothing."""
