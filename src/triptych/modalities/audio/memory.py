"""Bytes as a file that the system knows, so that libsndfile reads them by itself and not by calls into Python."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

MOST_COPIED = 64 << 20  # larger ones are read where they lie
MOST_KEPT = 1 << 20  # bytes that each thread keeps to lay the next sound in


class _Own:
    """A file that one thread of one process keeps: a new one for every sound would cost a twentieth of the time of a short FLAC."""

    def __init__(self) -> None:
        self.file, self.process, self.taken = _new(), os.getpid(), False

    def __del__(self) -> None:
        self.file.close()


_kept = threading.local()


@contextmanager
def in_memory(content: bytes | bytearray | memoryview) -> Iterator[BinaryIO]:
    """Bytes as an open file; one that the system knows, where it has such files in memory."""
    if not hasattr(os, "memfd_create") or len(content) > MOST_COPIED:
        yield io.BytesIO(content)
        return
    own = _own()
    if len(content) > MOST_KEPT or own.taken:
        with _new() as file:
            yield _laid(content, file)
        return
    own.taken = True
    try:
        yield _laid(content, own.file)
    finally:
        own.taken = False


def _own() -> _Own:
    """This thread's; a process that was forked from this one must not write into it."""
    own: _Own | None = getattr(_kept, "own", None)
    if own is None or own.process != os.getpid():
        own = _kept.own = _Own()
    return own


def _new() -> BinaryIO:
    return open(os.memfd_create("sound"), "w+b", buffering=0)


def _laid(content: bytes | bytearray | memoryview, file: BinaryIO) -> BinaryIO:
    file.seek(0)
    file.write(content)
    file.truncate()
    file.seek(0)
    return file
