"""A folder: one row a file stem, the folder's name as its label."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.cells import Cell
from triptych.contract.modality import Modality
from triptych.data.kinds import room_of
from triptych.data.rows import Listed, Row
from triptych.data.table import Table

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


ABOUT = frozenset({"readme", "license", "licence", "changelog", "contributing"})
"""What a text in a data set's own folder is called that is about the data, and no row of it."""


def read_folder(folder: Path, rooms: Mapping[str, Modality]) -> Table:
    """One row a file stem: `happy/a.mp3` and `happy/a.txt` are one row with two inputs and the label `happy`.

    The columns are the rooms' names, `label` (the folder), and `split` where the first folders are train, test ...
    """
    links: list[Path] = []
    table = read_files(files_in(folder, links), folder, rooms)
    if links:
        names = ", ".join(printable(str(link.relative_to(folder))) for link in links[:5])
        more = f" and {len(links) - 5} more" if len(links) > 5 else ""
        table.findings.append(f"links to folders were not followed: {names}{more}; to read what lies there, put the folder itself in place")
    return table


def read_files(files: Iterable[Path], folder: Path, rooms: Mapping[str, Modality]) -> Table:
    """The same of some of a folder's files."""
    found, left = _files_by_stem(files, folder, rooms)
    if not found:
        known = sorted({suffix for room in rooms.values() for suffix in room.suffixes})
        seen = f"; it holds {_counted(left)}" if left else "; it is empty"
        raise InputError(
            f"no file in this folder can be read{seen}",
            where=str(folder),
            known=known,
            fix="put files into one folder a class: FOLDER/happy/a.mp3",
        )
    sides = all(stem.split("/")[0].lower() in SPLIT_FOLDERS for stem in found)
    rows = [Row(printable(stem), _cells_of(stem, files, sides)) for stem, files in sorted(found.items())]
    columns = [name for name in rooms if any(name in row.cells for row in rows)]
    columns += [extra for extra in ("label", "split") if any(extra in row.cells for row in rows)]
    findings = [f"{_of_other_kinds(sum(left.values()))} left aside: {_counted(left)}"] if left else []
    return Table(columns, Listed(rows), str(folder), folder, findings=findings)


def _files_by_stem(files: Iterable[Path], folder: Path, rooms: Mapping[str, Modality]) -> tuple[dict[str, dict[str, Path]], Counter[str]]:
    found: dict[str, dict[str, Path]] = {}
    left: Counter[str] = Counter()
    for path in files:
        taker = room_of(path, rooms)
        if taker is None:
            left[path.suffix.lower() or "no suffix"] += 1
            continue
        room = taker.name
        if not taker.by_reference and path.parent == folder and path.stem.lower() in ABOUT:
            left[path.name] += 1
            continue
        relative = path.relative_to(folder)
        stem = relative.with_suffix("").as_posix()
        if room in found.get(stem, {}):  # a.jpg beside a.png: two rows
            stem = relative.as_posix()
        found.setdefault(stem, {})[room] = path
    return found, left


def files_in(folder: Path, links: list[Path] | None = None) -> Iterator[Path]:
    """All files in a folder, in a stable order; hidden ones are passed over. Links to folders are not followed: they go to `links`."""
    for root, folders, files in os.walk(folder, onerror=refuse, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if links is not None:
            links += [place for name in folders if (place := Path(root) / name).is_symlink()]
        yield from (Path(root) / name for name in sorted(files) if not name.startswith("."))


def refuse(error: OSError) -> None:
    """For `os.walk`: a folder that may not be looked into is an error, as what lies in it would be missed."""
    raise InputError(f"cannot look into a folder: {error.strerror}", where=str(error.filename), fix="give yourself the right to read it")


def _cells_of(stem: str, files: dict[str, Path], sides: bool) -> dict[str, Cell]:
    """`sides`: every first folder is a side of the split, so none of them is a class."""
    cells: dict[str, Cell] = dict(files)
    folders = stem.split("/")[:-1]
    if folders and folders[0].lower() in SPLIT_FOLDERS and (sides or len(folders) > 1):
        cells["split"] = SPLIT_FOLDERS[folders.pop(0).lower()]
    if folders:
        cells["label"] = printable(folders[0])
    return cells


def printable(name: str) -> str:
    """A file name whose bytes are not UTF-8 comes as half characters that no file can be written with; they are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _of_other_kinds(files: int) -> str:
    return f"{files:,} files of other kinds were" if files > 1 else "1 file of another kind was"


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
