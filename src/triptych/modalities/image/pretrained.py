"""Pretrained image encoders: pictures as the base's own processor makes them. `families.py` says how each is built."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from triptych.base import hub, trust
from triptych.base.errors import InputError
from triptych.base.files import write_json
from triptych.contract.pretrained import Pretrained
from triptych.contract.values import Item, Packed, Value
from triptych.layers.tower import Tower, described
from triptych.modalities.image.families import FAMILIES
from triptych.modalities.image.levels import numbers
from triptych.modalities.image.own import FOLDER, Asked, OwnImage, stacked
from triptych.modalities.image.settings import Prepare

FILE = "prepare.json"
COPY_AGAIN = "copy the whole run folder again, or train again"
PLAIN = ("BitImageProcessor", "CLIPImageProcessor", "DeiTImageProcessor", "MobileNetV2ImageProcessor", "SiglipImageProcessor")
KNOWN = (*PLAIN, "ViTImageProcessor", "ConvNextImageProcessor")
"""Processors of transformers that do no more than resize, crop, rescale and normalise, as is done here."""
LONG = 4_000_000
"""Pixels of a resized picture from which only its middle is made: the shorter side of a line of 1 x 4,000 would make it 262 million."""
WARPED_FROM = 384
"""ConvNeXt's processor crops below this side, and stretches from there on."""


class BasePreparation:
    """Implements `Preparation` with what a base's processor says: an item is `{"pixels": uint8 (H, W, C)}`.

    Resize and crop are Pillow's, as in transformers without torchvision; numbers are equal to its own to 1e-5.
    """

    def __init__(self, settings: Prepare, base: Pretrained) -> None:
        """Its files are looked at when the first picture comes."""
        self.settings, self.base = settings, base
        self._steps: dict[str, Any] = {}
        self._asked: Asked | None = None

    def fit(self, values: Iterable[Value]) -> None:
        """Learns nothing.

        Raises:
            InputError: the base cannot be had, is no image model, or its processor is not known here.
        """
        self._ready()

    def prepare(self, values: Sequence[Value]) -> list[Item]:
        """Pictures -> one `pixels` (H, W, C), uint8, each: `collate` makes numbers of them. An own processor's are numbers at once."""
        self._ready()
        if self._asked is not None:
            return [{"pixels": self._asked.pixels(value)} for value in values]
        return [{"pixels": torch.from_numpy(self._bytes(value))} for value in values]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> pixels (P, C, H, W), float32; all have one size, so there is no mask."""
        steps = self._ready()
        if self._asked is not None:
            return stacked(items)
        return Packed({"pixels": numbers(items, np.multiply, steps["factor"], steps["mean"], steps["std"])})

    def facts(self) -> dict[str, int]:
        """Nothing: the base knows its own sizes."""
        return {}

    @property
    def mean(self) -> list[float]:
        """Of each channel, from 0 to 1: what was taken off."""
        return [number / (255 * self._ready()["factor"]) for number in self._ready()["mean"]]

    @property
    def std(self) -> list[float]:
        """Of each channel, from 0 to 1: what was divided by."""
        return [number / (255 * self._ready()["factor"]) for number in self._ready()["std"]]

    def save(self, folder: Path) -> None:
        """Write what the processor does; of one that is asked itself, its files too."""
        write_json(folder / FILE, self._ready())
        if self._asked is not None:
            self._asked.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: it is missing or damaged.
        """
        path = folder / FILE
        try:
            self._steps = _checked(json.loads(path.read_text(encoding="utf-8")))
            if (folder / FOLDER).is_dir():
                self._asked = _asked(folder / FOLDER, self.base)
        except OSError as error:
            raise InputError("the preparation of pictures is missing", where=str(path), fix=COPY_AGAIN) from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"the preparation of pictures is damaged: {error}", where=str(path), fix=COPY_AGAIN) from error

    def shown_part(self, width: float, height: float) -> tuple[float, float, float, float]:
        """See `Flat`: the part of a picture that is left after `resized` and `cropped`."""
        steps = self._ready()
        if self._asked is not None:  # nobody knows what it cuts off
            return 0.0, 0.0, width, height
        after = _size_resized(width, height, steps)
        seen = (steps["crop"][1], steps["crop"][0]) if steps["crop"] else after
        one, other = width / after[0], height / after[1]
        return (after[0] - seen[0]) // 2 * one, (after[1] - seen[1]) // 2 * other, seen[0] * one, seen[1] * other

    def _ready(self) -> dict[str, Any]:
        if not self._steps:
            folder = hub.located(self.base.name, self.base.revision, self.base.trust_remote_code)
            self._steps = processor_of(folder, self.base)
            if self._steps.get("asked"):
                self._asked = _asked(folder, self.base)
        return self._steps

    def _bytes(self, value: Image.Image) -> NDArray[np.uint8]:
        """(H, W, C). A grey picture has one channel until it has its size: that is a third of the work."""
        steps = self._ready()
        plain = value if value.mode == "L" or steps["channels"] == 3 else value.convert("L")
        sized = cropped(resized(plain, steps), steps["crop"])
        coloured = sized if sized.mode == "RGB" or steps["channels"] == 1 else sized.convert("RGB")
        return np.array(coloured).reshape(*_size_after(steps), -1)


def resized(image: Image.Image, steps: dict[str, Any]) -> Image.Image:
    """To the height and width that the processor says, or so that the shorter side has a length.

    Of a picture that would be very long then, only the middle that `cropped` leaves is made.
    """
    size = _size_resized(image.width, image.height, steps)
    how = Image.Resampling(steps["resample"])
    if steps["crop"] and size[0] * size[1] > LONG:
        kept = min(size[0], steps["crop"][1]), min(size[1], steps["crop"][0])
        left, top = ((whole - part) // 2 for whole, part in zip(size, kept, strict=True))
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + kept[0]) * across, (top + kept[1]) * down)
        return image.resize(kept, how, box)
    return image if size == image.size else image.resize(size, how)


def _size_resized(width: float, height: float, steps: dict[str, Any]) -> tuple[int, int]:
    if steps["shortest"]:
        longer = int(steps["shortest"] * max(width, height) / min(width, height))
        return (steps["shortest"], longer) if width <= height else (longer, steps["shortest"])
    return (steps["size"][1], steps["size"][0]) if steps["size"] else (int(width), int(height))


def cropped(image: Image.Image, crop: Sequence[int] | None) -> Image.Image:
    """The middle, `crop` being height and width; black is laid around what is smaller."""
    if crop is None:
        return image
    height, width = crop
    left, top = ((there - wanted) // 2 for there, wanted in zip(image.size, (width, height), strict=True))
    return image.crop((left, top, left + width, top + height))


def _size_after(steps: dict[str, Any]) -> tuple[int, int]:
    height, width = steps["crop"] or steps["size"]
    return height, width


def _asked(folder: Path, base: Pretrained) -> Asked:
    """A processor that is asked itself; its own code, if it has some, only where that may run."""
    return Asked(folder, trust.runs(folder, base.name, base.trust_remote_code))


def processor_of(folder: Path, base: Pretrained) -> dict[str, Any]:
    """What a base's processor does, as plain values: found out once a base, by its digest. `asked`: it must be asked itself."""
    facts = described(folder, FAMILIES, "image", ImageTower.own, base)
    code = base.trust_remote_code and trust.brings(folder)
    if code:
        trust.let(folder, hub.called(folder), base.name, base.revision)
    word = f"{facts['digest'][:32]}{'-' + trust.word(folder) if code else ''}"
    return _checked(hub.kept(f"processors/{word}.json", lambda: _processor(folder, code)))


def _processor(folder: Path, code: bool) -> dict[str, Any]:
    try:
        asked = Asked(folder, code)
    except InputError as error:
        if not code and trust.mapped(folder, "preprocessor_config.json"):
            raise trust.refuse_unsaid(folder, hub.called(folder)) from error
        raise
    held = asked.held
    if code and not _known(held):
        channels = _channels(folder)
        levels = {name: asked.levels(name, nothing, channels) for name, nothing in (("mean", 0.0), ("std", 1.0))}
        plain = {"size": None, "shortest": 0, "crop": None, "resample": 2, "factor": 1 / 255, "channels": channels}
        return {**plain, **levels, "asked": True}
    kind = type(held).__name__.removesuffix("Pil").removesuffix("Fast")
    steps = {**_resize(held, kind), "factor": held.rescale_factor if held.do_rescale else 1.0, "channels": _channels(folder)}
    for name, nothing in (("mean", 0.0), ("std", 1.0)):
        said = getattr(held, f"image_{name}") if held.do_normalize else nothing
        steps[name] = [float(number) for number in (said if isinstance(said, list | tuple) else [said] * steps["channels"])]
    strange = kind if kind not in KNOWN else "do_pad" if getattr(held, "do_pad", None) else ""
    if strange or not (steps["crop"] or steps["size"]):
        what = f"the base's processor does what is not known here: {strange or 'it leaves pictures in their own sizes'}"
        raise InputError(what, where=str(folder), known=KNOWN, fix="name a base with one of the known processors")
    return steps


def _known(held: Any) -> bool:
    """Whether a processor does what is done here too, and leaves pictures in one size."""
    kind = type(held)
    name = kind.__name__.removesuffix("Pil").removesuffix("Fast")
    return not kind.__module__.startswith("transformers_modules") and name in KNOWN and not getattr(held, "do_pad", None)


def _resize(held: Any, kind: str) -> dict[str, Any]:
    """`size` or `shortest` (side), `crop`, `resample`."""
    size, crop = dict(held.size or {}), dict(held.crop_size or {}) if getattr(held, "do_center_crop", None) else {}
    found: dict[str, Any] = {"size": None, "shortest": 0, "crop": _pair(crop), "resample": int(held.resample)}
    if not held.do_resize:
        return found
    shortest = size.get("shortest_edge") or 0
    if kind != "ConvNextImageProcessor":
        return {**found, "size": _pair(size), "shortest": int(shortest)}
    if shortest < WARPED_FROM:
        return {**found, "shortest": int(shortest / held.crop_pct), "crop": [shortest, shortest]}
    return {**found, "size": [shortest, shortest]}


def _pair(size: dict[str, Any]) -> list[int] | None:
    return [int(size["height"]), int(size["width"])] if size.get("height") and size.get("width") else None


def _channels(folder: Path) -> int:
    config = hub.config(folder)
    return int(config.get("vision_config", config).get("num_channels", 3))


def _checked(steps: dict[str, Any]) -> dict[str, Any]:
    """The numbers are there and can be worked with. Raises ValueError, KeyError or TypeError."""
    numbers = [*steps["mean"], *steps["std"], steps["factor"], *(steps["size"] or []), *(steps["crop"] or [])]
    if len(steps["mean"]) != len(steps["std"]) or steps["channels"] not in (1, 3) or len(steps["mean"]) != steps["channels"]:
        raise ValueError(f"mean and std do not fit {steps['channels']} channels")
    if not all(math.isfinite(float(number)) for number in numbers) or not all(steps["std"]) or not steps["factor"]:
        raise ValueError("a number of it cannot be worked with")
    Image.Resampling(steps["resample"]), int(steps["shortest"])
    return steps


class ImageTower(Tower):
    """A pretrained image encoder."""

    Settings = Pretrained
    families = FAMILIES
    own = OwnImage()
