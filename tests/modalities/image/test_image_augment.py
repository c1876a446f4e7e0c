"""Variants of pictures: each step does what its word says, to any picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.modalities.image.augment import augmenter
from triptych.modalities.image.settings import Input


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def noisy(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(rng(seed).integers(0, 256, shape).astype(np.uint8))


def varied(image: Image.Image, step: str, seed: int = 0, **words) -> Image.Image:
    return augmenter(Input(augment=[{step: {"chance": 1, **words}}])).values([image], [rng(seed)])[0]


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flipped_twice_is_the_picture_itself(direction):
    image = noisy(7, 5)
    once = varied(image, "flip", direction=direction)
    axis = 1 if direction == "horizontal" else 0
    assert np.array_equal(levels(once), np.flip(levels(image), axis))
    assert np.array_equal(levels(varied(once, "flip", direction=direction)), levels(image))


@pytest.mark.parametrize("area", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [(200, 200), (400, 100)])
def test_a_crop_keeps_the_share_of_the_area_and_is_a_part(area, size):
    across, down = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    image = Image.fromarray(np.stack([across % 256, across // 256, down % 256], 2).astype(np.uint8))
    for seed in range(5):
        made = levels(varied(image, "crop", seed, area=area))
        assert made.shape[0] * made.shape[1] / (size[0] * size[1]) == pytest.approx(area, rel=0.03)
        left, upper = int(made[0, 0, 0] + 256 * made[0, 0, 1]), int(made[0, 0, 2])
        assert np.array_equal(made, levels(image)[upper : upper + made.shape[0], left : left + made.shape[1]])


def test_crops_have_many_places_and_shapes():
    sizes = {varied(noisy(100, 100), "crop", seed).size for seed in range(20)}
    assert len(sizes) > 10 and any(width > height for width, height in sizes) and any(width < height for width, height in sizes)


def test_colours_change_as_far_as_they_may_and_the_size_does_not():
    image = Image.new("RGB", (30, 20), (100, 120, 140))
    means = []
    for seed in range(60):
        made = varied(image, "colour", seed, brightness=0.3, contrast=0, saturation=0)
        assert made.size == image.size and made.mode == "RGB"
        means.append(levels(made).mean() / 120)
    assert 0.69 < min(means) < 0.8 and 1.2 < max(means) < 1.31
    grey = varied(image, "colour", saturation=1, brightness=0, contrast=0, seed=3)
    assert levels(grey).mean() == pytest.approx(120, abs=5)


def test_a_turn_of_a_quarter_is_one():
    image = noisy(9, 9)
    assert np.array_equal(levels(varied(image, "rotate", degrees=90)), np.rot90(levels(image)))


@pytest.mark.parametrize("area", [0.05, 0.5])
def test_what_is_erased_has_the_share_and_one_colour(area):
    image = noisy(100, 80)
    made = levels(varied(image, "erase", area=area))
    changed = (made != levels(image)).any(2)
    assert changed.mean() == pytest.approx(area, rel=0.1)
    assert len(np.unique(made[changed], axis=0)) == 1


ALL = [{name: {"chance": 0.8}} for name in ("flip", "crop", "colour", "rotate", "erase")]


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["L", "RGB"]), st.integers(0, 10**6))
def test_any_picture_stays_a_picture_and_a_seed_decides(width, height, mode, seed):
    image = noisy(width, height, mode, seed)
    before = levels(image)
    made, again = (augmenter(Input(augment=ALL)).values([image], [rng(seed)])[0] for _ in range(2))
    assert made.mode == mode and 1 <= made.width <= width and 1 <= made.height <= height
    assert np.array_equal(levels(made), levels(again))
    assert np.array_equal(levels(image), before)  # the one that was given is as it was


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("flipp", "flip"),
        ({"crop": {"area": [0.5, 1.5]}}, "no share"),
        ({"crop": {"shape": 0}}, "above 0"),
        ({"rotate": {"degrees": 999}}, "360"),
    ],
)
def test_a_wrong_word_is_answered(words, says):
    with pytest.raises(InputError) as caught:
        parse(Input, {"augment": [words]}, "recipe.yaml")
    assert says in str(caught.value)
