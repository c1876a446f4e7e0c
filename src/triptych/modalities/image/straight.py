"""A small plain PNG, straight from its bytes into Pillow's own decoder: the same pixels, without Pillow's way through the file.

Of 64 x 64 pixels, that way is a third of the time, and all of it holds Python's lock. What is decoded here has 8 bits a channel, is
not interlaced, has no palette, and nothing in the file that changes how it is seen. Every other file, and every damaged one, is
left to `read`, which also says what is wrong. Chunks are those of the PNG specification (third edition, section 11).
"""

from __future__ import annotations

from struct import Struct
from struct import error as TooShort
from zlib import crc32

from PIL import Image

MOST_PIXELS = 1 << 20
"""Of a larger picture the decoding takes nearly all the time; and what a damaged header claims costs no memory here."""
MODES = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
"""By the colour type of the header."""
HARMLESS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}
"""Chunks that change no pixel here, and how long they are."""
HEADER = Struct(">8sI4sIIBBBBBI")
"""Signature, then length and name of the first chunk, width, height, depth, colour type, three methods, and the check sum."""
CHUNK = Struct(">I4s")
SUM = Struct(">I")


def straight(data: bytes) -> Image.Image | None:
    """The picture in mode L, LA, RGB or RGBA, without any notes; None where it is not surely plain and whole."""
    try:
        size, mode = _header(data)
        return Image.frombytes(mode, size, _compressed(data), "zip", mode, 0)
    except (TooShort, ValueError):
        return None


def _header(data: bytes) -> tuple[tuple[int, int], str]:
    """Width and height, and the mode. Raises ValueError or `TooShort` of what is not plain."""
    signature, length, name, width, height, depth, colour, *methods, checked = HEADER.unpack_from(data)
    plain = signature == b"\x89PNG\r\n\x1a\n" and (length, name, depth, methods) == (13, b"IHDR", 8, [0, 0, 0])
    if not plain or colour not in MODES or not 0 < width * height <= MOST_PIXELS or crc32(data[12:29]) != checked:
        raise ValueError
    return (width, height), MODES[colour]


def _compressed(data: bytes) -> bytes | memoryview:
    """What the IDAT chunks hold. Raises ValueError or `TooShort` where others than harmless ones stand beside them."""
    view, at = memoryview(data), HEADER.size
    parts: list[memoryview] = []
    while True:
        length, name = CHUNK.unpack_from(data, at)
        end = at + CHUNK.size + length
        if name == b"IEND":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        (checked,) = SUM.unpack_from(data, end)  # fails where the file ends within the chunk
        if name == b"IDAT":
            parts.append(view[at + CHUNK.size : end])
        elif parts or HARMLESS.get(name) != length or crc32(view[at + 4 : end]) != checked:
            raise ValueError
        at = end + SUM.size
