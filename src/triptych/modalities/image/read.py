"""From a file, bytes or an array to a picture that stands upright in mode L or RGB.

What is done to odd pictures, always the same way:

- Transparent ones (RGBA, LA, palette or colour-key transparency) are laid on white.
- 16-bit grey keeps its range: 0..65535 becomes 0..255. Float and 32-bit pictures that leave 0..1 (float) or 0..65535
  (integer) are spread from their own least to their own greatest value.
- CMYK, YCbCr and palette pictures become RGB, 1-bit ones grey. Colour profiles are not applied.
- The camera's orientation note (EXIF) is applied. Of an animation the first frame is taken. Metadata is dropped.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from triptych.base.errors import BadValue, why
from triptych.modalities.image.plain import as_bytes, plain
from triptych.modalities.image.straight import straight

MAX_PIXELS = 80_000_000
"""Larger pictures are refused from their header, before anything is decoded."""
MAX_BYTES = 512 * 2**20
"""Larger files are refused unread."""
# Only formats that carry a signature and are decoded inside the process (EPS would start Ghostscript).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "QOI")
ORIENTATION = 0x0112


def read(source: Any) -> Image.Image:
    """Path, bytes, open file, array or PIL image -> PIL image in mode L or RGB.

    Arrays are (H, W) or (H, W, 1|3|4): bool, uint8, uint16, or float from 0 to 1.

    Raises:
        BadValue: it is missing, empty, truncated, not a picture, too large, or holds impossible numbers.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _upright(source, "a PIL image")
    data, where = _content(source)
    return _decoded(data, where)


def _content(source: Any) -> tuple[bytes, str]:
    """The bytes of a source, and the words that name it in an error."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), f"{len(source)} bytes"
    if isinstance(source, str | os.PathLike):
        return _file_content(os.fspath(source))
    if callable(getattr(source, "read", None)):
        return _stream_content(source)
    known = ("path", "bytes", "open file", "numpy array", "PIL image")
    raise BadValue(f"a picture cannot be read from {type(source).__name__}", known=known)


def _file_content(name: str | bytes) -> tuple[bytes, str]:
    where = os.fsdecode(name)
    if "://" in where:
        raise BadValue("an address is not fetched", where=where, fix="download the picture and give its path")
    try:
        about = os.stat(where)
        if not stat.S_ISREG(about.st_mode):
            raise BadValue("this is a folder, not a picture" if stat.S_ISDIR(about.st_mode) else "this is not a regular file", where=where)
        if about.st_size > MAX_BYTES:
            raise BadValue(f"the file has {about.st_size:,} bytes, more than {MAX_BYTES:,}", where=where, fix="save a smaller picture")
        return Path(where).read_bytes(), where
    except FileNotFoundError as error:
        raise BadValue("the file does not exist", where=where, fix="check the path, and the folder it is relative to") from error
    except (OSError, ValueError) as error:
        raise BadValue(f"the file cannot be opened: {why(error)}", where=where) from error


def _stream_content(stream: Any) -> tuple[bytes, str]:
    where = str(getattr(stream, "name", "an open file"))
    try:
        data = stream.read(MAX_BYTES + 1)
    except Exception as error:
        raise BadValue(f"the open file cannot be read: {error}", where=where) from error
    if not isinstance(data, bytes | bytearray):
        raise BadValue("the file is open as text", where=where, fix="open it with mode 'rb'")
    if len(data) > MAX_BYTES:
        raise BadValue(f"the file has more than {MAX_BYTES:,} bytes", where=where, fix="save a smaller picture")
    return bytes(data), where


def _decoded(data: bytes, where: str) -> Image.Image:
    if not data:
        raise BadValue("the file is empty", where=where, fix="copy or export it again")
    if (quickly := straight(data)) is not None:
        return plain(quickly, where)
    try:
        with _opened(data) as image:
            return _upright(image, where)
    except UnidentifiedImageError as error:
        raise BadValue("this is not a picture of a format that is read here", where=where, known=FORMATS, fix=_looks_like(data)) from error
    except Image.DecompressionBombError as error:
        raise BadValue(f"the picture is too large: {error}", where=where, fix=f"save it with {MAX_PIXELS:,} pixels or fewer") from error
    except BadValue:
        raise
    except Exception as error:  # a damaged file may break a decoder in any way
        raise BadValue(f"the picture is damaged: {error or type(error).__name__}", where=where, fix="copy or export it again") from error


def _opened(data: bytes) -> Image.Image:
    """Read the header."""
    with _hushed:
        Image.init()
        return Image.open(BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


class _Hushed:
    """No warnings of Pillow: they are about what is answered here (size) or does not matter (broken EXIF).

    The filters are shared by all threads: the first that comes in silences them, the last that leaves puts them back, and none
    waits for another's file.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_hushed = _Hushed()


def _looks_like(data: bytes) -> str:
    start = data[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page, perhaps an error page saved by a download; fetch the picture again"
    if start.startswith((b"<svg", b"<?xml")):
        return "it looks like a vector drawing; export it as PNG"
    return "it is plain text; check the path" if data[:256].isascii() and b"\0" not in data[:256] else "export it as PNG or JPEG"


def _upright(image: Image.Image, where: str) -> Image.Image:
    """Check the size from the header, decode, turn upright, and bring to mode L or RGB without metadata."""
    _check_size(*image.size, where)
    try:
        with _hushed if image.format == "TIFF" else nullcontext():  # its EXIF is read, and applied, while loading
            image.load()
        turn = _turn(image)  # after loading: in a PNG it may stand behind the pixels
        converted = plain(image, where)
    except BadValue:
        raise
    except Exception as error:
        raise BadValue(f"the picture is damaged: {error or type(error).__name__}", where=where, fix="copy or export it again") from error
    _check_size(*converted.size, where)
    upright = converted.transpose(turn) if turn is not None else converted.copy()
    upright.info = {}
    return upright


def _check_size(width: int, height: int, where: str) -> None:
    if width < 1 or height < 1:
        raise BadValue(f"the picture has no pixels: it is {width} wide and {height} high", where=where)
    if width * height > MAX_PIXELS:
        many = f"{width} x {height} is {width * height:,} pixels, more than {MAX_PIXELS:,}"
        raise BadValue(f"the picture is too large: {many}", where=where, fix="save a smaller picture")


# What brings a picture upright that a camera marked with each EXIF orientation (TIFF 6.0, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


NOTES = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
"""Where Pillow looks for a camera's notes, but for TIFF, whose own tags they are."""


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn the picture's EXIF asks for; a broken EXIF block asks for none."""
    if image.format != "TIFF" and not NOTES & image.info.keys():
        return None
    with _hushed:
        try:
            return _TURNS.get(image.getexif().get(ORIENTATION, 1))
        except Exception:  # Pillow's reader of EXIF may raise anything; the picture itself is whole
            return None


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    where = f"array of shape {tuple(array.shape)} and type {array.dtype}"
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise BadValue(
            "an array of this shape is not a picture",
            where=where,
            known=("(H, W)", "(H, W, 1)", "(H, W, 3)", "(H, W, 4)"),
            fix="array.transpose(1, 2, 0) puts the channels last" if first else "",
        )
    _check_size(array.shape[1], array.shape[0], where)
    bytes_HWC = as_bytes(array, where)
    squeezed = bytes_HWC[:, :, 0] if array.ndim == 3 and channels == 1 else bytes_HWC
    return _upright(Image.fromarray(np.ascontiguousarray(squeezed)), where)
