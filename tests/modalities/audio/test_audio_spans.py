"""Pieces of recordings and the sound of films: equal to the same piece of the whole, to the sample."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import Absent, BadValue
from triptych.contract.cells import Blob, Span
from triptych.modalities.audio import MODALITY, piece
from triptych.modalities.audio.read import holds, read

RATE = 16000
FILMS = {
    "aac.mp4": "aac",
    "pcm.mov": "pcm_s16le",
    "opus.webm": "libopus",
    "mp3.mkv": "libmp3lame",
    "aac.mkv": "aac",
    "mp3.avi": "libmp3lame",
    "pcm.avi": "pcm_s16le",
    "aac.ts": "aac",
}
SOUNDS = ("wav", "flac", "ogg", "mp3", "aiff")
LOSSLESS = {"pcm.mov", "pcm.avi", *(f"sound.{kind}" for kind in SOUNDS)}
SPANS = [(0.0, 0.5), (0.1, 0.10005), (3.3, 4.7), (2.123456, 5.0), (5.5, None), (0.0, None), (5.9, 6.0)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, write_film):
    """Six seconds of a rising tone in every kind of film and sound file."""
    folder = tmp_path_factory.mktemp("spans")
    made = {
        name: write_film(folder / name, frames=48, rate=8, size=(16, 16), sound=codec, sound_rate=RATE) for name, codec in FILMS.items()
    }
    time = np.arange(6 * RATE) / RATE
    tone = (0.4 * np.sin(2 * np.pi * (200 + 60 * time) * time)).astype(np.float32)
    for kind in SOUNDS:
        made[f"sound.{kind}"] = folder / f"sound.{kind}"
        soundfile.write(made[f"sound.{kind}"], tone, RATE)
    made["aac.m4a"] = write_film(folder / "aac.m4a", frames=0, rate=8, sound="aac", sound_rate=RATE)
    return made


@pytest.mark.parametrize("name", [*FILMS, *(f"sound.{kind}" for kind in SOUNDS)])
@pytest.mark.parametrize(("start", "end"), SPANS)
def test_a_span_is_that_piece_of_the_whole(recordings, name, start, end):
    whole, part = read(recordings[name]), read(Span(recordings[name], start, end))
    first, last = round(start * whole.rate), None if end is None else round(end * whole.rate)
    wanted = whole.samples_N[first:last]
    assert part.rate == whole.rate and len(part.samples_N) == len(wanted)
    # A decoder that begins in the middle of AAC draws other noise, in places, than one that came from the start.
    assert np.abs(part.samples_N - wanted).max() <= (0 if name in LOSSLESS else 0.02)
    if len(wanted) > RATE // 10:
        shifted = np.abs(part.samples_N[1:] - wanted[:-1]).max()
        assert shifted > 3 * np.abs(part.samples_N - wanted).max()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(LOSSLESS - {"sound.aiff"})), start=st.floats(0, 5.9), length=st.floats(1e-4, 6))
def test_any_span_of_a_lossless_recording(recordings, name, start, length):
    whole, end = read(recordings[name]), min(start + length, 6.0)
    part = read(Span(recordings[name], start, end))
    first = round(start * whole.rate)
    assert np.array_equal(part.samples_N, whole.samples_N[first : max(round(end * whole.rate), first + 1)])


@pytest.mark.parametrize("name", ["aac.mp4", "opus.webm", "pcm.mov", "mp3.mkv"])
def test_a_late_span_is_found_without_decoding_what_comes_before(recordings, name, monkeypatch):
    decoded = 0
    original = piece._samples

    def counted(frame, rate):
        nonlocal decoded
        decoded += frame.samples
        return original(frame, rate)

    monkeypatch.setattr(piece, "_samples", counted)
    rate = read(Span(recordings[name], 5.0, 5.2)).rate
    assert decoded < 2.5 * rate


def test_a_span_of_bytes(recordings):
    path = recordings["opus.webm"]
    part = read(Span(Blob(path.read_bytes(), "call.webm"), 1.0, 2.5))
    assert np.array_equal(part.samples_N, read(Span(path, 1.0, 2.5)).samples_N) and part.name == "call.webm"


def test_a_span_of_what_is_too_long_to_hold(recordings, monkeypatch):
    from triptych.modalities.audio import decode

    monkeypatch.setattr(decode, "MAX_SECONDS", 2)
    for name in ("sound.wav", "sound.mp3", "aac.mp4", "opus.webm"):
        with pytest.raises(BadValue, match="2 s are allowed"):
            read(recordings[name])
        assert read(Span(recordings[name], 3, 4.5)).seconds == 1.5
        with pytest.raises(BadValue, match="2 s are allowed"):
            read(Span(recordings[name], 1, 4.5))


@pytest.mark.parametrize("name", ["sound.wav", "sound.mp3", "aac.mp4", "opus.webm", "pcm.avi", "aac.m4a"])
def test_impossible_spans(recordings, name):
    for span, says in (((9, 11), "lies outside"), ((2, 1), "before it begins"), ((1, 1), "is empty")):
        if name == "aac.m4a":
            span = (span[0] / 10 + (9 if span[0] == 9 else 0), span[1] / 10 + (9 if span[0] == 9 else 0))
        with pytest.raises(BadValue, match=says) as caught:
            read(Span(recordings[name], *span))
        assert name in caught.value.where and "s long" in caught.value.what


def test_a_film_without_sound_is_told_from_one_that_is_damaged(tmp_path, write_film):
    mute = write_film(tmp_path / "mute.mp4", frames=8)
    with pytest.raises(Absent, match="no sound in the file, only video"):
        read(mute)
    with pytest.raises(Absent):
        read(Span(mute, 0.2, 0.4))
    assert not holds(mute) and holds(write_film(tmp_path / "loud.mp4", frames=8, sound="aac"))
    assert not MODALITY.holds(tmp_path / "none.mp4") and not MODALITY.holds(b"rubbish")


def late(path: Path, sound_at: float, seconds: float) -> Path:
    """A film of four seconds whose sound begins late and is short; sample n says n."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), number, np.uint8), format="rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        tone = av.AudioFrame.from_ndarray(np.arange(int(8000 * seconds), dtype=np.int16)[None], format="s16", layout="mono")
        tone.sample_rate, tone.pts = 8000, int(8000 * sound_at)
        for packet in sound.encode(tone):
            file.mux(packet)
    return path


def test_sound_that_begins_later_than_the_pictures(tmp_path):
    film = late(tmp_path / "late.mov", 1.5, 1.0)

    def numbers(start: float, end: float) -> np.ndarray:
        return np.round(read(Span(film, start, end)).samples_N * 32768).astype(int)

    assert np.array_equal(numbers(1.75, 2.0), np.arange(2000, 4000))
    assert np.array_equal(numbers(1.0, 1.75), np.arange(0, 2000))
    assert np.array_equal(numbers(2.25, 3.5), np.arange(6000, 8000))
    for start, end in ((0.0, 1.0), (3.0, 3.5)):
        with pytest.raises(Absent, match="sound track, but nothing between"):
            numbers(start, end)


def test_a_track_that_is_cut_off(recordings):
    content = recordings["sound.flac"].read_bytes()
    with pytest.raises(BadValue, match=r"damaged|cut off"):
        read(Span(Blob(content[: len(content) // 2], "half.flac"), 5, 6))
    assert read(io.BytesIO(content)).seconds == 6.0
