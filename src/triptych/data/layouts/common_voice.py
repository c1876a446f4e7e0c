"""Common Voice: sentences read aloud by volunteers (https://commonvoice.mozilla.org/datasets), one language a folder.

    train.tsv dev.tsv test.tsv    client_id path [sentence_id] sentence [sentence_domain] up_votes down_votes age gender ...
    validated.tsv                 the same columns, all that was accepted
    clips/common_voice_en_1.mp3

Where one of train, dev and test is there, they are read; else validated.tsv, without a split. Rows: `audio`,
`sentence`, `speaker` (`client_id`), and the other columns as they are called in that release. The id is the clip's name.

The files are not quoted as CSV is: a quotation mark is part of its sentence. Older releases wrapped sentences that hold
one, with each mark inside doubled; these are unwrapped. The oldest leave `.mp3` off the path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from triptych.contract.cells import Cell
from triptych.data.layouts._reading import SIDES, check_header, missing, once, records, row_of
from triptych.data.rows import Reject, Row, Source

NAME = "common_voice"
GROUP = "speaker"
NEEDED = ("client_id", "path", "sentence")
PARTS, ALL, CLIPS = ("train", "dev", "test"), "validated.tsv", "clips"
NUMBERS = ("up_votes", "down_votes")
WRAPPED = re.compile(r'"((?:[^"]|"")*""(?:[^"]|"")*)"')


def matches(path: Path) -> bool:
    """A folder `clips` and a table beside it; or all tables, so that clips that were never unpacked are missed by their name."""
    there = [(path / name).is_file() for name in (*(f"{part}.tsv" for part in PARTS), ALL)]
    return any(there) if (path / CLIPS).is_dir() else all(there)


def read(path: Path) -> Source:
    """See `Layout`."""
    tables: dict[Path, str | None] = {path / f"{part}.tsv": SIDES[part] for part in PARTS if (path / f"{part}.tsv").is_file()}
    if not tables and (path / ALL).is_file():
        tables = {path / ALL: None}
    if not tables:
        known = [*(f"{part}.tsv" for part in PARTS), ALL]
        raise missing("a table of clips", path / known[0], "Common Voice", known=known)
    if not (path / CLIPS).is_dir():
        raise missing("the folder of clips", path / CLIPS, "Common Voice")
    for table in tables:
        check_header(table, NEEDED, delimiter="\t")
    absent = [f"{part}.tsv" for part in PARTS if path / f"{part}.tsv" not in tables]
    findings = [f"{path.name}: there is no {' and no '.join(absent)}"] if absent and path / ALL not in tables else []
    findings += [f"{path.name}: validated.tsv is read, which has no split"] if path / ALL in tables else []
    return Source(str(path), lambda: once(row for table, side in tables.items() for row in _rows(path, table, side)), path, findings)


def _rows(path: Path, table: Path, side: str | None) -> Iterator[Row | Reject]:
    for cells in records(table, NEEDED, delimiter="\t", quoted=False):
        if isinstance(cells, Reject):
            yield cells
            continue
        name = cells["path"]
        row_id = Path(name).stem if name.endswith(".mp3") else name
        if not cells["sentence"]:
            yield Reject(row_id, f"the sentence in {table.name} is empty")
            continue
        others: dict[str, Cell] = {key: _number(cell) if key in NUMBERS else cell for key, cell in cells.items() if key not in NEEDED}
        clip = name if not name or name.endswith(".mp3") or (path / CLIPS / name).is_file() else f"{name}.mp3"
        words: dict[str, Cell] = {"sentence": _unwrapped(cells["sentence"]), "speaker": cells["client_id"]}
        yield row_of(row_id, "audio", path / CLIPS, clip, {**words, **others, "split": side})


def _unwrapped(sentence: str) -> str:
    """What stands in a cell that an older release wrote with CSV's quotes; a sentence that is all in quotes stays as it is."""
    wrapped = WRAPPED.fullmatch(sentence)
    return wrapped[1].replace('""', '"') if wrapped else sentence


def _number(cell: str) -> Cell:
    return int(cell) if cell.isdecimal() else cell
