"""Scenes of a sample as pictures: coloured shapes at the nine places of a dark square, none quite where the others were."""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

SIDE, FINER = 48, 4
"""Pixels of a picture, and of one when it is drawn."""
COLOURS = {"red": (225, 45, 45), "green": (40, 180, 70), "blue": (60, 90, 235), "yellow": (240, 215, 50)}
RADIUS = {"small": 3.8, "large": 6.6}
SHIFT, TINT = 1.2, 22
"""By how much a thing stands off its place, in pixels, and its colour off its own."""


def drawn(things: str, draw: random.Random) -> Image.Image:
    """`large red circle 0 4, small blue star 7` as a picture: of each kind its places, of 0 to 8 row by row."""
    image = Image.new("RGB", (SIDE * FINER, SIDE * FINER), tuple(draw.randint(0, 45) for _ in range(3)))
    canvas = ImageDraw.Draw(image)
    for group in things.split(", "):
        size, colour, shape, *places = group.split()
        for place in map(int, places):
            row, column = divmod(place, 3)
            x, y = (FINER * (SIDE / 3 * (step + 0.5) + draw.uniform(-SHIFT, SHIFT)) for step in (column, row))
            radius = FINER * RADIUS[size] * draw.uniform(0.92, 1.08)
            fill = tuple(min(max(level + draw.randint(-TINT, TINT), 0), 255) for level in COLOURS[colour])
            _one(canvas, shape, x, y, radius, fill)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX)


def _one(canvas: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, fill: tuple[int, ...]) -> None:
    if shape == "circle":
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
        return
    if shape == "square":
        corners = [(x + a * 0.9 * radius, y + b * 0.9 * radius) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    else:
        points, inner = (3, 1.0) if shape == "triangle" else (10, 0.45)
        reach = [1.15 * radius * (inner if number % 2 and points == 10 else 1.0) for number in range(points)]
        turns = [2 * math.pi * number / points for number in range(points)]
        corners = [(x + far * math.sin(turn), y - far * math.cos(turn)) for far, turn in zip(reach, turns, strict=True)]
    canvas.polygon(corners, fill)
