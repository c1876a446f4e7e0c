"""Films -> square frames (T, C, H, W) at the wanted rate, always the same for the same film."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from triptych.base.errors import InputError
from triptych.base.files import write_json
from triptych.contract.values import Item, Packed
from triptych.modalities.video.read import Clip
from triptych.modalities.video.settings import Prepare

FIT_AT_MOST = 300
"""Films looked at for the mean and deviation of the channels."""
LEAST_STD = 1 / 255
FILE = "prepare.json"
AGAIN = "copy the whole run folder again, or train again"
RATES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
SIZES = (16, 32, 64)


class Frames:
    """Implements `contract.modality.Preparation`. Item: {"pixels": (T, C, H, W) float32, "real": (T,) bool}; a missing frame is zero."""

    def __init__(self, settings: Prepare) -> None:
        """Not fitted yet, unless `normalize` needs nothing from the data."""
        self.settings: Any = settings
        self.mean: list[float] = []
        self.std: list[float] = []
        if settings.normalize != "data":
            level = 0.5 if settings.normalize == "half" else 0.0
            self.mean, self.std = [level] * settings.channels, [1 - level] * settings.channels

    def fit(self, values: Iterable[Clip]) -> None:
        """Learn mean and deviation of each channel from the frames of the first `FIT_AT_MOST` films.

        Raises:
            InputError: there are no training rows to learn from.
        """
        if self.settings.normalize != "data":
            return
        count, total, squares = 0, np.zeros(self.settings.channels), np.zeros(self.settings.channels)
        for clip in islice(values, FIT_AT_MOST):
            for levels_CHW in filter(lambda levels: levels is not None, self._levels(clip)):
                assert levels_CHW is not None
                count += levels_CHW[0].size
                total += levels_CHW.sum((1, 2), dtype=np.float64)
                squares += np.square(levels_CHW, dtype=np.float64).sum((1, 2))
        if not count:
            fix = "add films to the training rows, or set prepare.normalize to half"
            raise InputError("no training film to take the mean from", fix=fix)
        mean = total / count
        self.mean, self.std = mean.tolist(), np.sqrt(np.maximum(squares / count - mean**2, 0)).clip(min=LEAST_STD).tolist()

    def prepare(self, values: Sequence[Clip]) -> list[Item]:
        """Films -> items; each is decoded once, from its first wanted frame to its last."""
        if not self.mean:
            raise InputError("this preparation of films has not been fitted", fix="call fit with training films, or load")
        return [self._item(value) for value in values]

    def _item(self, clip: Clip) -> Item:
        mean_C11, std_C11 = (np.array(x, np.float32)[:, None, None] for x in (self.mean, self.std))
        frames = [None if levels is None else (levels - mean_C11) / std_C11 for levels in self._levels(clip)]
        blank = np.zeros((self.settings.channels, self.settings.size, self.settings.size), np.float32)
        pixels_TCHW = np.stack([blank if frame is None else frame for frame in frames])
        return {"pixels": torch.from_numpy(pixels_TCHW), "real": torch.tensor([frame is not None for frame in frames])}

    def _levels(self, clip: Clip) -> list[np.ndarray | None]:
        """Each wanted frame as (C, H, W) from 0 to 1, None where it is missing."""
        made: list[np.ndarray | None] = []
        for frame in clip.at(moments(clip.seconds, self.settings)):
            if frame is None:
                made.append(None)
                continue
            square = squared(frame if self.settings.channels == 3 else frame.convert("L"), self.settings)
            levels_HWC = np.asarray(square, np.float32).reshape(self.settings.size, self.settings.size, -1) / np.float32(255)
            made.append(np.ascontiguousarray(levels_HWC.transpose(2, 0, 1)))
        return made

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> pixels (P, T, C, H, W), padded with zeros to the longest, and the mask of real frames."""
        pixels_PTCHW = torch.nn.utils.rnn.pad_sequence([item["pixels"] for item in items], batch_first=True)
        mask_PT = torch.nn.utils.rnn.pad_sequence([item["real"] for item in items], batch_first=True)
        return Packed({"pixels": pixels_PTCHW}, mask_PT)

    def facts(self) -> dict[str, int]:
        """`channels`, and `size`: the side in pixels."""
        return {"channels": self.settings.channels, "size": self.settings.size}

    def save(self, folder: Path) -> None:
        """Write the fitted numbers."""
        write_json(folder / FILE, {"mean": self.mean, "std": self.std})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or of another number of channels.
        """
        path = folder / FILE
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self.mean, self.std = self._checked(about["mean"]), self._checked(about["std"], above=0.0)
        except FileNotFoundError as error:
            raise InputError("what the preparation of films learnt is missing", where=str(path), fix=AGAIN) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"the preparation of films is damaged: {error}", where=str(path), fix=AGAIN) from error

    def _checked(self, numbers: Any, above: float = -math.inf) -> list[float]:
        checked = [float(number) for number in numbers]
        if len(checked) != self.settings.channels or not all(math.isfinite(x) and x > above for x in checked):
            raise ValueError(f"{numbers} does not fit {self.settings.channels} channels")
        return checked


def moments(seconds: float, settings: Prepare) -> list[float]:
    """The times that are looked at: every 1 / rate seconds from the start, or evenly spread middles where these are too many."""
    count = max(1, math.ceil(seconds * settings.rate - 1e-3))
    if count <= settings.frames:
        return [place / settings.rate for place in range(count)]
    return [(place + 0.5) * seconds / settings.frames for place in range(settings.frames)]


def squared(image: Image.Image, settings: Prepare) -> Image.Image:
    """The frame as a square; see `Prepare.fit`."""
    size = (settings.size, settings.size)
    if settings.fit == "stretch":
        return image.resize(size, Image.Resampling.BICUBIC)
    if settings.fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    return ImageOps.pad(image, size, Image.Resampling.BICUBIC, color=0)


def suggest(values: Sequence[Clip]) -> dict[str, Any]:
    """A rate that shows most of these films in 8 to 16 frames, a side near their shorter sides, one channel if all are grey."""
    if not values:
        return {}
    wanted = min(12 / median(value.seconds for value in values), median(value.rate for value in values))
    rate = min(RATES, key=lambda known: abs(math.log(known / wanted)))
    side = median(min(value.width, value.height) for value in values)
    size = min(SIZES, key=lambda known: abs(known - side))
    return {"prepare": {"rate": rate, "size": size, "channels": 1 if all(map(_is_grey, values)) else 3}}


def _is_grey(clip: Clip) -> bool:
    frame = next(clip.at([0.0]))
    if frame is None:
        return False
    pixels_HWC = np.asarray(frame.resize((min(64, frame.width), min(64, frame.height)), Image.Resampling.BOX), np.int16)
    return int((pixels_HWC.max(2) - pixels_HWC.min(2)).max()) <= 8
