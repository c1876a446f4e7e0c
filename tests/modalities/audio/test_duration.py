"""How long a recording is: the header says what reading the file gives."""

from __future__ import annotations

import wave

import numpy as np
import pytest
import soundfile

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob
from triptych.contract.modality import Timed
from triptych.modalities import rooms

ROOM = rooms()["audio"]


def written(path, seconds=1.7, rate=8000):
    samples = 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    if path.suffix == ".m4a":
        _with_av(path, samples, rate)
    else:
        soundfile.write(path, samples, rate)
    return path


def _with_av(path, samples, rate):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"])
def test_the_header_says_what_reading_gives(tmp_path, name):
    path = written(tmp_path / name)
    read = ROOM.read(path).seconds
    assert abs(ROOM.duration(path) - read) < 0.15 and abs(read - 1.7) < 0.3
    assert ROOM.duration(path.read_bytes()) == ROOM.duration(Blob(path.read_bytes(), name)) == ROOM.duration(str(path))
    if name in ("a.wav", "a.flac"):
        assert ROOM.duration(path) == read


def test_an_hour_is_not_decoded(tmp_path, monkeypatch):
    from triptych.modalities.audio import duration as module

    with wave.open(str(tmp_path / "hour.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1000)
        file.writeframes(bytes(3_600_000))
    monkeypatch.setattr(module, "read", lambda source: pytest.fail("decoded"))
    assert ROOM.duration(tmp_path / "hour.wav") == 3600


@pytest.mark.parametrize("content", [b"", b"not a sound at all"])
def test_what_is_no_recording_is_refused_as_reading_it_is(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for source in (path, tmp_path / "gone.wav"):
        with pytest.raises(BadValue) as read:
            ROOM.read(source)
        with pytest.raises(BadValue) as asked:
            ROOM.duration(source)
        assert str(asked.value) == str(read.value)
    with pytest.raises(BadValue):
        ROOM.duration(content)


def test_rooms_without_time_have_no_length():
    assert isinstance(ROOM, Timed) and not isinstance(rooms()["image"], Timed) and not isinstance(rooms()["text"], Timed)
