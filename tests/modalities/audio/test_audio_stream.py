"""Recordings of any length, window by window."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile

from triptych.base.errors import BadValue
from triptych.modalities.audio.prepare import Features, wave
from triptych.modalities.audio.read import Recording, read
from triptych.modalities.audio.settings import Prepare
from triptych.modalities.audio.stream import windows


def write(path, seconds: float, rate: int = 8000, **words) -> np.ndarray:
    samples_N = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)
    soundfile.write(path, samples_N, rate, **words)
    return samples_N


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("seconds", [0.7, 2.0, 5.0, 5.3])
def test_windows_are_pieces_of_the_whole(tmp_path, name, seconds):
    path = tmp_path / name
    write(path, seconds)
    whole = read(path)
    found = list(windows(path, 2.0, 0.5))
    assert [start for start, _ in found] == [1.5 * n for n in range(len(found))]
    for start, piece in found:
        at = round(start * 8000)
        np.testing.assert_allclose(piece.samples_N, whole.samples_N[at : at + 16_000], atol=1e-6)
    last, piece = found[-1]
    assert abs(last + piece.seconds - whole.seconds) <= 0.02
    assert all(piece.seconds == 2.0 for _, piece in found[:-1])


def test_a_long_recording_takes_the_memory_of_a_window(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:  # twenty minutes: 38 MB of samples
        for _ in range(20):
            file.write(np.zeros(60 * 8000, np.float32))
    tracemalloc.start()
    count = sum(1 for _ in windows(path, 10.0, 2.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 150 and peak < 20 * 2**20


def test_what_is_wrong_is_said(tmp_path):
    path = tmp_path / "cut.flac"
    write(path, 5.0)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(BadValue, match=r"damaged or cut off") as problem:
        list(windows(path, 2.0, 0.5))
    assert problem.value.where == str(path)
    (tmp_path / "words.wav").write_text("these are words")
    with pytest.raises(BadValue, match="not a sound file"):
        list(windows(tmp_path / "words.wav", 2.0, 0.5))
    with pytest.raises(BadValue, match="no such file"):
        list(windows(tmp_path / "none.wav", 2.0, 0.5))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(BadValue, match="no samples"):
        list(windows(tmp_path / "empty.wav", 2.0, 0.5))


@pytest.mark.parametrize("trim", [False, True])
def test_a_preparation_knows_where_what_is_heard_begins(trim):
    quiet, loud = np.zeros(4000, np.float32), np.random.default_rng(1).uniform(0.1, 0.9, 24_000).astype(np.float32)
    recording = Recording(np.concatenate([quiet, loud]), 8000)
    prepare = Prepare(rate=8000, seconds=1.0, trim_silence=trim, bins=16)
    held = Features(prepare)
    heard_N = wave(recording, prepare)
    at = round(held.begins(recording) * 8000)
    np.testing.assert_array_equal(recording.samples_N[at : at + len(heard_N)], heard_N)
    assert held.pace() == 0.01
