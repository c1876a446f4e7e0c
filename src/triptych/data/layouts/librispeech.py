"""LibriSpeech: read books and their text (https://www.openslr.org/12).

    train-clean-100/84/121123/84-121123-0000.flac
    train-clean-100/84/121123/84-121123.trans.txt    84-121123-0000 GO DO YOU HEAR
    SPEAKERS.TXT                                     84   | F | dev-clean        |  8.02 | Christie Nowak

The sets lie at the path itself or in the folder `LibriSpeech` of the archives. Rows: `audio`, `text`, `speaker`,
`chapter`, `set` (train-clean-100), `split` (by the set's name), and `sex` from SPEAKERS.TXT; the id is the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from triptych.base.errors import InputError
from triptych.data.layouts._reading import SIDES, missing, named, once, row_of
from triptych.data.rows import Reject, Row, Source

NAME = "librispeech"
GROUP = "speaker"
SET = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")
KNOWN = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other")
SPEAKERS = "SPEAKERS.TXT"


def matches(path: Path) -> bool:
    """A set is there."""
    return bool(_sets(_root(path)))


def read(path: Path) -> Source:
    """See `Layout`."""
    root = _root(path)
    sets = _sets(root)
    if not sets:
        raise missing("a set", root / KNOWN[0], "LibriSpeech", known=KNOWN)
    for name in sets:
        if not any(True for _ in _chapters(root / name)):
            raise missing("a chapter with its text", root / name / "SPEAKER" / "CHAPTER" / "SPEAKER-CHAPTER.trans.txt", "LibriSpeech")
    findings = [] if (root / SPEAKERS).is_file() else [f"there is no {root / SPEAKERS}: the column sex is left out"]
    sexes = _sexes(root / SPEAKERS) if not findings else {}
    return Source(str(path), lambda: once(row for name in sets for row in _rows(root, name, sexes)), path, findings)


def _root(path: Path) -> Path:
    inner = path / "LibriSpeech"
    return inner if not _sets(path) and inner.is_dir() else path


def _sets(path: Path) -> list[str]:
    return [name for name in named(path) if SET.fullmatch(name) and (path / name).is_dir()]


def _chapters(folder: Path) -> Iterator[tuple[str, str]]:
    """Speaker and chapter of each folder; both are numbers, in the order of numbers."""
    for speaker in sorted(filter(str.isdecimal, named(folder)), key=int):
        for chapter in sorted(filter(str.isdecimal, named(folder / speaker)), key=int):
            yield speaker, chapter


def _sexes(path: Path) -> dict[str, str]:
    """Sex by speaker. Lines with `;` are comments, a name may hold the mark itself.

    Raises:
        InputError: the header or a line is another.
    """
    text = path.read_text(encoding="utf-8", errors="replace")  # names of people; they are not used
    header = [line for line in text.splitlines() if line.startswith(";ID")]
    if not header or [name.strip() for name in header[-1].lstrip(";").split("|")[:3]] != ["ID", "SEX", "SUBSET"]:
        raise InputError(
            f"the header is {header[-1]!r}" if header else "the header is missing",
            where=str(path),
            known=[";ID  |SEX| SUBSET           |MINUTES| NAME (expected)"],
        )
    cells = [line.split("|") for line in text.splitlines() if line.strip() and not line.startswith(";")]
    return {line[0].strip(): line[1].strip() for line in cells if len(line) > 1}


def _rows(root: Path, name: str, sexes: dict[str, str]) -> Iterator[Row | Reject]:
    side = SIDES[name.split("-")[0]]
    for speaker, chapter in _chapters(root / name):
        folder = root / name / speaker / chapter
        said: set[str] = set()
        for row_id, text in _lines(folder / f"{speaker}-{chapter}.trans.txt"):
            said.add(row_id)
            if not row_id.startswith(f"{speaker}-{chapter}-"):
                yield Reject(row_id, f"the text of {row_id} stands in the file of speaker {speaker}, chapter {chapter}")
            elif not text:
                yield Reject(row_id, "the text is empty")
            else:
                cells = {"text": text, "speaker": speaker, "chapter": chapter, "sex": sexes.get(speaker), "set": name, "split": side}
                yield row_of(row_id, "audio", folder, f"{row_id}.flac", cells)
        for file in named(folder):
            if file.endswith(".flac") and not file.startswith(".") and file.removesuffix(".flac") not in said:
                yield Reject(file.removesuffix(".flac"), f"{folder / f'{speaker}-{chapter}.trans.txt'} has no text of it")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Id and text of each line; nothing where the file is missing: each of its recordings is rejected then."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read as text: {error}", where=str(path), fix="download it again") from error
    for line in lines:
        if line.strip():
            row_id, _, text = line.strip().partition(" ")
            yield row_id, text.strip()
