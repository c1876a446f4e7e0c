"""Fragments of HTML: self-contained, escaped, small, and showing the right numbers."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.modalities.image import MODALITY
from triptych.modalities.image.prepare import ImagePreparation
from triptych.modalities.image.settings import Prepare


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


class Checker(HTMLParser):
    """Every opened element is closed, and nothing points outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("img", "image"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> list[tuple[str, dict]]:
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    for _, attributes in checker.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "<script" not in html and "http" not in html
    return checker.found


def pictures(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^\"]+)", html)]


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (300, 200), (3000, 10), (2, 700), (159, 161)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_thumbnail(size: tuple[int, int], mode: str) -> None:
    html = MODALITY.show(noise(*size).convert(mode))
    (image,) = [attributes for tag, attributes in checked(html) if tag == "img"]
    assert html.startswith('<figure class="value image"') and len(html) < 30_000
    assert f"{size[0]} x {size[1]} pixels" in image["alt"] and ("grey" if mode == "L" else "colour") in image["alt"]
    assert 'figcaption aria-hidden="true"' in html, "the same words twice would be read twice"
    assert max(int(image["width"]), int(image["height"])) <= 160
    assert max(pictures(html)[0].size) <= 160
    assert ("pixelated" in html) == (max(size) <= 64)


def test_a_tiny_picture_is_kept_exactly() -> None:
    tiny = noise(8, 8)
    assert np.array_equal(np.asarray(pictures(MODALITY.show(tiny))[0]), np.asarray(tiny))


@pytest.mark.parametrize("size", [8, 28, 32, 33, 64, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_network_sees(size: int, channels: int) -> None:
    preparation = ImagePreparation(Prepare(size=size, channels=channels))
    preparation.fit([noise(size, size)])
    (item,) = preparation.prepare([noise(size, size)])
    html = MODALITY.seen(item, preparation)
    found = checked(html)
    assert html.startswith('<figure class="seen image"') and len(html) < 60_000
    assert f"{channels} x {size} x {size} numbers" in html
    cells = size if size <= 32 else 16
    assert sum(tag == "text" for tag, _ in found) == cells**2
    assert sum(tag == "img" for tag, _ in found) == (size > 32)
    numbers = [float(text) for text in re.findall(r"<text[^>]*>([-.\d]+)</text>", html)]
    expected = torch.nn.functional.adaptive_avg_pool2d(preparation.collate([item]).tensors["pixels"][0].mean(0)[None], cells)
    np.testing.assert_allclose(np.sort(numbers), np.sort(expected.flatten().numpy()), atol=0.051)


def test_the_grid_stands_on_the_prepared_picture() -> None:
    preparation = ImagePreparation(Prepare(size=16, channels=1, normalize="half"))
    source = noise(16, 16).convert("L")
    html = MODALITY.seen(preparation.prepare([source])[0], preparation)
    assert np.array_equal(np.asarray(pictures(html)[0]), np.asarray(source))
    inks = dict(re.findall(r'<g fill="(#\w+)">(.*?)</g>', html))
    for ink, texts in inks.items():
        for x, y in re.findall(r'x="(\d+)" y="(\d+)"', texts):
            assert (source.getpixel((int(x) // 24, int(y) // 24)) > 127) == (ink == "#000")
