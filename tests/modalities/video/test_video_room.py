"""What the room says of a film: the doctor's look, the sheet of frames, the sample, and what importing it costs."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from triptych.base.settings import parse
from triptych.contract.examined import SKETCH
from triptych.contract.modality import ToyRow
from triptych.data.near import correlation
from triptych.modalities.video import MODALITY
from triptych.modalities.video import settings as say
from triptych.modalities.video.read import read

PREPARE = parse(say.Prepare, {}, "here")


def moving(seed: int, count: int = 24, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A bright patch that wanders over a picture of its own."""
    draw = np.random.default_rng(seed)
    ground = np.kron(draw.integers(0, 160, (6, 8, 3)), np.ones((size[0] // 6, size[1] // 8, 1))).astype(np.uint8)
    frames = np.repeat(ground[None], count, 0)
    x, y, dx, dy = draw.integers(0, 20), draw.integers(0, 20), draw.uniform(0.3, 1), draw.uniform(0.3, 1)
    for number in range(count):
        top, left = int(y + dy * number), int(x + dx * number)
        frames[number, top : top + 10, left : left + 14] = 250
    return frames


def faults(source, prepare=PREPARE) -> set[str]:
    return {fault.code for fault in MODALITY.examine(read(source), prepare).faults}


def test_what_is_wrong_with_a_film():
    black, still = np.zeros((8, 32, 32, 3), np.uint8), np.repeat(moving(0)[:1], 8, 0)
    assert faults((moving(1), 8.0)) == set()
    assert faults((black, 8.0)) == {"constant"} and faults((black + 200, 8.0)) == {"constant"}
    assert faults((still, 8.0)) == {"still"}
    assert faults((still[:1], 8.0)) == set()  # one frame cannot move
    assert faults((moving(1)[:, :12, :16], 8.0)) >= {"tiny"}
    assert faults((moving(1), 1.0)) == {"rate", "thinned"} and faults((moving(1), 1.5)) == {"rate", "thinned"} - {"thinned"} | {"thinned"}


def test_frames_that_cannot_be_decoded_are_a_finding(tmp_path, write_film):
    """The film is damaged in its third quarter: it is read, its other frames are used, and the doctor says so."""
    path = write_film(tmp_path / "a.mp4", frames=64, codec="libx264", gop=4, size=(64, 48), levels=lambda k: moving(2, 64)[k])
    content = bytearray(path.read_bytes())
    data = content.index(b"mdat")
    place = data + int(0.6 * (len(content) - data))
    content[place : place + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(bytes(content))
    clip = read(path)
    item = MODALITY.preparation(parse(say.Input, {"prepare": {"normalize": "none", "rate": 8, "frames": 64}}, "here")).prepare([clip])[0]
    assert 0.3 < float(item["real"].float().mean()) < 1 and item["real"][0]
    assert "damaged" in faults(path)
    assert "missing" in MODALITY.show(clip)


def test_a_copy_has_the_same_sketch_and_another_film_has_not(tmp_path, write_film):
    def sketch(source) -> np.ndarray:
        seen = MODALITY.examine(read(source), PREPARE)
        assert len(seen.sketch) == SKETCH
        return np.frombuffer(seen.sketch, np.uint8)[None]

    films = [moving(seed) for seed in range(6)]
    for number, film in enumerate(films):
        first = write_film(tmp_path / f"{number}.mp4", frames=24, size=(64, 48), levels=lambda k, film=film: film[k])
        larger = [np.asarray(Image.fromarray(frame).resize((160, 120))) for frame in film]
        second = write_film(tmp_path / f"{number}.webm", frames=24, size=(160, 120), levels=lambda k, larger=larger: larger[k])
        assert correlation(sketch(first), sketch(second))[0] > MODALITY.alike
        assert correlation(sketch(first), sketch((films[number - 1], 8.0)))[0] < 0.9
    assert MODALITY.examine(read(tmp_path / "0.mp4"), PREPARE).content == MODALITY.examine(read(str(tmp_path / "0.mp4")), PREPARE).content
    assert MODALITY.examine(read(tmp_path / "0.mp4"), PREPARE).content != MODALITY.examine(read(tmp_path / "1.mp4"), PREPARE).content


def sheet(fragment: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", fragment)[1])))


@pytest.mark.parametrize(("count", "size"), [(1, (48, 64)), (5, (48, 64)), (200, (24, 400)), (30, (480, 640)), (8, (6, 8))])
def test_a_film_is_shown_as_a_sheet_of_frames(count, size):
    frames = np.random.default_rng(0).integers(0, 255, (count, *size, 3)).astype(np.uint8)
    fragment = MODALITY.show(read((frames, 10.0)))
    assert f"film of {count / 10:.2f} s, {size[1]} x {size[0]} pixels, 10 frames a second" in fragment
    assert len(fragment) < 120_000 and 'class="value video"' in fragment and "alt=" in fragment
    assert max(sheet(fragment).size) <= 4 * 130


def test_names_are_escaped_and_folders_are_not_told(tmp_path, write_film):
    path = write_film(tmp_path / "private" / "<b>x.mp4", frames=3)
    fragment = MODALITY.show(read(path))
    assert "<b>" not in fragment and "&lt;b&gt;x.mp4" in fragment and "private" not in fragment


def test_what_the_network_sees_is_the_prepared_frames():
    preparation = MODALITY.preparation(parse(say.Input, {"prepare": {"normalize": "half", "size": 16, "rate": 8}}, "here"))
    item = preparation.prepare([read((moving(3), 8.0))])[0]
    item["real"][2] = False
    fragment = MODALITY.seen(item, preparation)
    assert "16 frames x 3 x 16 x 16 numbers" in fragment and "1 missing" in fragment
    picture = np.asarray(sheet(fragment).convert("RGB"), int)
    assert np.abs(picture[10:50, 2 * 66 + 10 : 2 * 66 + 50] - (190, 60, 60)).max() < 12
    wanted = (item["pixels"][0] * 0.5 + 0.5).mul(255).permute(1, 2, 0).numpy().repeat(4, 0).repeat(4, 1)
    assert np.abs(picture[:64, :64] - wanted).mean() < 6


def test_the_sample_shows_each_digit_through_a_slit():
    rows = [ToyRow(word, side) for side in ("train", "test") for word in ("zero", "seven")]
    cells = MODALITY.toy("digits", rows, 0)
    assert {cell.suffix for cell in cells} == {".mp4"} and len({cell.group for cell in cells}) == 4
    clip = read(cells[0].content)
    assert (clip.count, clip.width, clip.height, clip.seconds) == (8, 32, 32, 1.0)
    frames = [np.asarray(frame.convert("L"), float) for frame in clip.at([k / 8 for k in range(8)])]
    lit = [(frame > 60).any(0).nonzero()[0] for frame in frames]
    assert all(len(columns) == 0 or columns.max() - columns.min() < 16 for columns in lit)
    whole = np.max(frames, axis=0)
    assert (whole > 60).any(0).sum() > 16


def test_importing_the_room_imports_nothing_heavy():
    heavy = ("torch", "numpy", "PIL", "av")
    code = f"import sys, triptych.modalities.video as v; v.MODALITY.Input(); print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip() == "[]"
