"""What lies in the cache folder: a list of it, and its removal. All of it can be made again."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, nearest
from triptych.base.files import DAY, cache_root, held, lock_of, unfinished
from triptych.data.shelf import FOLDER, LOCK, folders

SHOWN = 12
"""Letters of a key that are shown; so many or fewer name it, as long as no other begins so."""


@dataclass(frozen=True)
class Thing:
    """One thing that can be freed by itself."""

    key: str
    kind: str
    what: str
    given: str
    """What of it is remembered: vectors, or what enters the last blocks."""
    rows: int | None
    size: int
    used: float
    """When it was last used or written, seconds since 1970."""
    remove: Callable[[], None]
    lock: Path | None = None
    """Held by those who use it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: getattr(self, name) for name in ("key", "kind", "what", "given", "rows", "used")}
        return {**told, "bytes": self.size}


@dataclass(frozen=True)
class Freed:
    """What came of freeing: what went, and what was left because somebody uses it."""

    gone: list[Thing]
    left: list[Thing]

    @property
    def size(self) -> int:
        """Bytes that went."""
        return sum(thing.size for thing in self.gone)


def things(root: Path | None = None) -> list[Thing]:
    """All that lies in the cache folder, what was used last first."""
    root = root or cache_root()
    found = [
        *_features(root),
        *_samples(root),
        *_unfinished(root),
        *_tables(root),
        *_looks(root),
        *_bases(root),
        *_neighbours(root),
        *_scratch(root),
    ]
    return sorted(found, key=lambda thing: (thing.kind != "features", thing.kind, -thing.used))


def free(keys: Sequence[str], older: float | None = None, everything: bool = False, dry: bool = False) -> Freed:
    """Free what `keys` name (a key, its beginning, or a kind), or `everything`; of that only what was not used for `older` days.

    Raises:
        InputError: a key names nothing or several things, or nothing is named at all. Nothing is freed then.
    """
    there = things()
    if not keys and older is None and not everything:
        fix = "name keys or kinds, --older DAYS, or --all; --dry-run says what would go"
        raise InputError("nothing is named that should be freed", known=_known(there), fix=fix)
    chosen = list(dict.fromkeys(thing for key in keys for thing in _named(key, there))) if keys else there
    chosen = [thing for thing in chosen if older is None or time.time() - thing.used > older * DAY]
    gone: list[Thing] = []
    left: list[Thing] = []
    for thing in chosen:
        (gone if _removed(thing, dry) else left).append(thing)
    return Freed(gone, left)


def _named(key: str, there: Sequence[Thing]) -> list[Thing]:
    if found := [thing for thing in there if key in (thing.key, thing.kind)]:
        return found
    found = [thing for thing in there if thing.key.startswith(key)]
    if len(found) > 1:
        raise InputError(f"{key!r} is the beginning of several keys", known=[thing.key for thing in found], fix="write more of it")
    if not found:
        close = nearest(key, _known(there))
        fix = f"did you mean {' or '.join(close)}?" if close else "triptych cache lists what is there"
        raise InputError(f"nothing in the cache is called {key!r}", where=str(cache_root()), known=_known(there), fix=fix)
    return found


def _known(there: Sequence[Thing]) -> list[str]:
    kinds = dict.fromkeys(thing.kind for thing in there)
    return [*kinds, *(thing.key[:SHOWN] if thing.kind == "features" else thing.key for thing in there if thing.key not in kinds)]


def _removed(thing: Thing, dry: bool) -> bool:
    """Whether it went, or would go: what somebody uses stays, and nobody begins to use it meanwhile."""
    if thing.lock is None or (dry and not thing.lock.exists()):
        return dry or _gone(thing)
    if (lock := held(thing.lock, alone=True)) is None:
        return False
    try:
        return dry or _gone(thing)
    finally:
        os.close(lock)


def _gone(thing: Thing) -> bool:
    thing.remove()
    if thing.lock is not None:
        thing.lock.unlink(missing_ok=True)
    return True


def _features(root: Path) -> Iterator[Thing]:
    for one in folders(root / FOLDER):
        name, of = one.about.get("input", ""), one.about.get("of", "")
        what = f"{name}: {of}" if one.about else "left by a process that was killed"
        given = one.about.get("given", "")
        yield Thing(one.path.name, "features", what, given, one.rows, one.size, one.used, _tree(one.path), one.path / LOCK)


def _samples(root: Path) -> Iterator[Thing]:
    for path in sorted((root / "samples").glob("[!.]*")):
        if path.is_dir():
            yield Thing(path.name, "samples", "a sample, with its files", "", None, _size(path), _used(path), _tree(path), lock_of(path))


def _unfinished(root: Path) -> Iterator[Thing]:
    """The next thing that is made beside one removes it, too."""
    for parent in sorted(path for path in root.glob("*") if path.is_dir()):
        for path in unfinished(parent):
            what = f"begun in {parent.name} by a process that was killed"
            yield Thing(path.name.lstrip("."), "unfinished", what, "", None, _size(path), _used(path), _tree(path), lock_of(path))


def _tables(root: Path) -> Iterator[Thing]:
    for path in sorted((root / "tables").glob("[!.]*.lance")):
        beside = sorted(path.parent.glob(f"{path.name}.*"))
        size = _size(path) + sum(file.stat().st_size for file in beside)
        what = "a large source, brought into a table"
        yield Thing(path.stem, "tables", what, "", None, size, _used(path), _tree(path, *beside), lock_of(path))


def _looks(root: Path) -> Iterator[Thing]:
    from triptych.data.looks import FILE, Looks

    def forget() -> None:
        with contextlib.closing(Looks(root)) as looks:
            looks.forget()

    files = [path for path in root.glob(f"{FILE}*") if path.is_file()]
    if files:
        size = sum(path.stat().st_size for path in files)
        used = max(path.stat().st_mtime for path in files)
        yield Thing("looks", "looks", "what was seen of files, so that they are not decoded again", "", None, size, used, forget)


def _bases(root: Path) -> Iterator[Thing]:
    """Of a copy of weights, runs may hold the same file: its room is theirs then."""
    told = {"facts": "sizes of pretrained models", "digests": "digests of their files", "weights": "copies of their weights"}
    for folder in sorted(path for path in (root / "bases").glob("[!.]*") if path.is_dir()):
        files = [path for path in folder.glob("[!.]*") if path.is_file()]
        if files:
            size = sum(path.stat().st_size for path in files if path.stat().st_nlink == 1)
            used = max(path.stat().st_mtime for path in files)
            what = told.get(folder.name, f"{folder.name} of pretrained models")
            yield Thing(folder.name, "bases", what, "", None, size, used, _tree(*files))


def _neighbours(root: Path) -> Iterator[Thing]:
    for path in sorted((root / "neighbours").glob("[!.]*.parquet")):
        what = "vectors of a run's training rows, to show those that are near"
        yield Thing(path.stem, "neighbours", what, "", None, path.stat().st_size, _used(path), _tree(path), lock_of(path))


def _scratch(root: Path) -> Iterator[Thing]:
    """Files without a name end with their user; what has one was left over."""
    files = [path for path in (root / "scratch").glob("*") if path.is_file() and _old(path)]
    if files:
        size = sum(path.stat().st_size for path in files)
        used = max(path.stat().st_mtime for path in files)
        yield Thing("scratch", "scratch", "prepared rows of runs that were killed", "", None, size, used, _tree(*files))


def _tree(*paths: Path) -> Callable[[], None]:
    def remove() -> None:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    return remove


def _old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DAY


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _used(folder: Path) -> float:
    lock = lock_of(folder)
    return max(path.stat().st_mtime for path in (folder, lock) if path.exists())
