"""Variants of a film: every frame mirrored, cut out or in other colours, all in the same way. Frames are changed when they are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from triptych.base.pictures import box_of, coloured, mirrored, part, pixels
from triptych.contract.augment import Chain
from triptych.modalities.video.read import Clip
from triptych.modalities.video.settings import Colour, Crop, Flip

Frame = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, eq=False)
class Changed(Clip):
    """A clip whose frames go through `change`."""

    change: Frame = lambda frame: frame

    def at(self, times: Sequence[float]) -> Iterator[Image.Image | None]:
        """See `Clip.at`."""
        for frame in super().at(times):
            yield None if frame is None else self.change(frame)


def augmenter(settings: Any) -> Chain:
    """What an input's `augment` does."""
    return Chain([(step, _CHANGES[step.kind]) for step in settings.augment])


def _changed(clip: Clip, change: Frame, size: tuple[int, int] | None = None) -> Changed:
    """The clip with one more change, after those that it has; `size` of the frames where that is another."""
    words = {held.name: getattr(clip, held.name) for held in fields(Clip)}
    if size is not None:
        words["width"], words["height"] = size
    before = clip.change if isinstance(clip, Changed) else None
    return Changed(**words, change=change if before is None else lambda frame: change(before(frame)))


def flip(clip: Clip, step: Flip, rng: np.random.Generator) -> Clip:
    """Left and right change places."""
    return _changed(clip, mirrored)


def crop(clip: Clip, step: Crop, rng: np.random.Generator) -> Clip:
    """A part of the frames, of their shape."""
    box = box_of(rng.uniform(*step.area), 1.0, rng.random(), rng.random())
    left, upper, right, lower = pixels((clip.width, clip.height), box)
    return _changed(clip, lambda frame: part(frame, box), (right - left, lower - upper))


def colour(clip: Clip, step: Colour, rng: np.random.Generator) -> Clip:
    """Other colours."""
    brightness, contrast, saturation = (rng.uniform(1 - by, 1 + by) for by in (step.brightness, step.contrast, step.saturation))
    return _changed(clip, lambda frame: coloured(frame, brightness, contrast, saturation))


_CHANGES: dict[str, Any] = {"flip": flip, "crop": crop, "colour": colour}
