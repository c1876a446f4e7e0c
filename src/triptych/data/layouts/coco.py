"""COCO: captions and boxes of everyday scenes (https://cocodataset.org/#format-data).

    annotations/captions_train2017.json    {"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}
    annotations/instances_train2017.json   {..., "annotations": [{"id", "image_id", "category_id", "bbox", "iscrowd"}], "categories"}
    train2017/000000000009.jpg             train2014/COCO_train2014_000000000009.jpg; also in a folder `images`

Rows: one a caption, id `<picture>-<annotation>`; a picture without a caption is one row, id `<picture>`. Columns:
`image`, `caption`, `picture` (its number), `boxes` and `crowds` (pixels; crowds are the regions marked `iscrowd`), and
`split` from the file's name. Each annotation file is loaded whole, one side of the split after the other.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych.contract.cells import Cell
from triptych.data.layouts._reading import SIDES, entries, first_of, json_file, lacks, missing, named, once, row_of
from triptych.data.rows import Reject, Row, Source

NAME = "coco"
GROUP = "picture"
FILE = re.compile(r"(captions|instances)_((train|val|test)\d{4})\.json")
ANNOTATIONS = "annotations"
Boxes = dict[int, dict[str, list[list[Any]]]]


def matches(path: Path) -> bool:
    """A caption or box file stands in `annotations`."""
    return any(FILE.fullmatch(name) for name in named(path / ANNOTATIONS))


def read(path: Path) -> Source:
    """See `Layout`. Both halves of the annotations come in one archive; one whose pictures were not fetched is left aside and said."""
    if not (path / ANNOTATIONS).is_dir():
        raise missing("the folder of annotation files", path / ANNOTATIONS, "COCO")
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    for name in named(path / ANNOTATIONS):
        if found := FILE.fullmatch(name):
            files[found[2]][found[1]] = path / ANNOTATIONS / name
    if not files:
        known = ["captions_train2017.json", "instances_train2017.json"]
        raise missing("an annotation file", path / ANNOTATIONS / known[0], "COCO", known=known)
    folders = {part: first_of(path, (part, f"images/{part}")) for part in files}
    if not any(folders.values()):
        raise missing("the folder of pictures", path / next(iter(files)), "COCO", known=[f"{part}/" for part in files])
    parts = {part: (folder, files[part]) for part, folder in folders.items() if folder is not None}
    findings = [
        f"{', '.join(file.name for file in files[part].values())} left aside: there is no folder {path / part}"
        for part in files
        if part not in parts
    ]
    return Source(
        str(path), lambda: once(row for part, (folder, found) in parts.items() for row in _rows(part, folder, found)), path, findings
    )


def _rows(part: str, folder: Path, files: dict[str, Path]) -> Iterator[Row | Reject]:
    """The rows of one side: the rejected boxes and pictures first, then captions, then pictures that have none."""
    pictures: dict[int, str] = {}
    boxes: Boxes = {}
    if "instances" in files:
        found = json_file(files["instances"])
        yield from _pictures(found, files["instances"], pictures)
        yield from _boxes(found, files["instances"], pictures, boxes)
    captions: list[dict[str, Any]] = []
    if "captions" in files:
        found = json_file(files["captions"])
        yield from _pictures(found, files["captions"], pictures)
        captions = entries(found, "annotations", files["captions"])
    side = SIDES[re.sub(r"\d", "", part)]
    captioned = set()
    for place, caption in enumerate(captions):
        wrong = lacks(caption, {"id": int, "image_id": int, "caption": str})
        if wrong:
            yield Reject(f"{files['captions'].name} annotation {place}", wrong)
            continue
        picture, words = caption["image_id"], caption["caption"].strip()
        captioned.add(picture)
        row_id = f"{picture}-{caption['id']}"
        if picture not in pictures:
            yield Reject(row_id, f"{files['captions'].name} lists no picture {picture}")
        elif not words:
            yield Reject(row_id, "the caption is empty")
        else:
            yield row_of(row_id, "image", folder, pictures[picture], {"caption": words, **_cells(picture, boxes, side)})
    for picture, name in pictures.items():
        if picture not in captioned:
            yield row_of(f"{picture}", "image", folder, name, _cells(picture, boxes, side))


def _cells(picture: int, boxes: Boxes, side: str) -> dict[str, Cell]:
    drawn = {name: json.dumps(found, ensure_ascii=False) for name, found in boxes.get(picture, {}).items()}
    return {"picture": str(picture), **drawn, "split": side}


def _pictures(found: dict[str, Any], path: Path, pictures: dict[int, str]) -> Iterator[Reject]:
    """Add the file names by number; caption and box files list the same pictures."""
    here: set[int] = set()
    for place, entry in enumerate(entries(found, "images", path)):
        wrong = lacks(entry, {"id": int, "file_name": str})
        if wrong is None and entry["id"] in here:
            wrong = f"{path.name} lists the picture {entry['id']} twice; the first is kept"
        if wrong is None and pictures.get(entry["id"], entry["file_name"]) != entry["file_name"]:
            wrong = f"picture {entry['id']} is {entry['file_name']} in {path.name}, {pictures[entry['id']]} in the other file"
        if wrong:
            yield Reject(f"{path.name} picture {place}", wrong)
            continue
        here.add(entry["id"])
        pictures[entry["id"]] = entry["file_name"]


def _boxes(found: dict[str, Any], path: Path, pictures: dict[int, str], boxes: Boxes) -> Iterator[Reject]:
    """Add the boxes by picture; one that cannot be used is a reject of its own, its picture stays."""
    names = {entry["id"]: entry["name"] for entry in entries(found, "categories", path) if not lacks(entry, {"id": int, "name": str})}
    seen: set[int] = set()
    for place, entry in enumerate(entries(found, "annotations", path)):
        wrong = lacks(entry, {"id": int, "image_id": int, "category_id": int, "bbox": list})
        if wrong:
            yield Reject(f"{path.name} annotation {place}", wrong)
            continue
        picture, box = entry["image_id"], entry["bbox"]
        if entry["id"] in seen:
            wrong = f"the box {entry['id']} stood before; the first is kept"
        elif picture not in pictures:
            wrong = f"{path.name} lists no picture {picture}"
        elif entry["category_id"] not in names:
            wrong = f"{path.name} has no category {entry['category_id']}"
        elif len(box) != 4 or not all(isinstance(side, int | float) and math.isfinite(side) for side in box):
            wrong = f"the box {str(box)[:60]} is not [x, y, width, height]"
        if wrong:
            yield Reject(f"{picture}-box-{entry['id']}", wrong)
            continue
        seen.add(entry["id"])
        kind = "crowds" if entry.get("iscrowd") == 1 else "boxes"
        boxes.setdefault(picture, {}).setdefault(kind, []).append([*box, names[entry["category_id"]]])
