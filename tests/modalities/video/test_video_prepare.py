"""From films to frames at a rate, and encoders over them: which frames, missing ones, equality of what should be equal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.cells import Span
from triptych.modalities.video import MODALITY
from triptych.modalities.video import settings as say
from triptych.modalities.video.encode import ENCODERS
from triptych.modalities.video.prepare import Frames, moments, suggest
from triptych.modalities.video.read import read


def words(**said) -> say.Prepare:
    return parse(say.Prepare, {"normalize": "none", "size": 8, "channels": 1, **said}, "here")


@given(st.floats(0.01, 5000), st.floats(0.1, 100), st.integers(1, 64))
def test_the_moments_that_are_looked_at(seconds, rate, frames):
    times = moments(seconds, words(rate=rate, frames=frames))
    assert 1 <= len(times) <= frames and times == sorted(times) and times[0] >= 0 and times[-1] < seconds + 2e-3
    wanted = math.ceil(seconds * rate - 1e-3)
    if 1 <= wanted <= frames:
        assert times == [k / rate for k in range(wanted)]
    else:
        assert np.allclose(np.diff(times), seconds / frames) or len(times) == 1


@pytest.fixture(scope="module")
def film(tmp_path_factory, write_film):
    """Forty frames at ten a second; frame k has brightness 16 + 4 k."""
    return write_film(tmp_path_factory.mktemp("p") / "f.mp4", frames=40, rate=10, size=(32, 32), levels=lambda k: 16 + 4 * k)


def shown(item) -> list[int]:
    return [round((float(level) * 255 - 16) / 4) for level in item["pixels"].mean((1, 2, 3))]


@pytest.mark.parametrize(
    ("source", "rate", "most", "numbers"),
    [
        ((), 2, 64, [0, 5, 10, 15, 20, 25, 30, 35]),
        ((), 2, 4, [5, 15, 25, 35]),
        ((1.2, 2.0), 5, 64, [12, 14, 16, 18]),
        ((1.25, 1.3), 50, 64, [12, 12, 12]),
        ((0.0, 0.4), 20, 64, [0, 0, 1, 1, 2, 2, 3, 3]),
    ],
)
def test_frames_at_a_rate_are_those_of_their_time(film, source, rate, most, numbers):
    clip = read(Span(film, *source) if source else film)
    item = Frames(words(rate=rate, frames=most)).prepare([clip])[0]
    assert shown(item) == numbers and item["real"].all() and item["pixels"].shape == (len(numbers), 1, 8, 8)


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
def test_a_frame_becomes_square_like_a_picture(fit):
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, 8:24] = 200
    item = Frames(words(fit=fit)).prepare([read((picture[None], 1.0))])[0]
    square = item["pixels"][0, 0]
    if fit == "pad":
        assert square[0].max() < 0.1 and square[-1].max() < 0.1 and square[4, 4] > 0.7
    elif fit == "crop":
        assert square.min() > 0.7
    else:
        wanted = np.asarray(Image.fromarray(picture).convert("L").resize((8, 8), Image.Resampling.BICUBIC)) / 255
        assert np.abs(square.numpy() - wanted).max() < 1e-6


def test_the_mean_is_of_real_frames_only(film, tmp_path):
    whole, late = read(film), read(Span(film, 2.0, 4.0))
    preparation = Frames(words(normalize="data", rate=10))
    preparation.fit([whole, late])
    items = preparation.prepare([whole, late])
    pixels = torch.cat([item["pixels"] for item in items])
    assert float(pixels.mean()) == pytest.approx(0, abs=1e-3) and float(pixels.std()) == pytest.approx(1, abs=0.02)
    with pytest.raises(InputError, match="no training film"):
        Frames(words(normalize="data")).fit([])
    with pytest.raises(InputError, match="has not been fitted"):
        Frames(words(normalize="data")).prepare([whole])


class Holed:
    """A film of whose frames some cannot be decoded."""

    def __init__(self, clip, holes):
        self.clip, self.holes, self.seconds = clip, holes, clip.seconds

    def at(self, times):
        yield from (None if number in self.holes else frame for number, frame in enumerate(self.clip.at(times)))


def test_missing_frames_are_masked(film):
    preparation = Frames(words(rate=2, frames=8))
    whole, holed, none = preparation.prepare([read(film), Holed(read(film), {0, 3}), Holed(read(film), set(range(8)))])
    assert holed["real"].tolist() == [False, True, True, False, True, True, True, True] and not none["real"].any()
    assert torch.equal(holed["pixels"][1:3], whole["pixels"][1:3]) and holed["pixels"][[0, 3]].abs().max() == 0
    packed = preparation.collate([whole, holed, none])
    for kind, make in ENCODERS.items():
        encoder = make(parse(make.Settings, {"kind": kind, "widths": [4], "width": 8}, "here"), **preparation.facts()).eval()
        encoded = encoder(packed)
        assert encoded.mask_BT.tolist() == packed.mask_PT.tolist() and encoded.tokens_BTD[~encoded.mask_BT].abs().max() == 0
        assert encoded.pooled_BD.isfinite().all() and encoded.pooled_BD[2].abs().max() == 0
        changed = packed.tensors["pixels"].clone()
        changed[1, [0, 3]] = 100.0  # what stands in the place of a missing frame
        again = encoder(type(packed)({"pixels": changed}, packed.mask_PT))
        assert torch.allclose(again.pooled_BD, encoded.pooled_BD) and not torch.allclose(encoded.pooled_BD[0], encoded.pooled_BD[1])


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_the_order_of_frames_matters(film, kind):
    """A bag of frames would not tell a film from its mirror in time."""
    make = ENCODERS[kind]
    torch.manual_seed(0)
    encoder = make(parse(make.Settings, {"kind": kind, "widths": [4], "width": 8}, "here"), channels=1, size=8).eval()
    pixels = torch.rand(1, 6, 1, 8, 8)
    packed = type(Frames(words()).collate(Frames(words()).prepare([read(film)])))
    ahead, back = (encoder(packed({"pixels": p}, None)).pooled_BD for p in (pixels, pixels.flip(1)))
    assert not torch.allclose(ahead, back, atol=1e-3)


def test_wrong_words_are_answered():
    for said, says in (
        ({"encoder": {"kind": "transformer", "width": 10, "heads": 4}}, "divisible by `heads`"),
        ({"encoder": {"kind": "gru", "width": 9}}, "odd"),
        ({"prepare": {"size": 8}, "encoder": {"kind": "gru", "widths": [4, 4, 4, 4]}}, "halved 3 times"),
        ({"prepare": {"rate": 0}}, "greater than 0"),
        ({"encoder": "cnn"}, "transformer"),
    ):
        with pytest.raises(InputError, match=says):
            parse(say.Input, said, "here")


def test_suggestions(film):
    told = suggest([read(film)] * 3)["prepare"]
    assert told == {"rate": 4.0, "size": 32, "channels": 1}
    coloured = np.random.default_rng(0).integers(0, 255, (20, 90, 120, 3)).astype(np.uint8)
    assert suggest([read((coloured, 2.0))])["prepare"] == {"rate": 1.0, "size": 64, "channels": 3}
    assert suggest([]) == {} and MODALITY.suggest([]) == {}
