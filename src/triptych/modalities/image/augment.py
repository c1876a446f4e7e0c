"""Variants of a picture: mirrored, cut out, in other colours, turned, partly hidden. With Pillow, before it is made a square."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from triptych.base.pictures import box_of, coloured, mirrored, part, pixels
from triptych.contract.augment import Chain
from triptych.modalities.image.prepare import border_colour
from triptych.modalities.image.settings import Colour, Crop, Erase, Flip, Rotate


def augmenter(settings: Any) -> Chain:
    """What an input's `augment` does."""
    return Chain([(step, _CHANGES[step.kind]) for step in settings.augment])


def flip(image: Image.Image, step: Flip, rng: np.random.Generator) -> Image.Image:
    """The whole picture, mirrored."""
    return mirrored(image, step.direction == "vertical")


def crop(image: Image.Image, step: Crop, rng: np.random.Generator) -> Image.Image:
    """A part of the picture, smaller than it."""
    area, shape, across, down = rng.uniform(*step.area), rng.uniform(*np.log(step.shape)), rng.random(), rng.random()
    return part(image, box_of(area, float(np.exp(shape)), across, down))


def colour(image: Image.Image, step: Colour, rng: np.random.Generator) -> Image.Image:
    """As large, in other colours."""
    brightness, contrast, saturation = (rng.uniform(1 - by, 1 + by) for by in (step.brightness, step.contrast, step.saturation))
    return coloured(image, brightness, contrast, saturation)


def rotate(image: Image.Image, step: Rotate, rng: np.random.Generator) -> Image.Image:
    """As large, turned around its middle."""
    return image.rotate(rng.uniform(*step.degrees), Image.Resampling.BICUBIC, fillcolor=_filling(image))


def erase(image: Image.Image, step: Erase, rng: np.random.Generator) -> Image.Image:
    """As large, with a rectangle in one colour."""
    area, shape, across, down = rng.uniform(*step.area), np.exp(rng.uniform(-1, 1)), rng.random(), rng.random()
    made = image.copy()
    made.paste(_filling(image), pixels(image.size, box_of(area, float(shape), across, down)))
    return made


def _filling(image: Image.Image) -> Any:
    colour = border_colour(image)
    return colour if len(colour) > 1 else colour[0]


_CHANGES: dict[str, Any] = {"flip": flip, "crop": crop, "colour": colour, "rotate": rotate, "erase": erase}
