"""What the text room reads, and what it says about what it cannot read."""

import datetime
import decimal
import io
import os
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import BadValue
from triptych.modalities.text import MODALITY
from triptych.modalities.text.read import MAX_CHARACTERS

read = MODALITY.read


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("  a seven \n", "a seven"),
        pytest.param("cafe\u0301", "cafe\u0301", id="the form of letters is for the recipe to say"),
        (7, "7"),
        (7.0, "7"),
        (0.5, "0.5"),
        (True, "True"),
        (np.int64(12), "12"),
        (np.float32(0.1), "0.1"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        pytest.param("\ud83d\ude00 ok", "😀 ok", id="a surrogate pair left apart"),
        pytest.param("cut \ud83d", "cut \ufffd", id="half an emoji"),
        (b"plain", "plain"),
        (bytearray("naïve".encode()), "naïve"),
    ],
)
def test_a_cell_becomes_its_text(cell, text):
    assert read(cell) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_file_in_any_usual_encoding_gives_the_same_text(tmp_path, encoding):
    path = tmp_path / "note.txt"
    path.write_bytes("déjà vu: 5 € œuvre".encode(encoding))
    assert read(path) == "déjà vu: 5 € œuvre"


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_both_byte_orders_of_utf_16(mark):
    assert read("\ufeffword".encode(mark)) == "word"


def test_a_string_is_never_taken_for_a_path(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("content")
    assert read(str(path)) == str(path)
    assert read(path) == "content"


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


def _wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\1\2" * 100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"\xef\xbb\xbf", "nothing that can be seen|empty"),
        (_png(), "a PNG picture"),
        (_wav(), "a WAV"),
        (b"abc\0def", "not a text"),
        (b"\xff\xfea", "damaged text: byte 2"),
        ("naïve café".encode()[:-1], "damaged text: byte 10"),
        (b"a\x81b", "0x81"),
        (b"x" * (MAX_CHARACTERS + 1), "too long"),
        (b"x" * (4 * MAX_CHARACTERS + 5), "too long"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_its_name(tmp_path, content, says):
    path = tmp_path / "odd.txt"
    path.write_bytes(content)
    with pytest.raises(BadValue, match=says) as caught:
        read(path)
    assert "odd.txt" in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path):
    with pytest.raises(BadValue, match="does not exist"):
        read(tmp_path / "missing.txt")
    with pytest.raises(BadValue, match="a folder"):
        read(tmp_path)
    with pytest.raises(BadValue):
        read(tmp_path / "nul\0byte.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(BadValue, match="neither"):
        read(tmp_path / "pipe.txt")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (None, "empty"),
        (float("nan"), "empty"),
        (decimal.Decimal("NaN"), "empty"),
        (np.float64("nan"), "empty"),
        ("", "empty"),
        (" \u200b\x07", "nothing that can be seen"),
        ("a\0b", "not a text"),
        ([1, 2], "type list"),
        ({"a": 1}, "type dict"),
        (object(), "type object"),
        pytest.param(10**5000, "written out", id="a number of 5001 digits"),
    ],
)
def test_a_cell_that_is_no_text_is_refused(cell, says):
    with pytest.raises(BadValue, match=says):
        read(cell)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_give_a_text_or_a_bad_value(data):
    try:
        text = read(data)
    except BadValue:
        return
    assert text and text.encode()


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=40))
def test_reading_twice_is_reading_once(value):
    try:
        text = read(value)
    except BadValue:
        return
    assert read(text) == text
    assert read(text.encode()) == text
