"""Open Images: pictures, boxes and labels checked by people (https://storage.googleapis.com/openimages/web/download.html).

    class-descriptions-boxable.csv                     /m/011k07,Tortoise      no header in V4 to V6, one in V7
    train-annotations-bbox.csv                         ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,...
    train-annotations-human-imagelabels-boxable.csv    ImageID,Source,LabelName,Confidence; oidv7-val-... in V7
    train/000002b66c9c498e.jpg                         the publisher's archives give train_0 to train_f

The files stand at the path or in `annotations`, with or without the `oidv6-` of later versions. Rows: one a picture that
is annotated, id its ImageID; `image`, `boxes` and `crowds` (fractions of width and height; crowds are those marked
`IsGroupOf`), `labels` (said to be there), `absent` (said not to be there), `split` from the file's name. A class without
a description keeps its code. The files are in the order of the ids, as published, and read side by side; one that is not
is brought into order in memory.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.cells import Cell
from triptych.data.layouts._reading import SIDES, check_header, first_of, missing, named, once, records, row_of, text_lines
from triptych.data.rows import Reject, Row, Source

NAME = "open_images"
GROUP = None
FOLDERS = ("", "annotations")
FILE = re.compile(r"(?:oidv\d-)?(train|val|validation|test)-annotations-(bbox|human-imagelabels(?:-boxable)?)\.csv")
CLASSES = re.compile(r"(?:oidv\d-)?class-descriptions(?:-boxable)?\.csv")
WHOLE = {"val": "validation"}  # the labels of V7 alone are called so
HEADS = ("LabelName", "id")
LABELS = ("ImageID", "Source", "LabelName", "Confidence")
BOXES = (*LABELS, "XMin", "XMax", "YMin", "YMax", "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
EDGE = 1e-3


@dataclass
class Part:
    """One side of the split: its annotation files, and whether each is in the order of the ids."""

    side: str
    pictures: list[Path]
    files: dict[Path, bool] = field(default_factory=dict)


def matches(path: Path) -> bool:
    """A file of boxes or labels is there."""
    return any(FILE.fullmatch(name) for folder in FOLDERS for name in named(path / folder))


def read(path: Path) -> Source:
    """See `Layout`. A side whose pictures were not fetched is left aside and said, if another side has its own."""
    files: dict[str, list[Path]] = defaultdict(list)
    for folder in FOLDERS:
        for name in named(path / folder):
            if found := FILE.fullmatch(name):
                files[WHOLE.get(found[1], found[1])].append(path / folder / name)
    if not files:
        known = ["train-annotations-bbox.csv", "train-annotations-human-imagelabels-boxable.csv"]
        raise missing("an annotation file", path / known[0], "Open Images", known=known)
    classes = [path / folder / name for folder in FOLDERS for name in named(path / folder) if CLASSES.fullmatch(name)]
    if not classes:
        raise missing("the file of class names", path / "class-descriptions-boxable.csv", "Open Images")
    pictures = {side: _pictures(path, side) for side in files}
    if not any(pictures.values()):
        raise missing("the folder of pictures", path / next(iter(files)), "Open Images", known=[f"{side}/" for side in files])
    parts, findings = [], []
    for side, found_files in files.items():
        if not pictures[side]:
            findings.append(f"{', '.join(file.name for file in found_files)} left aside: there is no folder {path / side}")
            continue
        for file in found_files:
            check_header(file, BOXES if file.name.endswith("bbox.csv") else LABELS)
        parts.append(Part(side, pictures[side], {file: _in_order(file) for file in found_files}))
        findings += [
            f"{file.name} is not in the order of its ids; it is read into memory" for file, good in parts[-1].files.items() if not good
        ]
    names = _names(classes)
    return Source(str(path), lambda: once(row for part in parts for row in _rows(part, names)), path, findings)


def _pictures(path: Path, side: str) -> list[Path]:
    """The folder of a side, or those into which the training archives unpack."""
    whole = first_of(path, (side, f"images/{side}"))
    return ([whole] if whole else []) + [path / name for name in named(path) if re.fullmatch(rf"{side}_[0-9a-f]", name)]


def _names(paths: list[Path]) -> dict[str, str]:
    """Class names by code.

    Raises:
        InputError: a file holds something else than a code and a name in each line.
    """
    names = {}
    for path in paths:
        for number, line in text_lines(path, ",", True):
            if line and (len(line) != 2 or (number == 1 and not line[0].startswith(("/", *HEADS)))):
                raise InputError(
                    f"the line is {','.join(line)[:100]!r}",
                    where=f"{path}, line {number}",
                    known=["/m/011k07,Tortoise (expected: a code and a name)"],
                    fix="put the publisher's file there",
                )
            if line and line[0] not in HEADS:
                names[line[0].strip()] = line[1].strip()
    return names


def _in_order(path: Path) -> bool:
    """Whether the first cells of the lines never go down; the rest of each line is not looked at."""
    before = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        next(file, None)
        for line in file:
            picture = line.partition(",")[0]
            if picture < before:
                return False
            before = picture
    return True


def _annotations(path: Path, ordered: bool) -> Iterator[tuple[str, dict[str, str] | Reject]]:
    """Picture and line, in the order of the pictures."""
    return _keyed(path) if ordered else iter(sorted(_keyed(path), key=itemgetter(0)))


def _keyed(path: Path) -> Iterator[tuple[str, dict[str, str] | Reject]]:
    """Picture and line; a line that cannot be read comes under the picture before it, so that no picture is cut in two."""
    picture = ""
    for line in records(path, BOXES if path.name.endswith("bbox.csv") else LABELS):
        picture = picture if isinstance(line, Reject) else line["ImageID"]
        yield picture, line


def _rows(part: Part, names: dict[str, str]) -> Iterator[Row | Reject]:
    """Lines of all files of a side, merged by picture."""
    merged = heapq.merge(*(_annotations(path, ordered) for path, ordered in part.files.items()), key=itemgetter(0))
    for picture, found in groupby(merged, key=itemgetter(0)):
        cells, rejects = _gathered(picture, [line for _, line in found], names)
        yield from rejects
        if picture:
            name = f"{picture}.jpg"
            folder = next((folder for folder in part.pictures if (folder / name).is_file()), part.pictures[0])
            yield row_of(picture, "image", folder, name, {**cells, "split": SIDES[part.side]})


def _gathered(picture: str, lines: list[dict[str, str] | Reject], names: dict[str, str]) -> tuple[dict[str, Cell], list[Reject]]:
    """The cells of one picture, and the lines of it that cannot be used."""
    rejects = []
    drawn: dict[str, list[list[Any]]] = defaultdict(list)
    said: dict[str, list[Any]] = defaultdict(list)
    for line in lines:
        if isinstance(line, Reject):
            rejects.append(line)
            continue
        label = names.get(line["LabelName"], line["LabelName"])
        if "XMin" in line:
            box = _box(line)
            if box is None:
                rejects.append(Reject(f"{picture} {label}", f"the box {[line[side] for side in BOXES[4:8]]} does not lie in the picture"))
            elif [*box, label] in (same := drawn["crowds" if line["IsGroupOf"] == "1" else "boxes"]):
                rejects.append(
                    Reject(f"{picture} {label}", f"the box {[line[side] for side in BOXES[4:8]]} stood before; the first is kept")
                )
            else:
                same.append([*box, label])
        elif line["Confidence"] not in {"0", "1", "0.0", "1.0"}:
            rejects.append(Reject(f"{picture} {label}", f"the confidence is {line['Confidence']!r}: people say 0 or 1"))
        elif label not in (kind := said["labels" if float(line["Confidence"]) else "absent"]):
            kind.append(label)
    cells: dict[str, Cell] = {name: json.dumps(boxes, ensure_ascii=False) for name, boxes in drawn.items()}
    return {**cells, **said}, rejects


def _box(line: dict[str, str]) -> list[float] | None:
    """Left, top, width and height; None where it is no box. Rounding may put an edge a little out of the picture."""
    try:
        left, right, top, bottom = (float(line[side]) for side in BOXES[4:8])
    except ValueError:
        return None
    if not (-EDGE <= left < right <= 1 + EDGE and -EDGE <= top < bottom <= 1 + EDGE):
        return None
    return [round(number, 8) for number in (left, top, right - left, bottom - top)]
