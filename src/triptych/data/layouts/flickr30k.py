"""Flickr30k: five captions a photograph (https://shannon.cs.illinois.edu/DenotationGraph/).

    results_20130124.token   1000092795.jpg#0<tab>Two young guys ...
    flickr30k-images/1000092795.jpg

The copy most people have is a mirror's: `results.csv` with the header `image_name| comment_number| comment`, beside or
within `flickr30k_images/`. Its line for `2199200615.jpg` lacks the second mark (`| 4   A dog runs ...`); it is read as
what it should be. Where both files are there, the publisher's own is read.

Rows: one a caption; `image`, `caption`, `picture` (its number); ids `1000092795-0`. The publisher gives no split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from triptych.base.errors import InputError
from triptych.data.layouts._reading import AGAIN, first_of, missing, named, once, row_of, text_lines
from triptych.data.rows import Reject, Row, Source

NAME = "flickr30k"
GROUP = "picture"
TOKEN, TABLE = "results_20130124.token", "results.csv"
FOLDERS = ("flickr30k-images", "flickr30k_images", "images")
HEADER = ["image_name", "comment_number", "comment"]
UNMARKED = re.compile(r"(\d+)\s+(.+)")  # the mirror's one broken line: number and caption without a mark between


def matches(path: Path) -> bool:
    """One of the two caption files is there; `results.csv`, a common name, only with a folder of pictures."""
    return (path / TOKEN).is_file() or (_table(path) is not None and _folder(path) is not None)


def read(path: Path) -> Source:
    """See `Layout`."""
    captions = first_of(path, (TOKEN,)) or _table(path)
    if captions is None:
        raise missing("the file of captions", path / TOKEN, "Flickr30k", known=[TOKEN, TABLE])
    folder = _folder(path)
    if folder is None:
        raise missing("the folder of pictures", path / FOLDERS[0], "Flickr30k", known=FOLDERS)
    if captions.name == TABLE:
        _check(captions)
    both = captions.name == TOKEN and _table(path)
    findings = [f"{TABLE} left aside: {TOKEN} holds the same captions"] if both else []
    return Source(str(path), lambda: once(_rows(captions, folder)), path, findings)


def _table(path: Path) -> Path | None:
    return first_of(path, (TABLE, *(f"{folder}/{TABLE}" for folder in FOLDERS[:2])))


def _folder(path: Path) -> Path | None:
    """Where the pictures are; a mirror's archive has the folder twice, one in the other."""
    for name in FOLDERS:
        for folder in (path / name / name, path / name):
            if folder.is_dir() and any(file.lower().endswith(".jpg") for file in named(folder)):
                return folder
    return None


def _check(path: Path) -> None:
    _, first = next(text_lines(path, "|", False), (1, []))
    if [name.strip() for name in first] != HEADER:
        raise InputError(
            f"the header is {'|'.join(first)[:200]!r}", where=f"{path}, line 1", known=["image_name| comment_number| comment (expected)"]
        )


def _rows(captions: Path, folder: Path) -> Iterator[Row | Reject]:
    lines = _token_lines(captions) if captions.name == TOKEN else _table_lines(captions)
    number = 0
    for number, cells in lines:
        if cells is None:
            yield Reject(f"{captions.name} line {number}", "the line has not the form FILE, NUMBER, CAPTION")
            continue
        name, place, caption = cells
        row_id = f"{name.removesuffix('.jpg')}-{place}"
        if not caption:
            yield Reject(row_id, f"the caption in line {number} of {captions.name} is empty")
            continue
        yield row_of(row_id, "image", folder, name, {"caption": caption, "picture": name.removesuffix(".jpg")})
    if not number:
        raise InputError("there are no captions in the file", where=str(captions), fix=AGAIN)


def _token_lines(path: Path) -> Iterator[tuple[int, tuple[str, str, str] | None]]:
    for number, cells in text_lines(path, "\t", False):
        if not cells:
            continue
        name, mark, place = cells[0].rpartition("#")
        good = len(cells) > 1 and mark and name and place.isdecimal()
        yield number, (name, place, "\t".join(cells[1:]).strip()) if good else None


def _table_lines(path: Path) -> Iterator[tuple[int, tuple[str, str, str] | None]]:
    """A caption may hold the mark itself."""
    for number, cells in text_lines(path, "|", False):
        if number == 1 or not cells:
            continue
        name, place, caption = (*cells[:2], "|".join(cells[2:]).strip(), "")[:3] if len(cells) > 1 else ("", "", "")
        broken = UNMARKED.fullmatch(place.strip()) if len(cells) == 2 else None
        if broken:
            place, caption = broken[1], broken[2].strip()
        yield number, (name.strip(), place.strip(), caption) if name.strip() and place.strip().isdecimal() else None
