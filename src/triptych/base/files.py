"""Files that are whole or absent: everything is written aside and renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from triptych.base.errors import InputError

IN_WORDS = re.compile(r"\(os error (\d+)\)")
"""Libraries in Rust say the system's number in their text alone."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what the caller writes there takes its place in one step, or not at all.

    Raises:
        OSError: it could not be written, also where a library says so in an error of its own (safetensors, for a full disk).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)  # mkstemp, and safetensors after it, make it private; a run folder is often read by another user (a server)
        os.replace(aside, path)
    except Exception as error:
        if isinstance(error, OSError) or (said := IN_WORDS.search(str(error))) is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1])), str(path)) from error
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file (UTF-8) or leave the old one."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, readable and with a last newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


DAY = 24 * 3600.0
"""Seconds."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room on the disk, none left of a user's share, a file longer than it may be."""


def is_full(error: OSError) -> bool:
    """Whether a file could not be written for want of room."""
    said = IN_WORDS.search(str(error))
    return (error.errno or (int(said[1]) if said else 0)) in FULL


@contextmanager
def held_alone(path: Path, what: str, fix: str = "wait for it, stop it, or name another folder with --out") -> Iterator[None]:
    """Hold `path` as a lock until the block ends; the system lets it go when the process dies, however that happens.

    Raises:
        InputError: another process holds it; `what` is at work there, and `fix` is what to do.
    """
    with ExitStack() as held_until:
        try:
            held_until.enter_context(_locked(path, waiting=False))
        except BlockingIOError:
            raise InputError(f"another {what} is at work in this folder", where=str(path.parent), fix=fix) from None
        yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold `path` as a lock until the block ends, after waiting for those who came before; threads and processes alike."""
    with _locked(path, waiting=True):
        yield


@contextmanager
def _locked(path: Path, waiting: bool) -> Iterator[None]:
    """Hold the lock; BlockingIOError where somebody else does and it is not waited for."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waiting else fcntl.LOCK_NB))
        yield


def held(path: Path, alone: bool = False) -> int | None:
    """Hold `path`, which is made where it is not, as a lock beside others, or `alone`: a descriptor, and closing it lets go.

    None where others hold it and it is wanted alone, and where there are no such locks or it cannot be made: then nothing is held.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return None
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                if not alone:
                    os.utime(path)  # says when it was used last
                return lock
        except FileNotFoundError:
            pass
        except OSError:
            os.close(lock)
            return None
        os.close(lock)  # it was removed by the one who held it, and what it guarded with it


@lru_cache(maxsize=256)
def in_use(folder: Path) -> int | None:
    """Until this process ends, `folder` of the cache is not freed: the descriptor that sees to it."""
    return held(lock_of(folder))


def lock_of(folder: Path) -> Path:
    """What is held by those who use a folder that others may free."""
    return folder.with_name(f".{folder.name}.in-use")


def digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_digest(path: Path) -> str:
    """The same, computed once for a file as it is: by its place on the disk, size and time, so that links to it are known too."""
    about = path.stat()
    word = hashlib.sha256(f"{about.st_dev} {about.st_ino} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()
    return str(remembered_json(f"bases/digests/{word[:32]}.json", lambda: {"sha256": digest(path)})["sha256"])


def remembered_json(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, made once and kept in the cache folder under that name; one that is damaged is made again."""
    path = cache_root() / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    made = make()
    with contextlib.suppress(OSError):  # a full disk costs speed only
        write_json(path, made)
    return made


def nameless(folder: Path | None = None) -> IO[bytes]:
    """A new file that has no name, in `folder` or the cache folder: it ends with its user, however that ends.

    Raises:
        OSError: neither that folder nor the system's own for such files takes one.
    """
    place = folder or cache_root() / "scratch"
    try:
        place.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=place)
    except OSError:
        return tempfile.TemporaryFile()


def cache_root() -> Path:
    """Where things that can be made again are kept: $TRIPTYCH_CACHE, else the user's cache folder."""
    if named := os.environ.get("TRIPTYCH_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triptych"


MAKING = ".making-"
"""How the name of a folder begins that is being made."""


@contextmanager
def made_aside(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, held as long as it is filled, and gone at the end unless it was renamed; so are those of killed makers."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in unfinished(parent):
        removed(left)
    aside = parent / f"{MAKING}{secrets.token_hex(6)}"
    lock = held(lock_of(aside))  # before there is a folder: one without its lock held is nobody's
    try:
        aside.mkdir()
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        lock_of(aside).unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def unfinished(parent: Path) -> list[Path]:
    """Folders in `parent` whose maker was killed. One without a lock is of an older version, which may be at work for a day."""
    found = []
    for path in sorted(parent.glob(f"{MAKING}*")):
        with contextlib.suppress(OSError):  # somebody removes it just now
            if not lock_of(path).exists():
                if time.time() - path.stat().st_mtime > DAY:
                    found.append(path)
            elif (lock := held(lock_of(path), alone=True)) is not None:
                os.close(lock)
                found.append(path)
    return found


def removed(path: Path) -> None:
    """Remove a folder that a killed process left, and its lock; one that somebody holds is left."""
    if (lock := held(lock_of(path), alone=True)) is not None:
        shutil.rmtree(path, ignore_errors=True)
        lock_of(path).unlink(missing_ok=True)
        os.close(lock)


def kept_folder(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that is made once: `make` fills one aside, which is renamed. Of two processes that make it, one is enough."""
    folder = cache_root() / name
    if not folder.is_dir():
        with made_aside(folder.parent) as aside:
            try:
                make(aside)
                aside.rename(folder)
            except OSError:  # a faster process made it
                if not folder.is_dir():
                    raise
    return folder
