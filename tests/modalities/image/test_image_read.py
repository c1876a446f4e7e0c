"""What comes out of `read`, for pictures in odd formats and for files that are no pictures."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import BadValue
from triptych.modalities.image import MODALITY
from triptych.modalities.image.read import MAX_PIXELS, read

pytestmark = pytest.mark.filterwarnings("error")


def gradient(width: int = 24, height: int = 16) -> np.ndarray:
    """A colour picture with no symmetry, smooth enough for lossy formats."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / (width - 1), y * 255 / (height - 1), (x + y) * 128 / (width + height)], axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(source: object) -> np.ndarray:
    return np.asarray(read(source)).astype(int)


@pytest.mark.parametrize(
    ("kind", "options", "off"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {}, 0),
        ("PPM", {}, 0),
        ("QOI", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG2000", {}, 2),
        ("JPEG", {"quality": 98, "subsampling": 0}, 6),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 6),
        ("AVIF", {"quality": 98}, 12),
    ],
)
def test_formats_give_the_same_picture(kind: str, options: dict, off: int, tmp_path: Path) -> None:
    path = tmp_path / "a picture"
    path.write_bytes(encoded(Image.fromarray(gradient()), kind, **options))
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), bytearray(path.read_bytes())):
        assert np.abs(pixels(source) - gradient()).max() <= off
    with path.open("rb") as file:
        assert read(file).mode == "RGB"


def test_reading_leaves_no_file_open_and_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(gradient()).save(tmp_path / "a.jpg", exif=exif)
    picture = read(tmp_path / "a.jpg")
    assert type(picture) is Image.Image and picture.info == {} and not dict(picture.getexif())
    (tmp_path / "a.jpg").unlink()
    assert picture.getpixel((0, 0)) is not None


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_the_cameras_orientation_is_applied_once(kind: str, orientation: int) -> None:
    # How stored rows and columns stand for the true picture: TIFF 6.0, tag 274.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation](gradient())
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    assert pixels(data).shape == (16, 24, 3)
    assert np.abs(pixels(data) - gradient()).max() <= (6 if kind == "JPEG" else 0)
    assert np.array_equal(pixels(read(data)), pixels(data)), "reading what was read changes nothing"


def test_transparent_pictures_are_laid_on_white() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0], rgba[0, 1], rgba[1, 0] = (255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 255, 128)
    expected = [[[255, 0, 0], [255, 255, 255]], [[127, 127, 255], [255, 255, 255]]]
    for source in (encoded(Image.fromarray(rgba), "PNG"), rgba, Image.fromarray(rgba), Image.fromarray(rgba).convert("RGBa")):
        assert np.abs(pixels(source) - expected).max() <= 1
    grey = Image.fromarray(np.array([[10, 10]], np.uint8))
    grey.putalpha(Image.fromarray(np.array([[255, 0]], np.uint8)))
    assert read(encoded(grey, "PNG")).mode == "L"
    assert pixels(encoded(grey, "PNG")).tolist() == [[10, 255]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_palettes_with_and_without_transparency(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert pixels(encoded(image, "PNG", transparency=transparency)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_colour_key_transparency() -> None:
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    assert pixels(encoded(grey, "PNG", transparency=7)).tolist() == [[255, 9]]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels(encoded(colour, "PNG", transparency=(1, 2, 3))).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    bit = Image.fromarray(np.array([[True, False]]))
    assert pixels(encoded(bit, "PNG", transparency=0)).tolist() == [[255, 255]]


def test_one_bit_cmyk_and_ycbcr() -> None:
    bits = Image.fromarray(np.array([[True, False]]))
    assert bits.mode == "1"
    for kind in ("PNG", "TIFF"):
        assert pixels(encoded(bits, kind)).tolist() == [[255, 0]]
    cmyk = Image.fromarray(gradient()).convert("CMYK")
    for data in (encoded(cmyk, "TIFF"), encoded(cmyk, "JPEG", quality=98)):
        assert np.abs(pixels(data) - gradient()).max() <= 8
    assert np.abs(pixels(Image.fromarray(gradient()).convert("YCbCr")) - gradient()).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_range(kind: str) -> None:
    wide = np.array([[0, 257, 20_000, 40_000, 65_535]], np.uint16)
    assert pixels(encoded(Image.fromarray(wide), kind)).tolist() == [[0, 1, 78, 156, 255]]
    assert pixels(wide).tolist() == [[0, 1, 78, 156, 255]]


def test_sixteen_bit_big_endian_tiff() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 20_000, 65_535))
    assert pixels(image).tolist() == [[78, 255]]


def test_float_and_wide_integer_tiffs() -> None:
    assert pixels(encoded(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "TIFF")).tolist() == [[0, 128, 255]]
    assert pixels(encoded(Image.fromarray(np.array([[-10, 0, 30]], np.float32)), "TIFF")).tolist() == [[0, 64, 255]]
    assert pixels(encoded(Image.fromarray(np.array([[0, 100_000, 200_000]], np.int32)), "TIFF")).tolist() == [[0, 128, 255]]
    assert pixels(Image.fromarray(np.full((2, 2), 7.0, np.float32))).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(BadValue, match="NaN"):
        read(encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(pixels(data), np.asarray(frames[0]))


def test_arrays() -> None:
    colour = gradient()
    assert np.array_equal(pixels(colour), colour)
    assert np.array_equal(pixels(colour[:, ::-1]), colour[:, ::-1])
    assert np.array_equal(pixels(colour / 255.0), colour)
    assert np.array_equal(pixels((colour / 255.0).astype(np.float16)), colour)
    assert np.array_equal(pixels(colour.astype(np.uint16) * 257), colour)
    assert np.array_equal(pixels(colour[:, :, :1]), colour[:, :, 0]) and read(colour[:, :, :1]).mode == "L"
    assert np.array_equal(pixels(colour[:, :, 0] > 99), (colour[:, :, 0] > 99) * 255)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf), "infinite"),
        (np.full((4, 4), 200.0), "divide by 255"),
        (np.full((4, 4), -0.5), "from 0 to 1"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
        (np.zeros((4, 0, 3), np.uint8), "no pixels"),
        (np.zeros((3, 8, 8), np.uint8), "transpose"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((2, 2, 2, 2), np.uint8), "shape"),
        (np.zeros((4, 4), np.int64), "type"),
        (np.zeros((4, 4), complex), "type"),
        (np.array([["a"]]), "type"),
        (np.broadcast_to(np.uint8(0), (10_000, 10_000)), "too large"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, says: str) -> None:
    with pytest.raises(BadValue, match=says):
        read(array)


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG of any claimed size, with hardly any content."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (9_000, 8_889), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(width: int, height: int, tmp_path: Path) -> None:
    assert width * height > MAX_PIXELS
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(width, height))
    with pytest.raises(BadValue, match="too large") as caught:
        read(path)
    assert "huge.png" in str(caught.value)


def test_zero_size_is_refused() -> None:
    with pytest.raises(BadValue):
        read(png_header(0, 5))
    with pytest.raises(BadValue, match="no pixels"):
        read(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused_with_their_name(kind: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BadValue) as caught:
        read(path)
    assert "cut.bin" in str(caught.value)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is not a picture")
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html><html>404</html>")
    (tmp_path / "vector.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    expected = {
        "empty.png": "empty",
        "text.png": "plain text",
        "page.jpg": "web page",
        "vector.png": "vector",
        "script.eps": "not a picture",
    }
    for name, says in expected.items():
        with pytest.raises(BadValue, match=says) as caught:
            read(tmp_path / name)
        assert name in str(caught.value)


def test_sources_that_cannot_be_opened(tmp_path: Path) -> None:
    for source, says in [
        (tmp_path / "none.png", "does not exist"),
        (tmp_path, "folder"),
        ("/dev/zero", "regular file"),
        ("https://example.org/a.png", "not fetched"),
        ("a\0b.png", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
        (io.StringIO("text"), "rb"),
        (b"", "empty"),
        (42, "int"),
        (None, "NoneType"),
    ]:
        with pytest.raises(BadValue, match=says):
            read(source)
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(BadValue, match="cannot be read"):
        read(closed)


def test_a_broken_exif_block_does_not_matter() -> None:
    data = encoded(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert pixels(data).shape == (16, 24, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_flipped_bytes_give_a_picture_or_a_bad_value(kind: str) -> None:
    draw = random.Random(kind)
    whole = encoded(Image.fromarray(gradient()), kind)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with contextlib.suppress(BadValue):
            assert read(bytes(data)).mode in ("L", "RGB")


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP", b"P6\n", b"qoif"]),
)
def test_any_bytes_give_a_picture_or_a_bad_value(tail: bytes, start: bytes) -> None:
    with contextlib.suppress(BadValue):
        assert read(start + tail).mode in ("L", "RGB")


def test_reading_in_threads_leaves_the_warning_filters_alone() -> None:
    data = encoded(Image.fromarray(gradient()), "TIFF")
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read(data) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_the_rooms_suffixes_are_of_formats_that_are_read() -> None:
    from triptych.modalities.image.read import FORMATS

    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS or kind in ("MPO",)}
    assert MODALITY.suffixes <= known
