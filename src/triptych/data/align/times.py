"""Times as tables and subtitles write them, in seconds."""

from __future__ import annotations

import math
import re
from pathlib import Path

from triptych.contract.cells import ADDRESS, Blob, Cell, Span

CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d+)?)", re.ASCII)


def seconds_of(cell: Cell) -> float:
    """75.5, "75.5", "1:15.5", "0:01:15,5" -> 75.5.

    Raises:
        ValueError: it is no time, or one before the start.
    """
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ValueError(f"{_said(cell)} is no time in seconds")
    if isinstance(cell, str) and (clock := CLOCK.fullmatch(cell.strip())):
        hours, minutes, seconds = clock.groups()
        if float(seconds.replace(",", ".")) >= 60 or (hours is not None and int(minutes) >= 60):
            raise ValueError(f"{cell!r} is no time: a minute has 60 seconds and an hour 60 minutes")
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    try:
        seconds_ = math.nan if isinstance(cell, str) and "_" in cell else float(cell)
    except (ValueError, OverflowError):
        seconds_ = math.nan
    if not math.isfinite(seconds_):
        raise ValueError(f"{cell!r} is no time in seconds")
    if seconds_ < 0:
        raise ValueError(f"{seconds_:g} s lies before the start")
    return seconds_


def between(start: Cell, end: Cell, ends: bool) -> tuple[float, float | None]:
    """Start and end of a segment; `ends` False where only moments are known.

    Raises:
        ValueError: one of the two is empty or no time, or the segment ends before it starts.
    """
    if start is None:
        raise ValueError("it does not say when it starts")
    first = seconds_of(start)
    if not ends:
        return first, None
    if end is None:
        raise ValueError("it does not say when it ends")
    last = seconds_of(end)
    if last < first:
        raise ValueError(f"it ends at {last:g} s, before it starts at {first:g} s")
    return first, last


def piece(held: Path | Blob | Span, start: float, end: float | None) -> Span:
    """A piece of a file, or of a piece: the seconds then count from that piece's start.

    Raises:
        ValueError: there is nothing between start and end.
    """
    if end is not None and end <= start:
        raise ValueError(f"the piece ends at {end:g} s and starts at {start:g} s")
    if not isinstance(held, Span):
        return Span(held, start, end)
    last = held.end if end is None else held.start + end if held.end is None else min(held.end, held.start + end)
    return Span(held.source, held.start + start, last)


def whole(cell: Cell, folder: Path) -> Path | Blob | Span:
    """The file that a cell holds, or names as seen from `folder`.

    Raises:
        ValueError: it does neither.
    """
    if isinstance(cell, str) and ADDRESS.match(cell):
        raise ValueError(f"{cell} is an address, and nothing is fetched; download it and name the file")
    if isinstance(cell, str):
        return folder / cell
    if not isinstance(cell, Blob | Path | Span):
        raise ValueError(f"{_said(cell)} stands where a file should be")
    return cell


def _said(cell: Cell) -> str:
    return "a file" if isinstance(cell, Blob | Path | Span) else "a list" if isinstance(cell, list) else repr(cell)
