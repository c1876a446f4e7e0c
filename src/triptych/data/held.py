"""Recordings of which a table has spans by value: each lies once in the table's own folder, however many rows are cut from it."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from triptych.base.files import written_aside
from triptych.contract.cells import Blob

HELD = "held:"
"""How the name of such a file begins in a cell."""
FOLDER = "files"


def hold(source: Path | Blob, table: Path) -> Path:
    """Copy a recording into the table's folder, unless it is there already; what stands in its cells."""
    if isinstance(source, Blob):
        key, name = hashlib.sha256(source).hexdigest(), source.name
    else:
        about = source.stat()
        told = f"{source.resolve()}\n{about.st_size} {about.st_mtime_ns}"
        key, name = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest(), source.name
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name.rsplit("/", 1)[-1])[-60:]
    kept = table / FOLDER / f"{key[:20]}-{plain}"
    if not kept.exists():
        with written_aside(kept) as aside:
            if isinstance(source, Blob):
                aside.write_bytes(source)
            else:
                shutil.copyfile(source, aside)
    return Path(f"{HELD}{kept.name}")


def held_at(name: str, table: Path) -> Path:
    """Where it lies."""
    return table / FOLDER / name.removeprefix(HELD)
