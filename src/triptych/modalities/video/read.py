"""A path, bytes, a span, an array -> a `Clip`; what cannot be read is refused with the reason.

A clip is a light thing: it knows when its frames are shown, and decodes them when they are asked for. So a film of two hours
is never in memory, and reading does not have to know how many frames a second will be wanted.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha1
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from triptych.base.container import moving, opened
from triptych.base.errors import BadValue, why
from triptych.contract.cells import Blob, Span
from triptych.modalities.video.decode import shown
from triptych.modalities.video.probe import MAX_FRAMES, MAX_PIXELS, Probe, probe

MAX_BYTES = 4 << 30  # of what is not a file on the disk
SOURCES = ("a path", "bytes", "a binary file object", "a Span", "(frames, rate)", "{'bytes', 'path'}", "a Clip")


@dataclass(frozen=True, eq=False)
class Clip:
    """A film or a span of one. `width` and `height` are those of the upright frames, in pixels."""

    source: Path | bytes | np.ndarray  # an array holds the frames, (F, H, W, 3) uint8
    known: Probe
    width: int = 0
    height: int = 0
    name: str = ""

    @property
    def start(self) -> float:
        """Second of the film at which it begins."""
        return self.known.start

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.known.end - self.known.start

    @property
    def count(self) -> int:
        """Its frames."""
        return len(self.known.times_F)

    @property
    def rate(self) -> float:
        """Frames a second, on average."""
        return self.count / self.seconds

    def at(self, times: Sequence[float]) -> Iterator[Image.Image | None]:
        """The frames shown at some times (seconds from the clip's own start, ascending), upright RGB; None where one is missing."""
        seconds = [self.start + time for time in times]
        if isinstance(self.source, np.ndarray):
            places = np.searchsorted(self.known.times_F, np.array(seconds) + 1e-9, "right") - 1
            yield from (Image.fromarray(self.source[place]) for place in places)
            return
        with _file(self.source, self.name) as file:
            yield from shown(file, self.known, seconds)


def read(source: Any) -> Clip:
    """Read one film.

    `source` is a path, the bytes of a file, a binary file object, a `Span` of a path or of bytes, (frames, rate) with frames of
    shape (F, H, W) or (F, H, W, 3) in uint8, a data set's {"bytes", "path"}, or a `Clip`.

    Raises:
        BadValue: it is missing, empty, no film, damaged, cut off, too large or too long; the message says which, and where.
    """
    if isinstance(source, Clip):
        return source
    if isinstance(source, Span):
        return _checked(source.source, source)
    if isinstance(source, Mapping):
        held = source.get("bytes")
        if not held and not source.get("path"):
            raise BadValue(f"a dict with {sorted(map(str, source))} is not a film", known=SOURCES)
        return _checked(Blob(held, str(source.get("path") or "")) if held else source["path"], None)
    if isinstance(source, tuple | list) and len(source) == 2:
        return _of_array(*source)
    if callable(getattr(source, "read", None)):
        return _checked(_content(source), None)
    return _checked(source, None)


def holds(source: Any) -> bool:
    """Whether a file has moving pictures; false too for what cannot be opened."""
    try:
        with _file(bytes(source) if isinstance(source, bytes) else Path(source), "") as file, opened(file) as container:
            return moving(container) is not None
    except Exception:  # FFmpeg may raise anything at what is damaged; reading it says why
        return False


def _checked(source: Any, span: Span | None) -> Clip:
    if isinstance(source, bytes | bytearray | memoryview):
        where = getattr(source, "name", "")
        held: Path | bytes = bytes(source)
    elif isinstance(source, str | os.PathLike):
        where = os.fsdecode(os.fspath(source))
        held = Path(where)
    else:
        raise BadValue(f"a {type(source).__name__} is not a film", known=SOURCES)
    try:
        with _file(held, where) as file:
            clip = Clip(held, probe(file, span), name=where)
        return _seen(clip)
    except BadValue as error:
        raise type(error)(error.what, where=where, known=error.known, fix=error.fix) from error
    except Exception as error:  # a damaged file may break a library in any way
        raise BadValue(f"the film is damaged: {error or type(error).__name__}", where=where, fix="copy the file again") from error


def _seen(clip: Clip) -> Clip:
    """With the size of its first frame; if that cannot be decoded, of another one."""
    for share in (0.0, 0.5, 0.9):
        frame = next(clip.at([share * clip.seconds]))
        if frame is not None:
            return replace(clip, width=frame.width, height=frame.height)
    raise BadValue("no frame of the film can be decoded", fix="copy the file again, or convert it to H.264 in MP4")


@contextmanager
def _file(source: Path | bytes, where: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        if not source:
            raise BadValue("the film is empty (0 bytes)", where=where)
        yield io.BytesIO(source)
        return
    try:
        problem = "" if source.is_file() else "this is a folder, not a film" if source.is_dir() else "there is no such file"
        if not problem and not source.stat().st_size:
            problem = "the film is empty (0 bytes)"
        file = None if problem else source.open("rb")
    except (OSError, ValueError) as error:
        raise BadValue(f"the film cannot be opened: {why(error)}", where=where) from error
    if file is None:
        raise BadValue(problem, where=where, fix="give the path of a film")
    with file:
        yield file


def _content(file: Any) -> Blob:
    name = str(getattr(file, "name", ""))
    try:
        content = file.read(MAX_BYTES + 1)
    except Exception as error:
        raise BadValue(f"the file object cannot be read: {error}", where=name) from error
    if not isinstance(content, bytes | bytearray):
        raise BadValue(f"the file object gives {type(content).__name__}, not bytes", where=name, fix="open it with mode 'rb'")
    if len(content) > MAX_BYTES:
        raise BadValue(f"the film is larger than {MAX_BYTES >> 30} GiB", where=name, fix="give its path")
    return Blob(bytes(content), name)


def _of_array(frames: Any, rate: Any) -> Clip:
    """Frames that are in memory already."""
    array = np.asarray(frames)
    if not isinstance(rate, int | float) or not 0 < rate <= 1000:
        raise BadValue(f"the rate is {rate!r}, not a number of frames a second", known=SOURCES)
    if array.ndim == 3:
        array = np.repeat(array[..., None], 3, axis=3)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        fix = "give uint8 of shape (frames, height, width, 3)"
        raise BadValue(f"an array of shape {array.shape} and type {array.dtype} is not a film", fix=fix)
    if len(array) > MAX_FRAMES or array.shape[1] * array.shape[2] > MAX_PIXELS:
        raise BadValue(f"an array of shape {array.shape} is too large for a film")
    times_F = np.arange(len(array)) / rate
    mark = int.from_bytes(sha1(np.ascontiguousarray(array).data, usedforsecurity=False).digest()[:8], "little")
    return Clip(array, Probe(0.0, len(array) / rate, times_F, times_F, True, mark), array.shape[2], array.shape[1])
