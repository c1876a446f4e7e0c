"""Products of a sample as pictures: the outline of a thing, filled with a colour and a pattern, before a light wall."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageDraw

SIDE, FINER = 64, 4
"""Pixels of a picture, and of one when it is drawn."""
COLOURS = {
    "red": (215, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (240, 215, 60),
    "green": (45, 160, 70),
    "blue": (50, 90, 215),
    "purple": (130, 60, 170),
    "pink": (240, 150, 190),
    "black": (45, 45, 50),
}
TINT = 14
"""By how much a colour is off, 0 to 255."""


def drawn(kind: str, colour: str, pattern: str, draw: random.Random) -> Image.Image:
    """The picture of one product; where it stands, how large it is and how wide its pattern, `draw` says."""
    side = SIDE * FINER
    wall = tuple(draw.randint(205, 250) for _ in range(3))
    image = Image.new("RGB", (side, side), wall)
    size = side * draw.uniform(0.36, 0.44)
    x, y = (side * draw.uniform(0.46, 0.54) for _ in range(2))
    mask = Image.new("L", (side, side), 0)
    canvas = ImageDraw.Draw(mask)
    _OUTLINES[kind](canvas, lambda *unit: [(x + size * u, y + size * v) for u, v in unit], size)
    shade = tuple(min(max(level + draw.randint(-TINT, TINT), 0), 255) for level in COLOURS[colour])
    image.paste(_cloth(pattern, shade, side, draw), (0, 0), mask)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def _cloth(pattern: str, shade: tuple[int, ...], side: int, draw: random.Random) -> Image.Image:
    """The colour with white stripes, dots or squares, or with nothing."""
    cloth = Image.new("RGB", (side, side), shade)
    canvas, step, start = ImageDraw.Draw(cloth), round(side * draw.uniform(0.1, 0.13)), draw.randint(0, 30)
    white = (250, 250, 245)
    for row, top in enumerate(range(-start, side, step)):
        if pattern == "striped":
            canvas.rectangle((0, top, side, top + step // 2 - 1), white)
        for column, left in enumerate(range(-start, side, step)):
            if pattern == "dotted":
                canvas.ellipse((left, top, left + 0.5 * step, top + 0.5 * step), white)
            elif pattern == "checked" and (row + column) % 2:
                canvas.rectangle((left, top, left + step - 1, top + step - 1), white)
    return cloth


Corners = Callable[..., list[tuple[float, float]]]


def _box(canvas: ImageDraw.ImageDraw, at: Corners, left: float, top: float, right: float, bottom: float) -> None:
    canvas.rectangle(_flat(at((left, top), (right, bottom))), 255)


def _round(canvas: ImageDraw.ImageDraw, at: Corners, left: float, top: float, right: float, bottom: float, fill: int = 255) -> None:
    canvas.ellipse(_flat(at((left, top), (right, bottom))), fill)


def _flat(corners: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = corners
    return left, top, right, bottom


def _mug(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _round(canvas, at, 0.3, -0.45, 1.0, 0.4)
    _round(canvas, at, 0.45, -0.25, 0.8, 0.2, 0)
    _box(canvas, at, -0.7, -0.7, 0.6, 0.75)


def _bowl(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    canvas.pieslice(_flat(at((-0.95, -1.0), (0.95, 0.8))), 0, 180, 255)
    _box(canvas, at, -0.35, 0.7, 0.35, 0.9)


def _lamp(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    canvas.polygon(at((-0.4, -0.95), (0.4, -0.95), (0.85, 0.1), (-0.85, 0.1)), 255)
    _box(canvas, at, -0.08, 0.1, 0.08, 0.8)
    _box(canvas, at, -0.45, 0.75, 0.45, 0.95)


def _chair(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _box(canvas, at, -0.6, -1.0, -0.3, 0.2)
    _box(canvas, at, -0.6, 0.0, 0.65, 0.32)
    _box(canvas, at, -0.6, 0.3, -0.42, 1.0)
    _box(canvas, at, 0.47, 0.3, 0.65, 1.0)


def _bag(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _round(canvas, at, -0.45, -0.95, 0.45, 0.3)
    _round(canvas, at, -0.27, -0.75, 0.27, 0.3, 0)
    canvas.polygon(at((-0.7, -0.3), (0.7, -0.3), (0.9, 0.9), (-0.9, 0.9)), 255)


def _shirt(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _box(canvas, at, -0.5, -0.7, 0.5, 0.9)
    canvas.polygon(at((-0.45, -0.75), (-1.0, -0.25), (-0.75, 0.1), (-0.4, -0.2)), 255)
    canvas.polygon(at((0.45, -0.75), (1.0, -0.25), (0.75, 0.1), (0.4, -0.2)), 255)
    _round(canvas, at, -0.22, -0.95, 0.22, -0.5, 0)


def _boot(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _box(canvas, at, -0.6, -0.95, 0.1, 0.8)
    _round(canvas, at, -0.5, 0.1, 0.95, 0.95)
    _box(canvas, at, -0.6, 0.6, 0.9, 0.9)


def _hat(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    canvas.pieslice(_flat(at((-0.6, -0.75), (0.6, 1.2))), 180, 360, 255)
    _round(canvas, at, -1.0, 0.1, 1.0, 0.5)


def _clock(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _round(canvas, at, -0.9, -0.9, 0.9, 0.9)
    wide = max(2, round(size * 0.09))
    canvas.line(at((0, 0), (0, -0.6)), 0, wide)
    canvas.line(at((0, 0), (0.42, 0.2)), 0, wide)


def _vase(canvas: ImageDraw.ImageDraw, at: Corners, size: float) -> None:
    _box(canvas, at, -0.22, -0.95, 0.22, -0.2)
    _box(canvas, at, -0.42, -1.0, 0.42, -0.82)
    _round(canvas, at, -0.65, -0.4, 0.65, 0.95)


_OUTLINES: dict[str, Callable[[ImageDraw.ImageDraw, Corners, float], None]] = {
    "mug": _mug,
    "bowl": _bowl,
    "lamp": _lamp,
    "chair": _chair,
    "bag": _bag,
    "shirt": _shirt,
    "boot": _boot,
    "hat": _hat,
    "clock": _clock,
    "vase": _vase,
}
