"""Real films of every container, whole, in spans, odd and broken: frames exact, everything wrong said."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import Absent, BadValue
from triptych.contract.cells import Blob, Span
from triptych.modalities.video import MODALITY, probe
from triptych.modalities.video.read import holds, read

KINDS = {
    "h264.mp4": "libx264",
    "mpeg4.mp4": "mpeg4",
    "vp8.webm": "libvpx",
    "vp9.webm": "libvpx-vp9",
    "h264.mkv": "libx264",
    "mpeg4.mov": "mpeg4",
    "mpeg4.avi": "mpeg4",
    "h264.ts": "libx264",
    "mpeg4.mkv": "mpeg4",
}


def level_of(number: int) -> int:
    """Far enough apart for any codec."""
    return 16 + 4 * number


def number_of(frame) -> int:
    return round((float(np.asarray(frame).mean()) - 16) / 4)


@pytest.fixture(scope="module")
def films(tmp_path_factory, write_film):
    """One film of 50 frames at 10 a second of each kind, frame k of brightness k."""
    folder = tmp_path_factory.mktemp("films")
    return {
        name: write_film(
            folder / name, frames=50, rate=10, codec=codec, levels=level_of, gop=7, sound="libopus" if "webm" in name else "aac"
        )
        for name, codec in KINDS.items()
    }


def numbers_at(name: str, times) -> list[int]:
    """The frames shown at some tenths of seconds. FFmpeg's AVI writer leaves the second place empty: the first frame is shown twice."""
    numbers = [int(time * 10 + 1e-6) for time in times]
    return [max(0, number - 1) if name.endswith("avi") else number for number in numbers]


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_film(films, name):
    clip = read(films[name])
    assert (clip.width, clip.height, clip.count) == (32, 24, 50)
    assert clip.seconds == pytest.approx(5.1 if name.endswith("avi") else 5.0, abs=0.05) and clip.rate == pytest.approx(10, abs=0.2)
    times = [k / 10 for k in range(50)]
    assert [number_of(frame) for frame in clip.at(times)] == numbers_at(name, times)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.3, 2.9), (3.25, 4.75), (4.9, 5.0), (2.0, None), (0.05, 0.06)])
def test_a_span_is_exact_to_a_frame(films, name, start, end):
    """At rate r the frame shown at a + k / r is that of number floor((a + k / r) * 10)."""
    clip = read(Span(films[name], start, end))
    last = 5.0 if end is None else end
    assert clip.seconds == pytest.approx(last - start, abs=0.15 if name.endswith("avi") else 0.05)
    for rate in (3, 10, 25):
        times = [k / rate for k in range(int((last - start) * rate - 1e-6) + 1)]
        assert [number_of(frame) for frame in clip.at(times)] == numbers_at(name, [start + time for time in times])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(KINDS)), times=st.lists(st.integers(0, 49), min_size=1, max_size=6, unique=True))
def test_any_frames_by_jumping_are_those_of_going_through(films, name, times):
    moments = [time / 10 for time in sorted(times)]
    assert [number_of(frame) for frame in read(films[name]).at(moments)] == numbers_at(name, moments)


def test_a_span_of_bytes_is_that_of_the_file(films):
    path = films["h264.mp4"]
    blob = Blob(path.read_bytes(), "x.mp4")
    there, here = read(Span(path, 1.3, 2.9)), read(Span(blob, 1.3, 2.9))
    assert [np.asarray(a).tobytes() for a in there.at([0, 0.5])] == [np.asarray(a).tobytes() for a in here.at([0, 0.5])]
    assert here.name == "x.mp4" and there.known.mark == here.known.mark != read(path).known.mark


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ((7, 9), "lies outside of the recording: it takes 2.00 s, and the recording is 5.00 s long"),
        ((4, 9), "lies outside"),
        ((-1, 2), "lies outside"),
        ((3, 2), "the span 3-2 s ends before it begins; the recording is 5.00 s long"),
        ((2, 2), "the span 2-2 s is empty: it takes 0 s, and the recording is 5.00 s long"),
        ((float("nan"), 2), "no such times"),
    ],
)
def test_impossible_spans(films, span, says):
    with pytest.raises(BadValue, match=says) as caught:
        read(Span(films["mpeg4.mp4"], *span))
    assert "mpeg4.mp4" in caught.value.where


def test_ends_that_are_rounded_are_taken(films):
    assert read(Span(films["mpeg4.mp4"], 4, 5.08)).seconds == pytest.approx(1.0, abs=0.01)


def test_all_forms_of_a_source(films):
    path = films["vp8.webm"]
    content = path.read_bytes()
    clips = [
        read(source) for source in (str(path), path, content, bytearray(content), io.BytesIO(content), {"bytes": content, "path": "a"})
    ]
    assert {clip.count for clip in clips} == {50} and read(clips[0]) is clips[0]
    frames = np.stack([np.full((6, 8, 3), level_of(k), np.uint8) for k in range(10)])
    clip = read((frames, 5.0))
    assert (clip.seconds, clip.width, clip.height) == (2.0, 8, 6)
    assert [number_of(frame) for frame in clip.at([0.0, 0.39, 0.4, 1.99])] == [0, 1, 2, 9]
    for wrong in (5, None, (frames, 0), (frames.astype(float), 5.0), (frames[:0], 5.0), {"x": 1}, io.StringIO("text")):
        with pytest.raises(BadValue):
            read(wrong)


def test_a_variable_frame_rate(tmp_path, write_film):
    """Frames are held as long as they are shown."""
    stamps = [0, 1, 2, 10, 11, 30, 38]
    film = write_film(tmp_path / "v.mkv", frames=7, rate=10, stamps=stamps, levels=level_of)
    clip = read(film)
    shown = [number_of(frame) for frame in clip.at([k / 10 for k in range(39)])]
    assert shown == [max(n for n, stamp in enumerate(stamps) if stamp <= k) for k in range(39)]
    assert [number_of(frame) for frame in read(Span(film, 0.5, 2.0)).at([0.0, 0.5, 1.0])] == [2, 3, 4]


ARROW = np.zeros((24, 32, 3), np.uint8)
ARROW[:, :8] = (255, 0, 0)  # red at the left
ARROW[:6] = (0, 0, 255)  # blue at the top


def turned(path: Path, quarter: int) -> Path:
    """Write the turn into the film's track header, as a phone does; `quarter` turns clockwise."""
    one, zero = (1).to_bytes(2, "big") + b"\0\0", bytes(4)
    less = (0xFFFF).to_bytes(2, "big") + b"\0\0"
    upright = one + zero + zero + zero + one + zero + zero + zero + b"\x40\0\0\0"
    a, b, c, d = {1: (zero, one, less, zero), 2: (less, zero, zero, less), 3: (zero, less, one, zero)}[quarter]
    content = path.read_bytes()
    place = content.index(upright, content.index(b"tkhd"))
    path.write_bytes(content[:place] + a + b + zero + c + d + zero + zero + zero + b"\x40\0\0\0" + content[place + 36 :])
    return path


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_film_that_lies_on_its_side_is_turned_upright(tmp_path, write_film, quarter):
    film = turned(write_film(tmp_path / "p.mp4", frames=3, levels=lambda k: ARROW), quarter)
    clip = read(film)
    assert (clip.width, clip.height) == ((24, 32) if quarter % 2 else (32, 24))
    wanted = np.rot90(ARROW, -quarter)
    found = np.asarray(next(clip.at([0.0])), int)
    assert np.abs(found - wanted).mean() < 20


@pytest.mark.parametrize("size", [(33, 17), (2, 2), (16, 101)])
def test_odd_sizes(tmp_path, write_film, size):
    clip = read(write_film(tmp_path / "o.mkv", size=size, codec="ffv1", frames=4, levels=level_of))
    assert (clip.width, clip.height) == size and [number_of(frame) for frame in clip.at([0.0, 0.3])] == [0, 2]


@pytest.mark.parametrize("name", ["sound.mp4", "sound.webm", "sound.mkv"])
def test_sound_alone_is_no_film(tmp_path, write_film, name):
    film = write_film(tmp_path / name, frames=0, sound="libopus" if "webm" in name else "aac")
    with pytest.raises(Absent, match="no moving pictures in the file, only audio"):
        read(film)
    assert not holds(film)


def test_the_cover_of_an_album_is_no_film(tmp_path):
    from PIL import Image

    cover = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(cover, "JPEG")
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=16000)
        sound.layout = "mono"
        picture = file.add_stream("mjpeg", rate=1)
        picture.width = picture.height = 16
        picture.pix_fmt = "yuvj420p"
        picture.disposition = 0x400
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        file.mux(sound.encode(frame))
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        file.mux(packet)
        file.mux(sound.encode())
    with pytest.raises(Absent):
        read(path)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_film_that_is_cut_off(films, tmp_path, name, share):
    """A reason, or fewer frames where the format does not say how many there should be; never a crash."""
    content = films[name].read_bytes()
    path = tmp_path / f"cut-{name}"
    path.write_bytes(content[: int(len(content) * share)])
    try:
        clip = read(path)
    except BadValue as error:
        assert path.name in str(error)
    else:
        assert name.endswith((".ts", ".avi")) or clip.seconds > 4.4
        assert any(frame is not None for frame in clip.at([0.0, clip.seconds / 2]))


def test_a_film_cut_off_says_how_much_is_there(tmp_path, write_film):
    content = write_film(tmp_path / "a.mkv", frames=50, rate=10, levels=level_of).read_bytes()
    (tmp_path / "b.mkv").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadValue, match=r"cut off: \d\.\d\d of 5\.\d\d s could be read"):
        read(tmp_path / "b.mkv")


@pytest.mark.parametrize("name", KINDS)
def test_bytes_changed_in_the_middle(films, tmp_path, name):
    """Frames that cannot be decoded are missing; the others are there."""
    content = bytearray(films[name].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    path = tmp_path / f"hurt-{name}"
    path.write_bytes(bytes(content))
    try:
        clip = read(path)
    except BadValue as error:
        assert path.name in str(error)
        return
    frames = list(clip.at([k / 10 for k in range(int(clip.seconds * 10))]))
    assert number_of(frames[0]) == 0 and len(frames) > 20


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 10**6), many=st.integers(1, 60))
def test_random_damage_never_crashes(films, name, seed, many):
    draw = np.random.default_rng(seed)
    content = np.frombuffer(films[name].read_bytes(), np.uint8).copy()
    content[draw.integers(0, len(content), many)] = draw.integers(0, 256, many, dtype=np.uint8)
    try:
        clip = read(content.tobytes())
        list(clip.at([0.0, clip.seconds / 3, clip.seconds / 2]))
        assert clip.seconds <= probe.MAX_SECONDS
    except BadValue:
        pass


def test_no_frames_at_all(tmp_path, write_film):
    """A track of pictures that holds none."""
    path = tmp_path / "none.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        file.start_encoding()
    with pytest.raises(BadValue):
        read(path)


def test_a_giant_size_is_refused_from_the_header(tmp_path, write_film):
    """A header that claims 60,000 by 60,000 pixels costs nothing."""
    path = write_film(tmp_path / "g.mkv", frames=3, codec="ffv1", size=(300, 200))
    content = bytearray(path.read_bytes())
    for tag, value in ((b"\xb0\x82", 300), (b"\xba\x81", 200)):
        place = content.index(tag + value.to_bytes(2 if tag[1] == 0x82 else 1, "big"))
        content[place + 2 : place + 2 + (tag[1] & 7)] = b"\xff" * (tag[1] & 7)
    path.write_bytes(bytes(content))
    with pytest.raises(BadValue) as caught:
        monkey = pytest.MonkeyPatch()
        monkey.setattr(probe, "MAX_PIXELS", 1_000_000)
        try:
            read(path)
        finally:
            monkey.undo()
    assert "too large: 65535 x 255" in str(caught.value)


def test_a_film_that_is_too_long(films, monkeypatch):
    monkeypatch.setattr(probe, "MAX_SECONDS", 3)
    with pytest.raises(BadValue, match="5 s long; 3 s are allowed"):
        read(films["vp8.webm"])
    assert read(Span(films["vp8.webm"], 1.0, 3.5)).seconds == 2.5
    monkeypatch.setattr(probe, "MAX_FRAMES", 20)
    with pytest.raises(BadValue, match="more than 20 frames"):
        read(films["vp8.webm"])


def test_pictures_that_begin_after_the_sound(tmp_path):
    """Second 0 is the earlier track's, so spans cut both at the same time; before the pictures begin, frames are missing."""
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"
        tone = av.AudioFrame.from_ndarray(np.arange(24000, dtype=np.int16)[None], format="s16", layout="mono")
        tone.sample_rate, tone.pts = 8000, 0
        file.mux(sound.encode(tone))
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level_of(number), np.uint8), format="rgb24")
            frame.pts = number + 10
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    frames = list(read(Span(path, 0.5, 2.0)).at([0.0, 0.4, 0.5, 1.4]))
    assert frames[:2] == [None, None] and [number_of(frame) for frame in frames[2:]] == [0, 9]
    assert read(path).start == pytest.approx(1.0) and number_of(next(read(path).at([0.0]))) == 0


def test_a_quick_look_tells_what_a_file_holds(films, tmp_path):
    assert all(map(holds, films.values())) and MODALITY.holds(films["vp8.webm"].read_bytes())
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    assert not holds(tmp_path / "x.mp4") and not holds(tmp_path / "none.mp4") and not holds(b"")
