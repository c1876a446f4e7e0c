"""Made-up scans of a sample: two grey fields in the dark with a shadow in one of them. They look like no real recording."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, FINER = 48, 3
"""Pixels of a picture, and how many to one when it is drawn."""
RADIUS = {"small": 2.6, "large": 5.4}
"""Of a shadow, in pixels."""
GRAIN = 9.0
"""Spread of the noise, of 255 levels."""


def drawn(shadow: str, draw: random.Random) -> Image.Image:
    """`large left` as a grey picture."""
    size, side = shadow.split()
    image = Image.new("L", (SIDE * FINER, SIDE * FINER), draw.randint(12, 30))
    canvas = ImageDraw.Draw(image)
    light = draw.randint(120, 165)
    for centre in (14, 34):
        x, y = centre + draw.uniform(-1, 1), 24 + draw.uniform(-1, 1)
        _ellipse(canvas, x, y, 9.5 * draw.uniform(0.95, 1.05), 18 * draw.uniform(0.95, 1.05), light)
    x = (14 if side == "left" else 34) + draw.uniform(-2, 2)
    radius = RADIUS[size] * draw.uniform(0.9, 1.1)
    _ellipse(canvas, x, 24 + draw.uniform(-9, 9), radius, radius * draw.uniform(0.85, 1.15), light - draw.randint(60, 85))
    soft = image.filter(ImageFilter.GaussianBlur(FINER * 0.7)).resize((SIDE, SIDE), Image.Resampling.BOX)
    noise_HW = np.random.default_rng(draw.getrandbits(32)).normal(0, GRAIN, (SIDE, SIDE))
    return Image.fromarray(np.clip(np.asarray(soft, np.float64) + noise_HW, 0, 255).astype(np.uint8))


def _ellipse(canvas: ImageDraw.ImageDraw, x: float, y: float, across: float, down: float, level: int) -> None:
    """Around (x, y), by its half axes, all in pixels."""
    canvas.ellipse(tuple(FINER * value for value in (x - across, y - down, x + across, y + down)), level)
