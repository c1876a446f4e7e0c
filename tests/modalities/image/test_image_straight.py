"""Plain PNGs decoded straight from their bytes: the same picture as by Pillow's own way, and no other file is taken."""

from __future__ import annotations

import io
import struct
import zlib
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import triptych.modalities.image.read as reading
from triptych.base.errors import BadValue
from triptych.modalities.image.straight import MOST_PIXELS, straight


def ordinary(data: bytes) -> Image.Image | str:
    """What is read, or refused, where nothing goes straight."""
    with patch.object(reading, "straight", lambda data: None):
        return outcome(data)


def outcome(data: bytes) -> Image.Image | str:
    try:
        return reading.read(data)
    except BadValue as problem:
        return str(problem)


def same(one: Image.Image | str, other: Image.Image | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes() and one.info == other.info


def noise(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    levels[: height // 2] //= 32  # smooth above, so that all filters of PNG are used
    return Image.frombytes(mode, (width, height), levels.tobytes())


def saved(image: Image.Image, **words: object) -> bytes:
    room = io.BytesIO()
    image.save(room, "PNG", **words)
    return room.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def whole(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, content) for name, content in parts)


SIDES = st.integers(1, 40)


@settings(max_examples=40)
@given(st.sampled_from(["L", "LA", "RGB", "RGBA"]), SIDES, SIDES, st.integers(0, 9), st.integers(0, 5))
def test_plain_ones_go_straight_and_are_the_same_picture(mode: str, width: int, height: int, level: int, seed: int) -> None:
    data = saved(noise(mode, width, height, seed), compress_level=level, dpi=(72, 72))
    image = straight(data)
    assert image is not None and image.mode == mode and image.tobytes() == noise(mode, width, height, seed).tobytes()
    assert same(outcome(data), ordinary(data))


def test_what_is_compressed_may_lie_in_several_chunks() -> None:
    header, (name, content), end = chunks(saved(noise("RGB", 33, 20)))
    data = whole([header, (name, content[:50]), (name, b""), (name, content[50:]), end])
    assert straight(data) is not None and same(outcome(data), ordinary(data))


def notes() -> PngInfo:
    told = PngInfo()
    told.add_text("XML:com.adobe.xmp", "<x tiff:Orientation='6'/>")
    return told


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def interlaced() -> bytes:
    header, *rest = chunks(saved(Image.new("L", (1, 1), 7)))  # one pixel is the first pass, and that is all
    return whole([(header[0], header[1][:12] + b"\1"), *rest])


RGB = noise("RGB", 12, 9)
ODD = {
    "palette": saved(RGB.quantize(16)),
    "one bit": saved(RGB.convert("1")),
    "16 bits": saved(Image.fromarray(np.arange(108, dtype=np.uint16).reshape(9, 12) * 600)),
    "a colour is transparent": saved(RGB, transparency=RGB.getpixel((0, 0))),
    "turned by its EXIF": saved(RGB, exif=turned()),
    "turned by its XMP": saved(RGB, pnginfo=notes()),
    "a colour profile": saved(RGB, icc_profile=b"none"),
    "moving": saved(RGB, save_all=True, append_images=[noise("RGB", 12, 9, 1)]),
    "interlaced": interlaced(),
    "a JPEG": b"\xff\xd8\xff\xe0" + bytes(40),
    "nothing": b"",
    "only a signature": b"\x89PNG\r\n\x1a\n",
}


@pytest.mark.parametrize("kind", ODD)
def test_others_are_left_to_pillow(kind: str) -> None:
    assert straight(ODD[kind]) is None
    assert same(outcome(ODD[kind]), ordinary(ODD[kind]))


def test_what_a_header_claims_costs_nothing() -> None:
    (name, header), *rest = chunks(saved(RGB))
    for width, height in ((2**31 - 1, 2**31 - 1), (MOST_PIXELS, 2), (0, 9)):
        data = whole([(name, struct.pack(">II", width, height) + header[8:]), *rest])
        with patch.object(Image, "frombytes", side_effect=AssertionError("memory was asked for")):
            assert straight(data) is None
        assert isinstance(outcome(data), str)


@pytest.mark.parametrize("kept", [0, 1, 40])
def test_a_picture_that_lacks_rows_is_refused(kept: int) -> None:
    header, (name, content), end = chunks(saved(RGB))
    data = whole([header, (name, content[:kept]), end])
    assert straight(data) is None and "damaged" in str(outcome(data))


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_what_pillow_says_it_is(data: st.DataObject) -> None:
    """Bytes changed, lost or put in, also where the check sums were made anew: taken only where Pillow takes it, and alike."""
    parts = chunks(saved(noise(data.draw(st.sampled_from(["L", "RGB", "RGBA"])), 9, 7), dpi=(72, 72)))
    which = data.draw(st.integers(0, len(parts) - 1))
    name, content = parts[which]
    at = data.draw(st.integers(0, max(0, len(content) - 1)))
    change = data.draw(st.sampled_from(["bytes", "shorter", "longer", "twice", "gone", "cut"]))
    if change == "bytes":
        parts[which] = (name, content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :])
    elif change == "shorter":
        parts[which] = (name, content[:at])
    elif change == "longer":
        parts[which] = (name, content + data.draw(st.binary(min_size=1, max_size=9)))
    elif change == "twice":
        parts.insert(which, parts[which])
    elif change == "gone":
        del parts[which]
    file = whole(parts)
    file = file[: data.draw(st.integers(0, len(file)))] if change == "cut" else file
    assert same(outcome(file), ordinary(file))
