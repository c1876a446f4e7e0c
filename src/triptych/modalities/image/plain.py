"""From any colour mode or number type to 8 bits: mode L or RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triptych.base.errors import BadValue


def plain(image: Image.Image, where: str) -> Image.Image:
    """Any mode to L or RGB; transparent pictures are laid on white. Raises BadValue that names `where`."""
    if image.mode.startswith(("I", "F")):
        return _from_wide(image, where)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        return _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise BadValue(f"the picture's colour mode {image.mode} is not read here", where=where, fix="export it as RGB") from error


def _on_white(image: Image.Image) -> Image.Image:
    mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
    layered = image.convert(mode)
    white = Image.new(mode[:-1], layered.size, "white")
    return Image.composite(layered.convert(mode[:-1]), white, layered.getchannel("A"))


def _from_wide(image: Image.Image, where: str) -> Image.Image:
    """16-bit, 32-bit and float grey to 8 bits; see the head of `read.py` for the ranges."""
    levels = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(_narrowed(levels))
    levels = levels.astype(np.float64)
    if not np.isfinite(levels).all():
        raise BadValue("the picture holds values that are not numbers (NaN or infinite)", where=where)
    low, high = (0.0, 1.0) if image.mode == "F" else (0.0, 65535.0)
    least, most = float(levels.min()), float(levels.max())
    if least < low or most > high:
        low, high = least, max(most, least + 1e-12)
    return Image.fromarray(np.rint((levels - low) / (high - low) * 255).astype(np.uint8))


def as_bytes(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Bool, uint8, uint16 or float (0..1) to uint8. Raises BadValue that names `where` for anything else."""
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == np.bool_:
        return np.where(array, np.uint8(255), np.uint8(0))
    if array.dtype == np.uint16:
        return _narrowed(array)
    if array.dtype.kind != "f":
        raise BadValue("an array of this type is not a picture", where=where, known=("bool", "uint8", "uint16", "float from 0 to 1"))
    if not np.isfinite(array).all():
        raise BadValue("the array holds values that are not numbers (NaN or infinite)", where=where)
    if array.min() < 0 or array.max() > 1:
        raise BadValue(f"float pixels go from 0 to 1, these from {array.min():.4g} to {array.max():.4g}", where=where, fix="divide by 255")
    levels: NDArray[np.uint8] = np.rint(array.astype(np.float32) * np.float32(255)).astype(np.uint8)
    return levels


def _narrowed(array: NDArray[Any]) -> NDArray[np.uint8]:
    """0..65535 to the nearest of 0..255."""
    levels: NDArray[np.uint8] = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return levels
