"""The room as a whole: what it shows, what it says as a toy, and what importing it costs."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.modality import ToyRow
from triptych.modalities.audio import MODALITY, speech, toy
from triptych.modalities.audio.read import Recording


def recording(seconds: float, rate: int, name: str = "") -> Recording:
    t = np.arange(max(1, round(seconds * rate))) / rate
    return Recording((0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), rate, name)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def payload(fragment: str, kind: str) -> bytes:
    found = re.search(rf"data:{kind};base64,([^\"]+)", fragment)
    assert found, f"no {kind}"
    return base64.b64decode(found[1])


@pytest.mark.parametrize(("seconds", "rate"), [(1e-9, 192_000), (0.5, 22_050), (1.0, 16_000), (3, 8_000), (75, 44_100)])
def test_a_recording_is_shown(seconds: float, rate: int) -> None:
    fragment = MODALITY.show(recording(seconds, rate))
    assert len(fragment) < 110_000
    tags = dict(Tags(fragment).found)
    assert tags["figure"]["class"] == "value audio"
    assert tags["audio"]["aria-label"]
    assert tags["img"]["alt"]
    sound, played = soundfile.read(io.BytesIO(payload(fragment, r"audio/\w+")))
    assert played <= 16_000
    assert len(sound) / played == pytest.approx(min(seconds, 10), abs=0.2)
    picture = Image.open(io.BytesIO(payload(fragment, "image/png")))
    assert picture.width <= 400
    assert ("first 10 s" in fragment) == (seconds > 10)


def test_a_short_one_is_wav_and_names_are_escaped() -> None:
    fragment = MODALITY.show(recording(0.5, 16_000, name='/private/folder/<script>"x".wav'))
    assert payload(fragment, "audio/wav")[:4] == b"RIFF"
    assert "<script>" not in fragment
    assert "private" not in fragment
    assert "&lt;script&gt;" in fragment


@pytest.mark.parametrize("kind", ["log_mel", "mfcc"])
@pytest.mark.parametrize("seconds", [1e-9, 0.5, 9.0])
def test_what_the_network_sees(kind: str, seconds: float) -> None:
    preparation = MODALITY.preparation(parse(MODALITY.Input, {"prepare": {"features": kind, "normalize": "none"}}, "r"))
    item = preparation.prepare([recording(seconds, 16_000)])[0]
    fragment = MODALITY.seen(item, preparation)
    assert len(fragment) < 50_000
    frames, size = item["features"].shape
    assert f"{frames} frames x {size} features" in fragment
    assert f"{item['features'].min():.2f} to {item['features'].max():.2f}" in fragment
    assert dict(Tags(fragment).found)["figure"]["class"] == "seen audio"
    assert Image.open(io.BytesIO(payload(fragment, "image/png"))).height == size


ROWS = [ToyRow(toy.DIGITS[n % 10], ("train", "validation", "test")[n % 3]) for n in range(90)]  # type: ignore[arg-type]


def test_spoken_digits() -> None:
    cells = MODALITY.toy("digits", ROWS, 0)
    groups: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for cell, row in zip(cells, ROWS, strict=True):
        groups[row.split].add(cell.group)
    assert not (groups["train"] & groups["test"] or groups["train"] & groups["validation"] or groups["validation"] & groups["test"])
    assert len(groups["train"]) > 10
    for cell in cells:
        read = MODALITY.read(cell.content)
        assert (cell.suffix, read.rate) == (".wav", 22_050)
        assert 0.2 < read.seconds < 1.5
        assert np.abs(read.samples_N).max() > 0.1
    assert MODALITY.toy("digits", ROWS, 0) == cells
    assert MODALITY.toy("digits", ROWS[:5], 0) == cells[:5]
    assert MODALITY.toy("digits", ROWS, 1) != cells


def test_no_voice_is_on_two_sides() -> None:
    named = [name for voices in toy.VOICES.values() for name in voices]
    assert len(named) == len(set(named)) >= 40


def test_every_voice_and_accent_speaks() -> None:
    for name in (name for voices in toy.VOICES.values() for name in voices):
        assert len(speech.speak("seven", f"en-us+{name}")) > 10_000
    for accent in toy.ACCENTS:
        assert len(speech.speak("seven", f"{accent}+f3")) > 10_000


def test_the_same_words_give_the_same_bytes_in_any_process() -> None:
    code = (
        "import sys;from triptych.modalities.audio.speech import speak;"
        "speak('other words first');sys.stdout.buffer.write(speak('six', 'en-us+f2', 150, 60))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert elsewhere == speech.speak("six", "en-us+f2", 150, 60)
    assert elsewhere != speech.speak("six", "en-us+f2", 200, 60) != speech.speak("six", "en-us+f2", 200, 30)


def test_a_long_path_to_the_voices_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = speech.speak("one")
    monkeypatch.setattr(speech, "LONGEST_PATH", 3)
    assert speech.speak("one") == wanted


def test_unknown_samples_words_and_voices_are_said() -> None:
    for call, says in (
        (lambda: MODALITY.toy("digit", ROWS, 0), "did you mean 'digits'"),
        (lambda: MODALITY.toy("digits", [ToyRow("ten", "train")], 0), "unknown concept 'ten'"),
        (lambda: speech.speak("one", "en-us+nobody"), "no voice variant 'nobody'"),
        (lambda: speech.speak("one", "en-us+../../../x"), "no voice variant"),
        (lambda: speech.speak("one", "xx+f1"), "no voice 'xx"),
        (lambda: speech.speak(" "), "cannot be spoken"),
        (lambda: speech.speak("one", speed=9000), "out of range"),
    ):
        with pytest.raises(InputError, match=says):
            call()


def test_importing_the_room_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "PIL", "soundfile", "av", "soxr")
    code = f"import sys, triptych.modalities.audio as a; a.MODALITY.Input(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip() == "[]"


def test_suffixes_are_lower_case() -> None:
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in MODALITY.suffixes)
