"""A FLAC straight through dr_flac is what libsndfile makes of it, to the last bit; what is not plain and whole is left to libsndfile."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob, Span
from triptych.modalities.audio import read, straight

pytest.importorskip("miniaudio", reason="there are no wheels of miniaudio for this machine")
DEPTHS = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}


def flac(samples_NC: np.ndarray, bits: int = 16, rate: int = 16_000) -> bytes:
    room = io.BytesIO()
    soundfile.write(room, samples_NC, rate, format="FLAC", subtype=DEPTHS[bits])
    return room.getvalue()


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (samples, channels)) * np.linspace(0, 1, samples)[:, None]


def by_libsndfile(content: bytes) -> np.ndarray:
    samples_NC, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return samples_NC[:, 0] if samples_NC.shape[1] == 1 else samples_NC.mean(axis=1)


@settings(max_examples=30, deadline=None)
@given(
    samples=st.sampled_from((1, 2, 15, 16, 17, 4095, 4096, 4097, 9001)),
    channels=st.integers(1, 8),
    bits=st.sampled_from(sorted(DEPTHS)),
    rate=st.sampled_from((1_000, 8_000, 11_025, 44_100, 96_000)),
    seed=st.integers(0, 5),
)
def test_samples_are_libsndfiles_to_the_last_bit(samples: int, channels: int, bits: int, rate: int, seed: int) -> None:
    content = flac(noise(samples, channels, seed), bits, rate)
    found = straight.straight(content)
    assert found is not None and found[0].dtype == np.float32 and found[1] == rate
    np.testing.assert_array_equal(found[0], by_libsndfile(content))


def test_the_loudest_the_silent_and_what_lies_before_the_frames(tmp_path) -> None:
    loud = np.array([1.0, -1.0] * 2000)
    for samples_N in (loud, np.zeros(5000), np.ones(5000)):
        for bits in DEPTHS:
            np.testing.assert_array_equal(read.read(flac(samples_N, bits)).samples_N, by_libsndfile(flac(samples_N, bits)))
    content = flac(loud)
    padded = content[:42] + b"\x01\0\x10\0" + bytes(4096) + content[42:]
    (tmp_path / "a.flac").write_bytes(padded)
    for source in (padded, bytearray(padded), memoryview(padded), tmp_path / "a.flac"):
        np.testing.assert_array_equal(read.read(source).samples_N, by_libsndfile(content))


def test_what_is_damaged_costs_the_row_or_nothing() -> None:
    """A bit, a piece or the end is missing: either the sound is refused, or no sample of it is touched."""
    content, draw = flac(noise(10_000, 2)), random.Random(3)
    whole_N = by_libsndfile(content)
    frames = content.index(b"\xff\xf8")
    for number in range(150):
        damaged, place = bytearray(content), draw.randrange(4 if number % 4 == 0 else frames, len(content))
        if number % 3 == 0:
            damaged[place] ^= 1 << draw.randrange(8)
        elif number % 3 == 1:
            del damaged[place : place + draw.randrange(1, 5000)]
        else:
            damaged[place:place] = draw.randbytes(draw.randrange(1, 50))
        found = straight.straight(damaged)
        if found is not None:
            assert place < frames or number % 3 == 2, "a sound whose frames are damaged was taken for whole"
            np.testing.assert_array_equal(found[0], whole_N)
        elif place > frames and number % 3 != 2:
            with pytest.raises(BadValue, match="damaged or cut off"):
                read.read(damaged)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:], id="no length said"),
        pytest.param(lambda content: b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + content, id="a note before it"),
        pytest.param(lambda content: content[:21] + b"\xff" * 5 + content[26:], id="a year of sound"),
        pytest.param(lambda content: content[:50], id="nothing but blocks"),
        pytest.param(lambda content: b"fLaC", id="nothing but the mark"),
    ],
)
def test_what_is_not_plain_is_left_to_libsndfile(change) -> None:
    assert straight.straight(change(flac(noise(9000)))) is None


def test_nothing_differs_without_miniaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    content = flac(noise(9001, 2), 24)
    with_it = read.read(content)
    monkeypatch.setattr(straight, "_decoder", lambda: None)
    assert straight.straight(content) is None
    np.testing.assert_array_equal(read.read(content).samples_N, with_it.samples_N)


def test_a_piece_and_a_long_sound_are_not_decoded_whole(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = flac(noise(9000))
    piece = read.read(Span(Blob(content, "a.flac"), 0.1, 0.2)).samples_N
    np.testing.assert_array_equal(piece, by_libsndfile(content)[1600:3200])
    monkeypatch.setattr(straight, "MOST_NUMBERS", 8999)
    assert straight.straight(content) is None
    monkeypatch.setattr(straight, "MOST_BYTES", 100)
    (tmp_path / "a.flac").write_bytes(content)
    with (tmp_path / "a.flac").open("rb") as file:
        assert straight.content_of(file, len(content)) == b"" and file.tell() == 0
