"""What is done to one picture in memory, or to each of many alike. Pictures are PIL's, in mode L or RGB, and stay so."""

from __future__ import annotations

import math

from PIL import Image, ImageEnhance

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, as shares of width and height."""


def mirrored(image: Image.Image, vertical: bool = False) -> Image.Image:
    """Left and right, or top and bottom, have changed places."""
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM if vertical else Image.Transpose.FLIP_LEFT_RIGHT)


def box_of(area: float, shape: float, across: float, down: float) -> Box:
    """A part that has `area` of the whole.

    Its width by height is `shape` times the whole's, as far as there is room; `across` and `down`, from 0 to 1, say where it lies.
    """
    width = min(1.0, max(area, math.sqrt(area * shape)))  # no narrower than full height allows, no wider than the whole
    height = area / width
    left, upper = across * (1 - width), down * (1 - height)
    return left, upper, left + width, upper + height


def part(image: Image.Image, box: Box) -> Image.Image:
    """What lies in the box, in whole pixels, and at least one."""
    return image.crop(pixels(image.size, box))


def pixels(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """The box in whole pixels of a picture of this width and height."""
    width, height = (max(1, round((box[k + 2] - box[k]) * size[k])) for k in (0, 1))
    left, upper = (min(round(box[k] * size[k]), size[k] - side) for k, side in ((0, width), (1, height)))
    return left, upper, left + width, upper + height


def coloured(image: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Each is a factor, 1 leaves it as it is; they are applied in this order."""
    for kind, factor in ((ImageEnhance.Brightness, brightness), (ImageEnhance.Contrast, contrast), (ImageEnhance.Color, saturation)):
        if factor != 1 and not (kind is ImageEnhance.Color and image.mode == "L"):
            image = kind(image).enhance(factor)
    return image
