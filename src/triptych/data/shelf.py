"""The folders of what is kept, for a list of them: read from their heads alone, and without torch."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = "features"
"""Of the cache folder: below it each folder has what one frozen part gives with one preparation."""
ABOUT, LOCK, SUFFIX = "about.json", ".lock", ".safetensors"
"""What is kept in a folder; what everyone holds who has it open, so that nobody frees it under them; its parts."""
KEYS = "keys"
"""The tensor of a part that has a key for each of its rows."""


class Folder(NamedTuple):
    """One folder of kept rows."""

    path: Path
    about: dict[str, str]
    """Empty where it does not say: it was left by a process that was killed before its first row."""
    rows: int
    size: int
    used: float
    """When it was last opened or written, seconds since 1970."""


def folders(root: Path) -> Iterator[Folder]:
    """All that is kept below `root`."""
    for path in sorted(path for path in root.glob("[!.]*") if path.is_dir()):
        about: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError):
            about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        with contextlib.suppress(OSError):  # somebody freed it just now
            files = [file.stat() for file in path.iterdir()]
            rows = sum(map(_rows, path.glob(f"[!.]*{SUFFIX}")))
            used = max((file.st_mtime for file in files), default=path.stat().st_mtime)
            yield Folder(path, about, rows, sum(file.st_size for file in files), used)


def _rows(part: Path) -> int:
    """As the head of the file says; none where it is damaged."""
    try:
        with part.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return int(json.loads(file.read(length))[KEYS]["shape"][0])
    except (OSError, ValueError, struct.error, KeyError, TypeError, IndexError, MemoryError, OverflowError):
        return 0
