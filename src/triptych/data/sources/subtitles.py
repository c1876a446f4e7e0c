"""Subtitles (.srt, .vtt) as segments in time: a row a cue, with columns recording, start, end, text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.cells import Cell
from triptych.contract.modality import Modality
from triptych.data.align.times import between
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.encoded import BROKEN, TextFile, look

ENDINGS = (".srt", ".vtt")
COLUMNS = ["recording", "start", "end", "text"]
TIMES = re.compile(r"\s*(\S+)\s*-->\s*(\S+)")
MARKS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # <i>, <v Anna>, {\an8}
LONGEST_LINE = 2**20


def read_subtitles(path: Path, rooms: Mapping[str, Modality], recording: str = "") -> Source:
    """The cues of one file; `recording` is what they are of, by default the file's name without its ending.

    A block without a line of times costs one row, but for the notes and styles of WebVTT. Marks for the screen are taken off.

    Raises:
        InputError: it is no text.
    """
    text = look(path)
    name = recording or path.stem
    return Source(str(path), lambda: _rows(text, name), path.parent, text.findings, columns=COLUMNS)


def _rows(text: TextFile, recording: str) -> Iterator[Row | Reject]:
    number = 0
    for block in _blocks(text):
        times = next((place for place, line in enumerate(block) if "-->" in line), None)
        if times is None and block[0].split(" ")[0] in ("WEBVTT", "NOTE", "STYLE", "REGION"):
            continue
        number += 1
        if times is None:
            yield Reject(f"row-{number}", f"there is no line of times (start --> end) in {block[0][:60]!r}")
            continue
        try:
            yield Row(f"row-{number}", _cells(block, times, recording))
        except ValueError as error:
            yield Reject(f"row-{number}", str(error))


def _blocks(text: TextFile) -> Iterator[list[str]]:
    """Lines that stand together, between empty ones."""
    block: list[str] = []
    try:
        for line in text.lines(LONGEST_LINE):
            if line is None or line.strip():
                block.append((line or "").strip())
            elif block:
                yield block
                block = []
    except BROKEN as error:
        raise InputError(f"the file breaks off: {error}", where=str(text.path), fix="copy or export it again") from error
    if block:
        yield block


def _cells(block: list[str], times: int, recording: str) -> dict[str, Cell]:
    """A cue. Raises ValueError where its times are none."""
    found = TIMES.match(block[times])
    if not found:
        raise ValueError(f"{block[times]!r} is no line of times (start --> end)")
    start, end = between(found[1], found[2], ends=True)
    said = " ".join(line for shown in block[times + 1 :] if (line := html.unescape(MARKS.sub("", shown)).strip()))
    cells: dict[str, Cell] = {"recording": recording, "start": start, "end": end}
    return {**cells, "text": said} if said else cells
