"""ESC-50: environmental sounds in fifty classes and five folds (https://github.com/karolpiczak/ESC-50).

    meta/esc50.csv   filename,fold,target,category,esc10,src_file,take
    audio/1-100032-A-0.wav

Rows: `audio`, `category`, and the other columns of the file; fold 5 is the test side, the others are for training.
Clips of one `src_file` were cut from one recording. The id is the file name without its ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from triptych.data.layouts._reading import check_header, missing, named, once, records, row_of
from triptych.data.rows import Reject, Row, Source

NAME = "esc50"
GROUP = "src_file"
HEADER = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
META, AUDIO = "meta/esc50.csv", "audio"
TEST_FOLD = 5
CLIP = re.compile(r"[1-5]-\d+-[A-Z]-\d+\.wav")


def matches(path: Path) -> bool:
    """The table is there; or a folder `meta` without it, beside clips that are called as these are."""
    return (path / META).is_file() or ((path / META).parent.is_dir() and any(map(CLIP.fullmatch, named(path / AUDIO))))


def read(path: Path) -> Source:
    """See `Layout`."""
    if not (path / META).is_file():
        raise missing("the table esc50.csv", path / META, "ESC-50")
    if not (path / AUDIO).is_dir():
        raise missing("the folder of clips", path / AUDIO, "ESC-50")
    check_header(path / META, HEADER)
    return Source(str(path), lambda: once(_rows(path)), path)


def _rows(path: Path) -> Iterator[Row | Reject]:
    for cells in records(path / META, HEADER):
        if isinstance(cells, Reject):
            yield cells
            continue
        name, fold, target = cells["filename"], cells["fold"], cells["target"]
        row_id = Path(name).stem or name
        if fold not in {"1", "2", "3", "4", "5"} or not target.isdecimal():
            yield Reject(row_id, f"fold {fold!r} and target {target!r}: expected are a fold from 1 to 5 and a class number")
            continue
        others = {name: cells[name] for name in ("category", "src_file", "take")}
        numbers = {"fold": int(fold), "target": int(target), "esc10": cells["esc10"].lower() == "true"}
        split = "test" if int(fold) == TEST_FOLD else "train"
        yield row_of(row_id, "audio", path / AUDIO, name, {**others, **numbers, "split": split})
