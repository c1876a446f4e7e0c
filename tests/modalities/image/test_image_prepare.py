"""How pictures become squares of numbers, and that it is the same after saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.base.errors import InputError
from triptych.modalities.image import MODALITY
from triptych.modalities.image.prepare import FIT_AT_MOST, ImagePreparation, border_colour, squared
from triptych.modalities.image.settings import Prepare


def noise(width: int, height: int, seed: int = 0, channels: int = 3) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(levels if channels == 3 else levels[:, :, 0])


def tensor(preparation: ImagePreparation, image: Image.Image) -> torch.Tensor:
    return preparation.collate(preparation.prepare([image])).tensors["pixels"][0]


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (32, 32), (1, 1), (1, 500), (500, 1), (8, 9)])
def test_any_shape_becomes_the_square(shape: tuple[int, int], channels: int, fit: str) -> None:
    preparation = ImagePreparation(Prepare(size=32, channels=channels, fit=fit, normalize="none"))
    for source in (noise(*shape), noise(*shape, channels=1)):
        pixels = tensor(preparation, source)
        assert pixels.shape == (channels, 32, 32) and pixels.dtype == torch.float32 and pixels.is_contiguous()
        assert pixels.min() >= 0 and pixels.max() <= 1
        assert torch.equal(pixels, tensor(preparation, source)), "the same picture, the same numbers"


def test_a_square_of_the_right_size_passes_unchanged() -> None:
    preparation = ImagePreparation(Prepare(size=32, normalize="none"))
    expected = torch.from_numpy(np.asarray(noise(32, 32)).transpose(2, 0, 1).copy()).float() / 255
    torch.testing.assert_close(tensor(preparation, noise(32, 32)), expected)


def test_pad_keeps_all_of_the_picture_on_the_colour_of_its_border() -> None:
    image = Image.new("RGB", (40, 20), (250, 240, 230))
    image.paste((0, 0, 0), (10, 5, 30, 15))
    square = squared(image, 20, "pad")
    assert square.getpixel((0, 0)) == square.getpixel((19, 19)) == (250, 240, 230) == border_colour(image)
    inner = np.asarray(square)[5:15]
    assert np.array_equal(inner, np.asarray(image.resize((20, 10), Image.Resampling.BICUBIC)))


def test_stretch_and_crop() -> None:
    image = noise(40, 20)
    assert np.array_equal(np.asarray(squared(image, 20, "crop")), np.asarray(image)[:, 10:30])
    assert np.array_equal(np.asarray(squared(image, 16, "stretch")), np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC)))


def test_reducing_is_antialiased() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (256, 128)))
    reduced = np.asarray(squared(stripes, 16, "pad")).astype(int)
    assert np.abs(reduced - 127).max() <= 3


def test_data_normalization_gives_mean_zero_and_deviation_one() -> None:
    preparation = ImagePreparation(Prepare(size=16))
    pictures = [Image.fromarray((np.asarray(noise(16, 16, seed)) * [0.2, 0.5, 1.0] + [40, 20, 0]).astype(np.uint8)) for seed in range(20)]
    preparation.fit(iter(pictures))
    all_pixels = preparation.collate(preparation.prepare(pictures)).tensors["pixels"]
    torch.testing.assert_close(all_pixels.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(all_pixels.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_half_and_none_need_no_fitting() -> None:
    image = noise(16, 16)
    plain = tensor(ImagePreparation(Prepare(size=16, normalize="none")), image)
    torch.testing.assert_close(tensor(ImagePreparation(Prepare(size=16, normalize="half")), image), plain * 2 - 1)
    preparation = ImagePreparation(Prepare(size=16, normalize="none"))
    preparation.fit([image])
    assert torch.equal(tensor(preparation, image), plain)


def test_pictures_of_one_colour_do_not_divide_by_zero() -> None:
    preparation = ImagePreparation(Prepare(size=16))
    preparation.fit([Image.new("L", (16, 16), 0)])
    assert torch.isfinite(tensor(preparation, noise(16, 16))).all()


def test_fitting_looks_at_a_limited_number_of_pictures() -> None:
    looked = 0

    def endless():
        nonlocal looked
        while True:
            looked += 1
            yield Image.new("L", (8, 8), looked % 256)

    ImagePreparation(Prepare(size=8)).fit(endless())
    assert looked == FIT_AT_MOST


def test_fitting_on_nothing_and_preparing_unfitted_are_told() -> None:
    with pytest.raises(InputError, match="no training picture"):
        ImagePreparation(Prepare()).fit([])
    with pytest.raises(InputError, match="not been fitted"):
        ImagePreparation(Prepare()).prepare([noise(8, 8)])


def test_saved_and_loaded_it_gives_the_same(tmp_path: Path) -> None:
    first, second = ImagePreparation(Prepare(size=24)), ImagePreparation(Prepare(size=24))
    first.fit([noise(30, 20, seed) for seed in range(3)])
    first.save(tmp_path / "image")
    second.load(tmp_path / "image")
    assert torch.equal(tensor(first, noise(50, 60)), tensor(second, noise(50, 60)))
    assert first.facts() == second.facts() == {"channels": 3, "size": 24}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"mean": [0]}', '{"mean": [0,0,0], "std": [1,0,1]}', '{"mean": [0], "std": [1]}', '{"mean": 3, "std": "x"}']
)
def test_a_damaged_folder_is_told(content: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        ImagePreparation(Prepare()).load(tmp_path)
    (tmp_path / "prepare.json").write_text(content)
    with pytest.raises(InputError, match="damaged"):
        ImagePreparation(Prepare()).load(tmp_path)


def test_collate_stacks() -> None:
    preparation = ImagePreparation(Prepare(size=16, normalize="half"))
    packed = preparation.collate(preparation.prepare([noise(16, 16), noise(40, 9)]))
    assert packed.tensors["pixels"].shape == (2, 3, 16, 16) and packed.mask_PT is None


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ([noise(8, 8, channels=1)], {"size": 16, "channels": 1}),
        ([noise(28, 28, channels=1)] * 3, {"size": 32, "channels": 1}),
        ([noise(28, 28, channels=1).convert("RGB")], {"size": 32, "channels": 1}),
        ([noise(300, 100), noise(40, 90, channels=1), noise(100, 101)], {"size": 96, "channels": 3}),
        ([noise(640, 480)], {"size": 128, "channels": 3}),
        ([noise(70, 60)], {"size": 64, "channels": 3}),
    ],
)
def test_suggestions(pictures: list[Image.Image], expected: dict[str, int]) -> None:
    assert MODALITY.suggest(pictures) == {"prepare": expected}
    assert MODALITY.Input.model_validate({"modality": "image", **MODALITY.suggest(pictures)})
    assert MODALITY.suggest([]) == {}
