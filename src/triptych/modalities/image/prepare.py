"""From a picture to a square of numbers: pixels (C, H, W), float32. The same picture always gives the same numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from triptych.base.errors import InputError
from triptych.base.files import write_json
from triptych.contract.values import Item, Packed, Value
from triptych.modalities.image.levels import numbers
from triptych.modalities.image.settings import Prepare

FIT_AT_MOST = 2000
"""Pictures looked at for the mean and deviation of the channels; more change them by less than a hundredth."""
LEAST_STD = 1 / 255
FILE = "prepare.json"
COPY_AGAIN = "copy the whole run folder again, or train again"


class ImagePreparation:
    """Resize to a square (bicubic, antialiased), scale to 0..1, normalize each channel."""

    def __init__(self, settings: Prepare) -> None:
        """Not fitted yet, unless `normalize` needs nothing from the data."""
        self.settings: Any = settings
        self.mean: list[float] = []
        self.std: list[float] = []
        if settings.normalize != "data":
            self._fix(0.5 if settings.normalize == "half" else 0.0, 0.5 if settings.normalize == "half" else 1.0)

    def _fix(self, mean: float, std: float) -> None:
        self.mean, self.std = [mean] * self.settings.channels, [std] * self.settings.channels

    def fit(self, values: Iterable[Value]) -> None:
        """Learn mean and standard deviation of each channel from the first `FIT_AT_MOST` pictures."""
        if self.settings.normalize != "data":
            return
        count, total, squares = 0, np.zeros(self.settings.channels), np.zeros(self.settings.channels)
        for value in islice(values, FIT_AT_MOST):
            levels_CHW = np.divide(self._bytes(value).transpose(2, 0, 1), np.float32(255), dtype=np.float32).astype(np.float64)
            count += levels_CHW[0].size
            total += levels_CHW.sum((1, 2))
            squares += np.square(levels_CHW).sum((1, 2))
        if not count:
            raise InputError(
                "no training picture to take the mean from", fix="add pictures to the training rows, or set prepare.normalize to half"
            )
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0)).clip(min=LEAST_STD)
        self.mean, self.std = mean.tolist(), std.tolist()

    def prepare(self, values: Sequence[Value]) -> list[Item]:
        """Pictures -> one `pixels` (H, W, C), uint8, each: `collate` makes numbers of them."""
        if not self.mean:
            raise InputError("this preparation of pictures has not been fitted", fix="call fit with training pictures, or load")
        return [{"pixels": torch.from_numpy(self._bytes(value))} for value in values]

    def _bytes(self, value: Image.Image) -> NDArray[np.uint8]:
        """The square picture as (H, W, C)."""
        mode, size = "L" if self.settings.channels == 1 else "RGB", self.settings.size
        plain = value if value.mode == mode else value.convert(mode)
        square = plain if plain.size == (size, size) else squared(plain, size, self.settings.fit)
        return np.array(square).reshape(size, size, -1)

    def shown_part(self, width: float, height: float) -> tuple[float, float, float, float]:
        """See `Flat`: the part of a picture that the square stands for, as `squared` makes it."""
        if self.settings.fit == "stretch":
            return 0.0, 0.0, width, height
        if self.settings.fit == "crop":
            side = min(width, height)
            return (width - side) / 2, (height - side) / 2, side, side
        size = self.settings.size
        across, down = (min(size, max(1, round(side * size / max(width, height)))) for side in (width, height))
        one, other = width / across, height / down  # pixels of the picture a pixel of the square
        return -((size - across) // 2) * one, -((size - down) // 2) * other, size * one, size * other

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> pixels (P, C, H, W), float32; all have one size, so there is no mask."""
        return Packed({"pixels": numbers(items, np.divide, 255, self.mean, self.std, self.settings.normalize != "none")})

    def facts(self) -> dict[str, int]:
        """`channels`, and `size`: the side in pixels."""
        return {"channels": self.settings.channels, "size": self.settings.size}

    def save(self, folder: Path) -> None:
        """Write the fitted numbers."""
        write_json(folder / FILE, {"mean": self.mean, "std": self.std})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        path = folder / FILE
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self.mean, self.std = self._checked(about["mean"]), self._checked(about["std"], above=0.0)
        except OSError as error:
            raise InputError("the preparation of pictures is missing", where=str(path), fix=COPY_AGAIN) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"the preparation of pictures is damaged: {error}", where=str(path), fix=COPY_AGAIN) from error

    def _checked(self, numbers: Any, above: float = -math.inf) -> list[float]:
        checked = [float(number) for number in numbers]
        if len(checked) != self.settings.channels or not all(math.isfinite(x) and x > above for x in checked):
            raise ValueError(f"{numbers} does not fit {self.settings.channels} channels")
        return checked


def squared(image: Image.Image, size: int, fit: Literal["pad", "stretch", "crop"]) -> Image.Image:
    """The picture as a square of `size` pixels; see `Prepare.fit`."""
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    scale = size / max(image.size)
    width, height = (min(size, max(1, round(side * scale))) for side in image.size)
    whole = image.resize((width, height), Image.Resampling.BICUBIC)
    if width == height:
        return whole
    canvas = Image.new(image.mode, (size, size), border_colour(whole))
    canvas.paste(whole, ((size - width) // 2, (size - height) // 2))
    return canvas


def border_colour(image: Image.Image) -> tuple[int, ...]:
    """The median of each channel along the picture's four edges: the paper of a scan, the background of a product."""
    pixels_HWC = np.asarray(image).reshape(image.height, image.width, -1)
    edges_NC = np.concatenate([pixels_HWC[0], pixels_HWC[-1], pixels_HWC[:, 0], pixels_HWC[:, -1]])
    return tuple(int(level) for level in np.median(edges_NC, axis=0))


def suggest(values: Sequence[Value]) -> dict[str, Any]:
    """Settings that suit these pictures: a side near the median of their shorter sides, one channel if all are grey."""
    if not values:
        return {}
    side = median(min(value.size) for value in values)
    size = min((16, 32, 64, 96, 128), key=lambda known: abs(known - side))
    return {"prepare": {"size": size, "channels": 1 if all(map(is_grey, values)) else 3}}


def is_grey(image: Image.Image) -> bool:
    """Whether a picture, looked at in a reduced copy, has no colour (a scan is often grey and saved as RGB)."""
    if image.mode == "L":
        return True
    pixels_HWC = np.asarray(image.resize((min(64, image.width), min(64, image.height)), Image.Resampling.BOX), np.int16)
    return int((pixels_HWC.max(2) - pixels_HWC.min(2)).max()) <= 4
