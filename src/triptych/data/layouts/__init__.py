"""Published data sets as their publishers lay them out: one file each, found by looking.

A file here defines `NAME`, `GROUP` (the column whose equal values belong on one side of a split, or None),
`matches(path)`, a cheap look at file names, and `read(path)`, a stream of rows that starts again each time it is asked
for. What all of them promise:

- A part that is missing, or a header that is another, is an `InputError`. One annotation that cannot be a row is a
  `Reject` with its reason; nothing is left out in silence.
- Rows with media keep the publisher's words for the columns; `split` says train, validation or test where the
  publisher does.
- `boxes` is JSON text, `[[x, y, width, height, label], ...]` from the upper left; the unit is the publisher's.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
from pathlib import Path
from typing import Protocol

from triptych.base.errors import InputError, unknown_word
from triptych.data.rows import Source

__all__ = ["Layout", "layout", "layouts", "recognised", "said", "within"]


class Layout(Protocol):
    """One file of this folder."""

    NAME: str
    GROUP: str | None

    def matches(self, path: Path) -> bool:
        """Whether the names at `path` look like this data set; no file is opened."""

    def read(self, path: Path) -> Source:
        """The data set's rows. Raises InputError where a part of the layout is missing or is not what it should be."""


@functools.cache
def layouts() -> dict[str, Layout]:
    """All layouts by name. A new file here is known at once: there is no list to add it to."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {layout.NAME: layout for layout in found}


def recognised(path: Path) -> Layout | None:
    """The published layout that lies at `path`, or None.

    Raises:
        InputError: two data sets lie in one folder.
    """
    found = [layout for layout in layouts().values() if path.is_dir() and layout.matches(path)]
    if len(found) > 1:
        raise InputError(
            "this folder holds more than one published data set",
            where=str(path),
            known=[layout.NAME for layout in found],
            fix=f"say which of them is meant, as in {found[0].NAME}:{path}",
        )
    return found[0] if found else None


def said(word: str) -> tuple[Layout, Path] | None:
    """`coco:FOLDER`: the layout that a source names itself, and where it lies."""
    name, mark, path = word.partition(":")
    return (layouts()[name], Path(path)) if mark and name in layouts() else None


MOST_FOLDERS = 20  # more are classes


def within(path: Path) -> tuple[Layout, Path] | None:
    """The one folder of a folder, where a published data set lies in that (`cv-corpus-17.0/cy`, `ESC-50-master`).

    Folders of songs by mood are none: they are as often the sides of a split.

    Raises:
        InputError: there are several folders and a data set in one of them.
    """
    inner = sorted(inner for inner in path.iterdir() if inner.is_dir() and not inner.name.startswith("."))
    if len(inner) > MOST_FOLDERS:
        return None
    found = {folder: layout for folder in inner if os.access(folder, os.X_OK) and (layout := recognised(folder)) and layout.NAME != "songs"}
    if not found or len(inner) == 1:
        return next(((layout, folder) for folder, layout in found.items()), None)
    names = ", ".join(f"{layout.NAME} in {folder.name}" for folder, layout in found.items())
    fix = f"give {next(iter(found))}" if len(found) == 1 else " ".join(["give one of them, or several:", *(f"{f.name}={f}" for f in found)])
    raise InputError(f"published data sets lie in its folders: {names}", where=str(path), fix=fix)


def layout(name: str) -> Layout:
    """The layout of that name.

    Raises:
        InputError: there is none; the message names those there are.
    """
    if name not in layouts():
        raise unknown_word("data set layout", name, layouts())
    return layouts()[name]
