"""Variants of films: every frame in the same way."""

from __future__ import annotations

import numpy as np
import pytest

from triptych.modalities.video.augment import augmenter
from triptych.modalities.video.read import read
from triptych.modalities.video.settings import Input


def film(frames: int = 4, height: int = 12, width: int = 20):
    return read((np.random.default_rng(0).integers(0, 256, (frames, height, width, 3)).astype(np.uint8), 4))


def varied(clip, *steps, seed: int = 0):
    words = [{name: {"chance": 1, **strength}} for name, strength in steps]
    return augmenter(Input(augment=words)).values([clip], [np.random.default_rng(seed)])[0]


def frames(clip) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in clip.at([0, 0.25, 0.5, 0.75])])


def test_flipped_twice_is_the_film_itself():
    clip = film()
    assert np.array_equal(frames(varied(clip, ("flip", {}))), frames(clip)[:, :, ::-1])
    assert np.array_equal(frames(varied(clip, ("flip", {}), ("flip", {}))), frames(clip))


@pytest.mark.parametrize("area", [0.25, 0.8])
def test_a_crop_is_the_same_part_of_every_frame(area):
    clip = film(height=40, width=60)
    made = varied(clip, ("crop", {"area": area}), ("flip", {}))
    cut = frames(made)
    assert (made.height, made.width) == cut.shape[1:3]
    assert made.height * made.width / 2400 == pytest.approx(area, rel=0.08)
    assert made.seconds == clip.seconds and made.count == clip.count
    whole = frames(clip)
    at = [
        (y, x)
        for y in range(41 - made.height)
        for x in range(61 - made.width)
        if np.array_equal(whole[:, y : y + made.height, x : x + made.width][:, :, ::-1], cut)
    ]
    assert len(at) == 1


def test_colours_are_those_of_one_factor():
    grey = read((np.full((3, 8, 8, 3), 100, np.uint8), 4))
    made = frames(varied(grey, ("colour", {"brightness": 0.5, "contrast": 0, "saturation": 0}), seed=1))
    assert len(np.unique(made)) == 1 and made[0, 0, 0, 0] != 100
