"""Things of a sample's posts as pictures: one or two pictograms on a pale ground, no two of quite the same place, size and colour."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

SIDE, FINER = 64, 4
"""Pixels of a picture, and how many to one when it is drawn."""
TILE = 30
"""Pixels of the square that a thing is drawn in."""
TINT = 20
"""By how much a colour is off its own."""

Colour = tuple[int, ...]
Points = Sequence[tuple[float, float]]


class _Pen:
    """Draws in a square from (0, 0) to (1, 1), put somewhere on the picture."""

    def __init__(self, canvas: ImageDraw.ImageDraw, left: float, top: float, size: float, draw: random.Random) -> None:
        self.canvas, self.left, self.top, self.size, self.draw = canvas, left, top, size, draw

    def tinted(self, colour: Colour) -> Colour:
        return tuple(min(max(level + self.draw.randint(-TINT, TINT), 0), 255) for level in colour)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.size, self.top + y * self.size

    def shape(self, points: Points, colour: Colour) -> None:
        self.canvas.polygon([self.at(*point) for point in points], colour)

    def round(self, x: float, y: float, across: float, colour: Colour, down: float = 0.0) -> None:
        """An ellipse around (x, y), `across` wide and `down` high (by default a circle)."""
        (left, top), (right, bottom) = (self.at(x + sign * across / 2, y + sign * (down or across) / 2) for sign in (-1, 1))
        self.canvas.ellipse((left, top, right, bottom), colour)


def drawn(things: str, draw: random.Random) -> Image.Image:
    """`knife, tree` as a picture, from left to right."""
    ground = tuple(draw.randint(215, 250) for _ in range(3))
    image = Image.new("RGB", (SIDE * FINER, SIDE * FINER), ground)
    canvas = ImageDraw.Draw(image)
    names = things.split(", ")
    for place, name in enumerate(names):
        size = TILE * draw.uniform(0.85, 1.05)
        left = (SIDE / len(names)) * (place + 0.5) - size / 2 + draw.uniform(-1, 1) * (SIDE / len(names) - TILE) / 2
        top = draw.uniform(1, SIDE - size - 1)
        _DRAWN[name](_Pen(canvas, left * FINER, top * FINER, size * FINER, draw))
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def _knife(pen: _Pen) -> None:
    lean = pen.draw.choice((1, -1))

    def turned(points: Points) -> Points:
        return [(x if lean > 0 else 1 - x, y) for x, y in points]

    pen.shape(turned([(0.08, 0.12), (0.2, 0.02), (0.68, 0.56), (0.58, 0.66), (0.3, 0.5)]), pen.tinted((150, 160, 172)))
    pen.shape(turned([(0.6, 0.68), (0.7, 0.56), (0.98, 0.88), (0.88, 0.98)]), pen.tinted((70, 45, 35)))


def _bottle(pen: _Pen) -> None:
    glass = pen.tinted((30, 105, 60))
    pen.shape([(0.42, 0.02), (0.58, 0.02), (0.58, 0.3), (0.72, 0.45), (0.72, 0.98), (0.28, 0.98), (0.28, 0.45), (0.42, 0.3)], glass)
    pen.shape([(0.28, 0.55), (0.72, 0.55), (0.72, 0.8), (0.28, 0.8)], pen.tinted((225, 205, 150)))


def _bin(pen: _Pen) -> None:
    body = pen.tinted((95, 100, 105))
    pen.shape([(0.15, 0.28), (0.85, 0.28), (0.75, 0.98), (0.25, 0.98)], body)
    pen.shape([(0.08, 0.16), (0.92, 0.16), (0.92, 0.26), (0.08, 0.26)], pen.tinted((60, 62, 66)))
    for x in (0.34, 0.5, 0.66):
        pen.shape([(x - 0.03, 0.36), (x + 0.03, 0.36), (x + 0.03, 0.9), (x - 0.03, 0.9)], pen.tinted((165, 168, 170)))


def _flower(pen: _Pen) -> None:
    pen.shape([(0.47, 0.45), (0.53, 0.45), (0.53, 0.98), (0.47, 0.98)], pen.tinted((50, 140, 60)))
    petals = pen.tinted(pen.draw.choice(((225, 70, 130), (235, 130, 40), (150, 80, 200))))
    for turn in range(6):
        angle = turn * math.pi / 3
        pen.round(0.5 + 0.2 * math.cos(angle), 0.34 + 0.2 * math.sin(angle), 0.24, petals)
    pen.round(0.5, 0.34, 0.2, pen.tinted((240, 210, 60)))


def _snail(pen: _Pen) -> None:
    body = pen.tinted((190, 160, 100))
    pen.shape([(0.04, 0.9), (0.96, 0.9), (0.98, 0.55), (0.86, 0.55), (0.8, 0.76), (0.12, 0.8)], body)
    pen.round(0.42, 0.55, 0.6, pen.tinted((130, 80, 45)))
    pen.round(0.42, 0.55, 0.38, pen.tinted((205, 165, 110)))
    pen.round(0.42, 0.55, 0.18, pen.tinted((130, 80, 45)))


def _rocket(pen: _Pen) -> None:
    pen.shape([(0.5, 0.0), (0.66, 0.22), (0.66, 0.75), (0.34, 0.75), (0.34, 0.22)], pen.tinted((205, 210, 225)))
    red = pen.tinted((215, 45, 45))
    pen.shape([(0.34, 0.5), (0.34, 0.78), (0.14, 0.86)], red)
    pen.shape([(0.66, 0.5), (0.66, 0.78), (0.86, 0.86)], red)
    pen.round(0.5, 0.35, 0.18, pen.tinted((60, 110, 215)))
    pen.shape([(0.4, 0.76), (0.6, 0.76), (0.5, 1.0)], pen.tinted((245, 150, 40)))


def _house(pen: _Pen) -> None:
    pen.shape([(0.14, 0.46), (0.86, 0.46), (0.86, 0.96), (0.14, 0.96)], pen.tinted((225, 190, 140)))
    pen.shape([(0.04, 0.48), (0.5, 0.06), (0.96, 0.48)], pen.tinted((170, 60, 45)))
    pen.shape([(0.42, 0.64), (0.6, 0.64), (0.6, 0.96), (0.42, 0.96)], pen.tinted((90, 60, 45)))


def _tree(pen: _Pen) -> None:
    pen.shape([(0.43, 0.6), (0.57, 0.6), (0.57, 0.98), (0.43, 0.98)], pen.tinted((110, 75, 45)))
    leaves = pen.tinted((45, 135, 60))
    for x, y in ((0.34, 0.46), (0.66, 0.46), (0.5, 0.26)):
        pen.round(x, y, 0.46, leaves)


def _ball(pen: _Pen) -> None:
    pen.round(0.5, 0.55, 0.8, pen.tinted((60, 110, 215)))
    pen.round(0.5, 0.55, 0.8, pen.tinted((240, 240, 240)), down=0.26)


_DRAWN: dict[str, Callable[[_Pen], None]] = {
    "knife": _knife,
    "bottle": _bottle,
    "bin": _bin,
    "flower": _flower,
    "snail": _snail,
    "rocket": _rocket,
    "house": _house,
    "tree": _tree,
    "ball": _ball,
}
