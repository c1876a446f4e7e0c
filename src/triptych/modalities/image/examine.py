"""One look at a picture that is to be learnt from: its size, whether it shows anything, and a sketch of it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Any

from PIL import Image

from triptych.contract.examined import Examined, Fault

SIDE = 16  # of the sketch, whose pixels are its 256 bytes
FLAT = 4  # levels of 256: a picture with less between its darkest and brightest shows nothing
TINY = 4  # times smaller than what the network sees

CONSTANT = Fault("constant", "one colour all over", "remove them: there is nothing in them to learn from")


def examine(image: Image.Image, settings: Any) -> Examined:
    """The sketch is 16 by 16 grey pixels, each the mean of its part of the picture.

    So it survives another size, other proportions, another format and quality, grey instead of colour, a little more light
    or contrast. It does not survive a crop of more than a few hundredths, a mirror, a turn, a caption laid over.
    """
    grey = image if image.mode == "L" else image.convert("L")
    least, most = grey.getextrema()
    flat = float(most) - float(least) < FLAT  # type: ignore[arg-type]
    if flat and image.mode != "L":  # red beside green of the same light is no constant picture
        flat = all(float(high) - float(low) < FLAT for low, high in image.getextrema())  # type: ignore[misc]
    sketch = b"" if flat else grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return Examined(
        content=_content(image),
        sketch=sketch,
        measures={"width": image.width, "height": image.height},
        traits={} if settings.channels == 1 else {"colour": "grey" if image.mode == "L" else "colour"},
        faults=_faults(image, settings, flat),
    )


def _content(image: Image.Image) -> int:
    made = sha1(f"{image.mode} {image.size}".encode(), usedforsecurity=False)
    made.update(image.tobytes())
    return int.from_bytes(made.digest()[:8], "little")


def _faults(image: Image.Image, settings: Any, flat: bool) -> tuple[Fault, ...]:
    if flat:
        return (CONSTANT,)
    return (_tiny(settings.size),) if max(image.size) * TINY <= settings.size else ()


@lru_cache
def _tiny(size: int) -> Fault:
    text = f"a quarter or less of the {size} pixels that the network sees: they are blown up"
    return Fault("tiny", text, "find larger ones, or lower prepare.size", "warning", common=0.1)
