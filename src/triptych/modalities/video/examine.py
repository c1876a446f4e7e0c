"""One look at a film that is to be learnt from: some frames of it, whether they can be seen and move, and a sketch of it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Any

import numpy as np
from PIL import Image

from triptych.contract.examined import Examined, Fault
from triptych.modalities.video.prepare import moments
from triptych.modalities.video.read import Clip

MOMENTS, SIDE = 4, 8  # of the sketch: four frames of 8 by 8 grey pixels are its 256 bytes
FLAT = 4  # levels of 256: a frame with less between its darkest and brightest shows nothing
STILL = 2  # levels of 256 by which the same place of two frames differs in a film that does not move
TINY = 4  # times smaller than what the network sees

CONSTANT = Fault(
    "constant", "one colour all over, in every frame that was looked at", "remove them: there is nothing in them to learn from"
)
UNMOVING = Fault("still", "nothing moves in them", "check how they were made; a picture each would do", "note")
DAMAGED = Fault("damaged", "damaged: some of their frames cannot be decoded, and are left out", "copy them again from where they came")


def examine(clip: Clip, settings: Any) -> Examined:
    """The sketch is 4 frames from equal parts of the film, each of 8 by 8 grey pixels.

    So it survives another size, format, quality and frame rate, and a cut of a few hundredths. It does not survive a crop, a
    mirror, another speed. Four frames are decoded whatever the film's length.
    """
    frames = list(clip.at([(place + 0.5) * clip.seconds / MOMENTS for place in range(MOMENTS)]))
    greys = [frame.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX) for frame in frames if frame is not None]
    flat = all(high - low < FLAT for frame in frames if frame is not None for low, high in _ranges(frame))
    whole = len(greys) == MOMENTS and not flat
    seen = b"".join(grey.tobytes() for grey in greys)
    return Examined(
        content=int.from_bytes(sha1(f"{clip.known.mark} {clip.count} ".encode() + seen, usedforsecurity=False).digest()[:8], "little"),
        sketch=seen if whole else b"",
        measures={"seconds": clip.seconds},
        length=len(moments(clip.seconds, settings)),
        traits={"shape": "upright" if clip.height > clip.width else "wide"},
        faults=tuple(_faults(clip, settings, frames, greys, flat)),
    )


def _ranges(frame: Image.Image) -> Any:
    return frame.getextrema()


def _faults(clip: Clip, settings: Any, frames: list[Image.Image | None], greys: list[Image.Image], flat: bool) -> list[Fault]:
    faults = []
    if len(greys) < len(frames):
        faults.append(DAMAGED)
    if flat:
        return [*faults, CONSTANT]
    if clip.count > 1 and len(greys) > 1 and _still(greys):
        faults.append(UNMOVING)
    if max(clip.width, clip.height) * TINY <= settings.size:
        faults.append(_tiny(settings.size))
    if clip.rate < 0.9 * settings.rate:
        faults.append(_slow(settings.rate))
    if clip.seconds * settings.rate > settings.frames + 1:
        faults.append(_long(settings.frames, settings.rate))
    return faults


def _still(greys: list[Image.Image]) -> bool:
    levels = [np.asarray(grey, np.int16) for grey in greys]
    return all(int(np.abs(level - levels[0]).max()) < STILL for level in levels[1:])


@lru_cache
def _tiny(size: int) -> Fault:
    text = f"a quarter or less of the {size} pixels that the network sees: they are blown up"
    return Fault("tiny", text, "find larger ones, or lower prepare.size", "warning", common=0.1)


@lru_cache
def _slow(rate: float) -> Fault:
    return Fault("rate", f"made at fewer than {rate:g} frames a second: some are seen twice", "lower prepare.rate", "note")


@lru_cache
def _long(frames: int, rate: float) -> Fault:
    text = f"longer than {frames} frames at {rate:g} a second: so many are spread over all of it"
    return Fault("thinned", text, "raise prepare.frames, lower prepare.rate, or cut them into rows", "note")
