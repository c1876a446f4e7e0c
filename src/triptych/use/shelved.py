"""What an index says of itself in `about.json`, and the checksums that tell whether its files are those that were written."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.files import kept_digest, write_json

ABOUT, ENTRIES, REJECTS, LOCK, ASIDE = "about.json", "entries.lance", "rejects.csv", ".lock", ".adding"
FORMAT = 1
AGAIN = "copy the whole folder again, or build it again: triptych search build RUN SOURCE --out FOLDER"


@dataclass(frozen=True)
class Kept:
    """`about.json`: which model made the vectors, of what, and how near ones are found.

    `run` is where the run was, as seen from the folder of the index and from the root; `model` the digest that any other run must have.
    `near` is empty while every vector is compared; else how much of the vector index is looked at, and the recall that was measured.
    """

    run: str
    run_beside: str
    model: str
    space: str
    inputs: tuple[str, ...]
    by: tuple[str, ...]
    """Those of the inputs that the rows' vectors were made of."""
    width: int
    copied: bool
    made: str
    versions: dict[str, str]
    near: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def write_about(folder: Path, kept: Kept) -> Kept:
    """Write `about.json` with the checksums of the folder's files as they are, and its own; returns what was written."""
    root = folder / ENTRIES
    found = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    whole = replace(kept, files={path.relative_to(folder).as_posix(): kept_digest(path) for path in found})
    told = {"format": FORMAT, **json.loads(json.dumps(asdict(whole)))}
    write_json(folder / ABOUT, {**told, "check": _check(told)})
    return whole


def read_about(folder: Path) -> Kept:
    """What `write_about` wrote.

    Raises:
        InputError: this is no index, or one that was made by a later version, or it is damaged.
    """
    path = folder / ABOUT
    if not folder.exists():
        raise InputError(f"there is no index {str(folder)!r}", fix=f"triptych search build RUN SOURCE --out {folder}")
    if not path.is_file() or not (folder / ENTRIES).is_dir():
        raise InputError(f"{str(folder)!r} is not an index", fix=f"triptych search build RUN SOURCE --out {folder} makes one")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        check = told.pop("check")
        if told["format"] > FORMAT:
            raise InputError("the index was made by a later version of triptych", where=str(folder), fix="update triptych")
        if check != _check(told):
            raise ValueError("it is not what was written")
        del told["format"]
        known = {one.name for one in fields(Kept)}
        words: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items() if name in known}
        return Kept(**words)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{ABOUT} of the index is damaged: {error}", where=str(folder), fix=AGAIN) from error


def check_files(folder: Path, kept: Kept) -> None:
    """Compare the files with their checksums. A file that is gone since is none of the version that is read now; Lance says where it is.

    Raises:
        InputError: one is not what was written.
    """
    for name, known in kept.files.items():
        path = folder / name
        try:
            same = kept_digest(path) == known
        except FileNotFoundError:  # tidied away by who changed the index meanwhile, or lost: then reading says so
            continue
        if not same:
            raise InputError(f"{name} of the index is damaged: it is not what was written", where=str(folder), fix=AGAIN)


def _check(told: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def run_of(folder: Path, kept: Kept) -> Path:
    """Where the run is: as seen from the index, where both were moved together, else where it was."""
    beside = Path(os.path.normpath(folder.resolve() / kept.run_beside))
    return beside if beside.is_dir() else Path(kept.run)
