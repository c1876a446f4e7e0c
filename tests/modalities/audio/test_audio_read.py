"""Reading: every format, every array, and what is refused with which words."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import struct
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import BadValue
from triptych.modalities.audio import MODALITY, decode
from triptych.modalities.audio.read import Recording


def tone(seconds: float = 0.5, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 220 * (c + 1) * t) for c in range(channels)], 1).astype(np.float32)


def encoded(container: str, codec: str, samples_NC: np.ndarray, rate: int, video: bool = False, sound: bool = True) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        pictures = file.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p") if video else None
        voice = file.add_stream(codec, rate=rate, layout="stereo" if samples_NC.shape[1] == 2 else "mono") if sound else None
        if pictures is not None:
            for frame in [*(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24") for _ in range(5)), None]:
                file.mux(pictures.encode(frame))
        if voice is not None:
            voice.bit_rate = 128_000
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples_NC.T), "fltp", voice.layout.name)
            heard.sample_rate, heard.pts = rate, 0
            for sounding in (heard, None):
                file.mux(voice.encode(sounding))
    return out.getvalue()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "MS_ADPCM"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_wav_of_all_widths(tmp_path: Path, subtype: str, kind: str) -> None:
    if kind == "WAVEX" and subtype == "MS_ADPCM":
        pytest.skip("the format has no such subtype")
    soundfile.write(tmp_path / "a.wav", tone(), 16_000, format=kind, subtype=subtype)
    read = MODALITY.read(tmp_path / "a.wav")
    assert (read.rate, read.samples_N.dtype, read.name) == (16_000, np.float32, str(tmp_path / "a.wav"))
    assert np.abs(read.samples_N[:8000] - tone()[:, 0]).max() < (0.05 if subtype in {"PCM_U8", "ULAW", "MS_ADPCM"} else 1e-4)


@pytest.mark.parametrize(("kind", "suffix"), [("FLAC", "flac"), ("OGG", "ogg"), ("MP3", "mp3"), ("AIFF", "aiff"), ("AU", "au")])
def test_other_formats_of_libsndfile(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(2), 16_000, format=kind)
    read = MODALITY.read(str(path))
    assert read.rate == 16_000
    assert read.seconds == pytest.approx(2, abs=0.15)
    assert np.abs(read.samples_N).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("mp4", "aac", 44_100),
        ("adts", "aac", 22_050),
        ("webm", "libopus", 48_000),
        ("matroska", "aac", 32_000),
        ("asf", "wmav2", 44_100),
        ("mov", "pcm_s16le", 44_100),
        ("ogg", "libopus", 48_000),
    ],
)
def test_formats_of_ffmpeg(container: str, codec: str, rate: int) -> None:
    read = MODALITY.read(encoded(container, codec, tone(2, rate, 2), rate))
    assert read.rate == rate
    assert read.seconds == pytest.approx(2, abs=0.2)
    assert np.sqrt((read.samples_N**2).mean()) == pytest.approx(0.25, abs=0.03)  # the mean of two tones of 0.5


def test_sound_of_a_video_and_a_video_without_sound() -> None:
    assert MODALITY.read(encoded("mp4", "aac", tone(1, 44_100), 44_100, video=True)).seconds == pytest.approx(1, abs=0.2)
    with pytest.raises(BadValue, match="no sound in the file, only video"):
        MODALITY.read(encoded("mp4", "aac", tone(1), 44_100, video=True, sound=False))


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_rates_and_channels(rate: int, channels: int) -> None:
    out = io.BytesIO()
    soundfile.write(out, tone(0.1, rate, channels), rate, format="WAV", subtype="FLOAT")
    read = MODALITY.read(out.getvalue())
    assert read.rate == rate
    np.testing.assert_allclose(read.samples_N, tone(0.1, rate, channels).mean(1), atol=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"])
def test_arrays_are_scaled_by_their_type(kind: str) -> None:
    wanted = tone()[:, 0]
    if kind.startswith("float"):
        samples = wanted.astype(kind)
    else:
        half = 2.0 ** (8 * np.dtype(kind).itemsize - 1)
        samples = np.round(wanted.astype(np.float64) * (half - 1) + (half if kind[0] == "u" else 0)).astype(kind)
    np.testing.assert_allclose(MODALITY.read((samples, 16_000)).samples_N, wanted, atol=0.01 if "8" in kind else 1e-3)


def test_array_shapes_dicts_files_and_recordings_are_the_same(tmp_path: Path) -> None:
    samples_NC = tone(channels=2)
    wanted = samples_NC.mean(1)
    soundfile.write(tmp_path / "a.wav", samples_NC, 16_000, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    with (tmp_path / "a.wav").open("rb") as file:
        sources = [
            (samples_NC, 16_000), (samples_NC.T, 16_000), {"array": samples_NC, "sampling_rate": 16_000, "path": None},
            {"bytes": content, "path": "a.wav"}, {"bytes": None, "path": str(tmp_path / "a.wav")},
            content, bytearray(content), memoryview(content),
            io.BytesIO(content), file, tmp_path / "a.wav", (wanted.tolist(), 16_000), MODALITY.read(content),
        ]  # fmt: skip
        for source in sources:
            np.testing.assert_allclose(MODALITY.read(source).samples_N, wanted, atol=1e-6)


def test_too_loud_is_scaled_and_quiet_is_kept() -> None:
    assert np.abs(MODALITY.read((tone()[:, 0] * 8, 16_000)).samples_N).max() == pytest.approx(1)
    assert np.abs(MODALITY.read((tone()[:, 0] * 0.01, 16_000)).samples_N).max() == pytest.approx(0.005, abs=1e-4)


def wav_header(samples: int, rate: int = 16_000) -> bytes:
    kind = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + samples * 2) + kind + b"data" + struct.pack("<I", samples * 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (wav_header(0), "no samples"),
        (wav_header(16_000), "no samples"),
        (b"this is only a text, not a sound at all\n" * 9, "begins with the text 'this is only a text"),
        (bytes(range(128, 256)) * 9, "begins with the bytes 80 81"),
        (wav_header(100, rate=3) + bytes(200), "3 samples a second"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.aac\n", "not a sound file"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a sound file"),
    ],
)
def test_refused_bytes(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(BadValue, match=says) as caught:
            MODALITY.read(source)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ((np.array([0.1, np.nan, np.inf]), 16_000), "2 of 3 samples are NaN or infinite, the first at 0.000 s"),
        ((np.full((5, 2), 1e308), 16_000), "NaN or infinite"),
        ((np.zeros((3, 3, 3)), 16_000), "shape"),
        ((np.zeros((100, 90)), 16_000), "channels"),
        ((np.zeros(0), 16_000), "no samples"),
        ((np.zeros(9, np.int64), 16_000), "int64"),
        ((np.zeros(9, complex), 16_000), "complex"),
        ((["a"], 16_000), "type"),
        (([[1], [1, 2]], 16_000), "not a sound"),
        ((np.zeros(9), 0), "0 samples a second"),
        ((np.zeros(9), 16_000.5), "whole number"),
        ((np.zeros(9), "fast"), "not a sound"),
        ({"text": "a"}, "dict"),
        (12, "int is not a sound"),
        (None, "NoneType"),
        ("no/such/file.wav", "no such file"),
        ("http://example.org/a.wav", "no such file"),
        (".", "folder"),
        ("a\0b.wav", "a"),
        ("x" * 5000, "."),
        (io.StringIO("text"), "not bytes"),
    ],
)
def test_refused_sources(source: object, says: str) -> None:
    with warnings.catch_warnings(), pytest.raises(BadValue, match=says):
        warnings.simplefilter("error")
        MODALITY.read(source)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(BadValue, match="neither a file nor a folder"):
        MODALITY.read(tmp_path / "pipe.wav")


def test_truncated_files_are_refused_with_the_seconds(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((48_000, 1)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.flac", noise, 16_000)
    content = (tmp_path / "a.flac").read_bytes()
    with pytest.raises(BadValue, match=r"damaged or cut off: [01]\.\d\d of 3\.00 s could be read"):
        MODALITY.read(content[: len(content) // 2])
    whole = encoded("matroska", "aac", noise, 16_000)
    with pytest.raises(BadValue, match=r"of 3\.\d\d s could be read|damaged"):
        MODALITY.read(whole[: len(whole) // 3])
    with pytest.raises(BadValue):
        MODALITY.read(encoded("mp4", "aac", noise, 16_000)[:3000])


def test_too_long_is_refused_from_the_header_and_while_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadValue, match="s long; 7,200 s are allowed"):
        decode.check_length(16_000 * 7201, 16_000)
    monkeypatch.setattr(decode, "MAX_SECONDS", 1)
    soundfile.write(tmp_path / "a.wav", tone(2), 16_000)
    for source in (tmp_path / "a.wav", encoded("adts", "aac", tone(3, 44_100), 44_100), (tone(2), 16_000)):
        with pytest.raises(BadValue, match="1 s are allowed"):
            MODALITY.read(source)


def test_a_lying_header_costs_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"cut off|allowed|no samples"):
        MODALITY.read(b"fLaC" + bytes.fromhex("00000022100010000000000000000ac442f0") + b"\xff" * 4 + bytes(18) + b"\0" * 64)


def test_no_file_stays_open(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    (tmp_path / "b.wav").write_bytes(b"no sound at all")
    (tmp_path / "c.m4a").write_bytes(encoded("mp4", "aac", tone(1, 44_100), 44_100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.wav", "b.wav", "c.m4a"):
            with contextlib.suppress(BadValue):
                MODALITY.read(tmp_path / name)
        gc.collect()
    here = {str(link.resolve()) for link in Path("/proc/self/fd").glob("*")} if Path("/proc/self/fd").exists() else set()
    assert not [name for name in here if str(tmp_path) in name]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_give_a_recording_or_bad_value(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(200, len(content) - 1)))] = data.draw(st.integers(0, 255))
    try:
        read = MODALITY.read(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except BadValue:
        return
    assert isinstance(read, Recording)
    assert len(read.samples_N)
    assert np.abs(read.samples_N).max() <= 1


def _written(kind: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(0.2), 16_000, format=kind)
    return out.getvalue()


SEEDS = [
    *(_written(kind) for kind in ("WAV", "FLAC", "OGG", "MP3")),
    encoded("mp4", "aac", tone(0.3, 44_100), 44_100),
    encoded("webm", "libopus", tone(0.3, 48_000), 48_000),
]
