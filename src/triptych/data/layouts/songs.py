"""Songs by mood: a folder for each mood, the songs in it.

    happy/Artist - Title.mp3   sad/song.wav   suspense/...   epic/...

Rows: `audio`, `label` (the mood), and `artist` and `title` where the name has them, each written once around ` - `.
Songs of one artist belong on one side of a split: they share studio, voice and style. The id is the path without its
ending; the same song in two formats is one song.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.cells import Cell
from triptych.data.layouts._reading import SOUNDS, named
from triptych.data.rows import Reject, Row, Source

NAME = "songs"
GROUP = "artist"
FEW = 3
MOODS = ("epic", "happy", "sad", "suspense")
NUMBERED = re.compile(r"^\d{1,3}(?:[.)] *| *[-_] *)(?=\S.* - )")  # "03 - Artist - Title", "03. Artist - Title"


def matches(path: Path) -> bool:
    """Two moods or more, no other folder beside them, and songs in one of them."""
    moods = [name for name in named(path) if name.lower() in MOODS and (path / name).is_dir()]
    return len(moods) >= 2 and moods == _folders(path) and any(_is_song(name) for mood in moods for name in named(path / mood))


def read(path: Path) -> Source:
    """See `Layout`."""
    moods = [name for name in _folders(path) if name.lower() in MOODS]
    if not moods:
        raise InputError(
            "songs: there is no folder of a mood", where=str(path), known=MOODS, fix="put songs into one folder a mood: happy/a.mp3"
        )
    empty = [mood for mood in moods if not any(_is_song(name) for name in named(path / mood))]
    if len(empty) == len(moods):
        raise InputError("songs: no mood's folder holds a song", where=str(path / empty[0]), known=SOUNDS, fix="put songs there")
    return Source(str(path), lambda: _rows(path, moods), path, _findings(path, moods, empty))


def _findings(path: Path, moods: list[str], empty: list[str]) -> list[str]:
    missing = sorted(set(MOODS) - {mood.lower() for mood in moods})
    findings = [f"{path.name}: there is no folder for {', '.join(missing)}"] if missing else []
    findings += [f"{path.name}: the folder {mood} holds no song" for mood in empty]
    others = [f"{mood}/{name}" for mood in moods for name in named(path / mood) if not name.startswith(".") and not _is_song(name)]
    if others:
        few = ", ".join(others[:FEW]) + (", ..." if len(others) > FEW else "")
        findings.append(
            f"{path.name}: left aside, as {'it is no song' if len(others) == 1 else f'these {len(others)} are no songs'}: {few}"
        )
    return findings


def _folders(path: Path) -> list[str]:
    return [name for name in named(path) if not name.startswith(".") and (path / name).is_dir()]


def _is_song(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SOUNDS


def _rows(path: Path, moods: list[str]) -> Iterator[Row | Reject]:
    for mood in moods:
        before: dict[str, str] = {}
        for name in filter(_is_song, named(path / mood)):
            file = path / mood / name
            stem = file.stem.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            row_id = f"{mood}/{stem}"
            if not file.is_file():
                yield Reject(row_id, f"the audio file {file} is not a file")
            elif stem in before:
                yield Reject(row_id, f"{name} is the song {before[stem]} in another format; the first is kept")
            else:
                before[stem] = name
                yield Row(row_id, {"audio": file, "label": mood.lower(), **_words(stem)})


def _words(stem: str) -> dict[str, Cell]:
    """Artist and title of `Artist - Title`; none where the name has another form."""
    artist, dash, title = NUMBERED.sub("", stem).partition(" - ")
    if not dash or not artist.strip() or not title.strip():
        return {}
    return {"artist": artist.strip(), "title": title.strip()}
