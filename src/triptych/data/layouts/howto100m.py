"""HowTo100M: narrated videos and what is said in them (https://www.di.ens.fr/willow/research/howto100m/).

    HowTo100M_v1.csv    video_id,category_1,category_2,rank,task_id
    caption.json        {video_id: {"start": [1.0, ...], "end": [4.2, ...], "text": ["hello", ...]}}
    <video_id>.mp4      or .webm, in any folder below

`raw_caption.json` and `raw_caption_superclean.json` are read where there is no `caption.json`. Rows: one a caption, id
`<video_id>-<place>`; `video` (a span of the file), `text`, `video_id`, `category_1`, `category_2`, `rank`, `task_id`. The
captions, ten gigabytes of one JSON object, are read one video at a time; only the table of videos is held. No split.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from triptych.base.errors import InputError
from triptych.contract.cells import Cell, Span
from triptych.data.layouts._reading import VIDEOS, Places, check_header, filled, first_of, missing, records
from triptych.data.rows import Reject, Row, Source

NAME = "howto100m"
GROUP = "video_id"
TABLE, HEADER = "HowTo100M_v1.csv", ("video_id", "category_1", "category_2", "rank", "task_id")
CAPTIONS = ("caption.json", "raw_caption.json", "raw_caption_superclean.json")
CHUNK = 2**20
LONGEST = 2**27  # characters of one video's captions; what is longer is damage, and would be read to the file's end
SPACE = " \t\n\r"


class Video(NamedTuple):
    """What the table says of a video."""

    category_1: str
    category_2: str
    rank: str
    task_id: str


def matches(path: Path) -> bool:
    """The table of videos is there."""
    return (path / TABLE).is_file()


def read(path: Path) -> Source:
    """See `Layout`."""
    if not (path / TABLE).is_file():
        raise missing("the table of videos", path / TABLE, "HowTo100M")
    captions = first_of(path, CAPTIONS)
    if captions is None:
        raise missing("the file of captions", path / CAPTIONS[0], "HowTo100M", known=CAPTIONS)
    check_header(path / TABLE, HEADER)
    places = Places(path, VIDEOS)
    if not places:
        raise missing("a folder of videos", path / "videos" / "<video_id>.mp4", "HowTo100M", known=VIDEOS)
    return Source(str(path), lambda: _rows(path / TABLE, captions, places), path)


def _rows(table: Path, captions: Path, places: Places) -> Iterator[Row | Reject]:
    videos: dict[str, Video] = {}
    for cells in records(table, HEADER):
        if isinstance(cells, Reject):
            yield cells
            continue
        video = cells["video_id"]
        if video in videos:
            yield Reject(video, f"{table.name} lists it before; the first line is kept")
            continue
        videos[video] = Video(*(sys.intern(cells[name]) for name in HEADER[1:]))
    told: set[str] = set()
    for video, found in json_items(captions):
        if video in told:
            yield Reject(video, f"{captions.name} holds its captions twice; the first are kept")
            continue
        told.add(video)
        yield from _captions(video, found, videos.get(video), captions.name, places)
    for video in videos:
        if video not in told:
            yield Reject(video, f"{captions.name} has no captions of it")


def _captions(video: str, found: Any, about: Video | None, name: str, places: Places) -> Iterator[Row | Reject]:
    lists: list[Any] = [found.get(key) for key in ("start", "end", "text")] if isinstance(found, dict) else []
    if len(lists) != 3 or not all(isinstance(each, list) for each in lists) or len({len(each) for each in lists}) > 1:
        yield Reject(video, f"its captions in {name} are not three lists of one length, start, end and text")
        return
    if not lists[0]:
        yield Reject(video, f"{name} has no captions of it")
        return
    file = places.find(video)
    for place, (start, end, text) in enumerate(zip(*lists, strict=True)):
        row_id = f"{video}-{place}"
        if about is None:
            yield Reject(row_id, f"{TABLE} has no video {video}")
        elif not all(isinstance(time, int | float) for time in (start, end)) or not 0 <= start < end < math.inf:
            yield Reject(row_id, f"the caption from {start!r} to {end!r} seconds is none")
        elif not isinstance(text, str) or not text.strip():  # the publisher's own tools wrote some as numbers or NaN
            yield Reject(row_id, f"the caption's text is {text!r}")
        elif file is None:
            yield Reject(row_id, f"no video file is called {video} in the folders that hold videos")
        else:
            cells: dict[str, Cell] = {"text": text.strip(), "video_id": video, **about._asdict()}
            cells["rank"] = int(about.rank) if about.rank.isdecimal() else about.rank
            yield Row(row_id, {"video": Span(file, float(start), float(end)), **filled(cells)})


def json_items(path: Path) -> Iterator[tuple[str, Any]]:
    """The members of one large JSON object whose values are objects, read one at a time.

    Raises:
        InputError: the file is cut short, or is no such object.
    """
    decode = json.JSONDecoder().raw_decode
    try:
        with path.open(encoding="utf-8") as file:
            text, at = file.read(CHUNK).lstrip(SPACE), 1
            if not text.startswith("{"):
                raise InputError("the file does not begin with '{'", where=str(path), fix="download and unpack it again")
            while True:
                member = _member(decode, text, at)
                if member is None:
                    more = file.read(max(CHUNK, len(text) - at))  # twice as much each time: no value is tried over and over
                    if not more or len(text) - at > LONGEST:
                        raise InputError(
                            f"the JSON file ends early, or breaks off after {text[at : at + 60]!r}",
                            where=str(path),
                            fix="download and unpack it again",
                        )
                    text, at = text[at:] + more, 0
                    continue
                key, value, at = member
                if key is None:
                    return
                yield key, value
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read as text: {error}", where=str(path), fix="download it again") from error


def _member(decode: Any, text: str, at: int) -> tuple[str | None, Any, int] | None:
    """The member that begins at a place, and where it ends; no key at the object's end; None where the text is too short."""
    while at < len(text) and text[at] in SPACE + ",":
        at += 1
    if text[at : at + 1] == "}":
        return None, None, at
    try:
        key, at = decode(text, at)
        while text[at] in SPACE:
            at += 1
        if text[at] != ":":
            raise ValueError("no colon")
        at += 1
        while text[at] in SPACE:
            at += 1
        if text[at] in "{[":
            value, at = decode(text, at)
        else:  # no captions object; anything up to the next comma, so that a number is not cut by a chunk's end
            end = min(found for found in (text.find(",", at), text.find("}", at)) if found >= 0)
            value, at = decode(text[:end], at)[0], end
    except (ValueError, IndexError, RecursionError):
        return None
    return (key, value, at) if isinstance(key, str) else None
