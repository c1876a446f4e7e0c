"""Scenes of a few coloured shapes, and phrases that name one of them: who looks at the scene alone cannot know which."""

from __future__ import annotations

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230)}
SHAPES = ("circle", "square")
Box = tuple[int, int, int, int]


def scene(rng: random.Random, width: int, height: int) -> tuple[Image.Image, dict[str, Box]]:
    """A picture with one shape of each colour, and where each lies: left, top, width and height in pixels."""
    image = Image.new("RGB", (width, height), (245, 245, 235))
    draw, found = ImageDraw.Draw(image), dict[str, Box]()
    cells = rng.sample([(x, y) for x in range(2) for y in range(2)], len(COLOURS))
    for (colour, ink), (x, y) in zip(COLOURS.items(), cells, strict=True):
        across, down = rng.randint(width // 5, width // 2 - 2), rng.randint(height // 5, height // 2 - 2)
        left, top = x * width // 2 + rng.randint(0, width // 2 - across), y * height // 2 + rng.randint(0, height // 2 - down)
        shape = rng.choice(SHAPES)
        drawn = draw.ellipse if shape == "circle" else draw.rectangle
        drawn((left, top, left + across - 1, top + down - 1), fill=ink)
        found[f"the {colour} {shape}"] = left, top, across, down
    return image, found


def write_scenes(folder: Path, rows: int, sizes: tuple[tuple[int, int], ...] = ((64, 64),), own: bool = False, seed: int = 0) -> Path:
    """`table.csv` with id, image, phrase, box and side, and its pictures: a row a picture, two pictures of ten for the test."""
    rng, lines = random.Random(seed), ["id,image,phrase,box,side"]
    for row in range(rows):
        width, height = sizes[row % len(sizes)]
        image, found = scene(rng, width, height)
        image.save(folder / f"{row}.png")
        phrase, (left, top, across, down) = rng.choice(sorted(found.items()))
        box = [left, top, across, down] if own else [left / width, top / height, across / width, down / height]
        side = "test" if row % 10 < 2 else "train"
        lines.append(f'{row},{row}.png,{phrase},"{json.dumps(box)}",{side}')
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "table.csv"
