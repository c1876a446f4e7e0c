"""A picture for a report or a page: as it is, and as the network sees it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from triptych.contract.modality import Preparation
from triptych.contract.values import Item, Value

THUMBNAIL = 160
GRID = 32
"""Up to this side every pixel is shown with its number."""
COARSE = 16
"""Cells a side of the grid that stands for a larger picture."""
CELL = 24
"""Side of a cell as drawn, in pixels: room for '-1.2' in a size that can be read."""


def show(value: Value) -> str:
    """A thumbnail of at most 160 pixels; tiny pictures are enlarged with their pixels visible."""
    kind = "grey" if value.mode == "L" else "colour"
    about = f"{kind} picture, {value.width} x {value.height} pixels"
    small = value.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return _figure("value", _img(small, about), about, read=True)


def marked(value: Value, boxes: Mapping[str, Sequence[float]]) -> str:
    """The thumbnail with boxes drawn over it: `truth` dashed, all others drawn through; corners in shares of the picture."""
    about = f"picture, {value.width} x {value.height} pixels, with boxes: {', '.join(boxes)}"
    small = value.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    factor = max(1, 128 // max(small.size))
    width, height = small.width * factor, small.height * factor
    drawn = "".join(_box(name, box, width, height) for name, box in boxes.items())
    inside = (
        f'<svg role="img" aria-label="{escape(about)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto;border:1px solid var(--line, #8884)">'
        f'<image href="{_data_uri(small)}" width="{width}" height="{height}" style="image-rendering:pixelated"/>{drawn}</svg>'
    )
    return _figure(
        "value", inside, f"{value.width} x {value.height} pixels; {', '.join(f'{name}: {_LINES[name == TRUTH]}' for name in boxes)}"
    )


TRUTH = "truth"
_LINES = {True: "dashed", False: "drawn through"}


def _box(name: str, box: Sequence[float], width: int, height: int) -> str:
    """A rectangle in white on black, so that it is seen on any picture."""
    left, top, right, bottom = (edge * side for edge, side in zip(box, (width, height, width, height), strict=True))
    dashes = ' stroke-dasharray="5 4"' if name == TRUTH else ""
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0):.1f}" height="{max(bottom - top, 0):.1f}" fill="none"'
    title = f"<title>{escape(name)}</title>"
    return f'<rect {place} stroke="#000" stroke-width="3.5"{dashes}/><rect {place} stroke="#fff" stroke-width="1.5"{dashes}>{title}</rect>'


def seen(item: Item, preparation: Preparation) -> str:
    """The prepared pixels with their numbers: all of them up to 32 x 32, else means over a grid of 16 x 16."""
    pixels_CHW = preparation.collate([item]).tensors["pixels"][0]
    channels, size = pixels_CHW.shape[:2]
    levels_HWC = _levels(pixels_CHW, preparation)
    numbers_HW = pixels_CHW.mean(0)
    means = ", mean over the 3 channels" if channels > 1 else ""
    about = f"{channels} x {size} x {size} numbers from {_short(pixels_CHW.min())} to {_short(pixels_CHW.max())}"
    if size <= GRID:
        return _figure("seen", _grid(levels_HWC, numbers_HW.numpy(), f"pixel grid, {about}"), f"{about}; in each cell its number{means}")
    picture = Image.fromarray(levels_HWC.squeeze())
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    means_HW = F.adaptive_avg_pool2d(numbers_HW[None], COARSE)[0].numpy()
    coarse = Image.fromarray(levels_HWC.squeeze()).resize((COARSE, COARSE), Image.Resampling.BOX)
    cells_HWC = np.asarray(coarse).reshape(COARSE, COARSE, -1)
    grid = _grid(cells_HWC, means_HW, f"{COARSE} x {COARSE} grid of mean values, {about}")
    beside = _img(picture, f"prepared picture, {size} x {size} pixels") + grid
    return _figure("seen", beside, f"{about}; in each cell the mean of its pixels{means}")


def _levels(pixels_CHW: torch.Tensor, preparation: Preparation) -> NDArray[np.uint8]:
    """The picture again, (H, W, C) from 0 to 255: the normalization undone."""
    mean_C11, std_C11 = (torch.tensor(getattr(preparation, name))[:, None, None] for name in ("mean", "std"))
    levels_CHW = ((pixels_CHW * std_C11 + mean_C11) * 255).round().clamp(0, 255)
    return levels_CHW.permute(1, 2, 0).to(torch.uint8).numpy()


def _grid(levels_HWC: NDArray[np.uint8], numbers_HW: NDArray[np.float32], label: str) -> str:
    """An SVG: the picture drawn in cells, and each cell's number on it in black or white, whichever stands out."""
    side = len(levels_HWC)
    edge = side * CELL
    bright_HW = levels_HWC.mean(2) > 127
    inks = "".join(f'<g fill="{ink}">{_numbers(numbers_HW, chosen)}</g>' for ink, chosen in (("#000", bright_HW), ("#fff", ~bright_HW)))
    picture = _data_uri(Image.fromarray(levels_HWC.squeeze()))
    cells = f'<image href="{picture}" width="{edge}" height="{edge}" style="image-rendering:pixelated"/>'
    return (
        f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {edge} {edge}" '
        f'style="width:100%;max-width:{edge}px;border:1px solid var(--line, #8884)">{cells}'
        f'<g font-family="sans-serif" font-size="9" text-anchor="middle" transform="translate({CELL // 2} {CELL // 2 + 3})">'
        f"{inks}</g></svg>"
    )


def _numbers(numbers_HW: NDArray[np.float32], chosen_HW: NDArray[np.bool_]) -> str:
    places = zip(*chosen_HW.nonzero(), strict=True)
    return "".join(f'<text x="{column * CELL}" y="{row * CELL}">{_short(numbers_HW[row, column])}</text>' for row, column in places)


def _short(number: float | torch.Tensor | np.float32) -> str:
    return f"{float(number):.1f}".replace("-0.0", "0.0")


def _img(image: Image.Image, alt: str) -> str:
    """An `<img>`; pictures of 64 pixels a side or fewer are drawn larger, by a whole number."""
    factor = max(1, 128 // max(image.size))
    pixelated = ";image-rendering:pixelated" if factor > 1 else ""
    width, height = image.width * factor, image.height * factor
    return (
        f'<img src="{_data_uri(image)}" alt="{escape(alt)}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto;border:1px solid var(--line, #8884){pixelated}">'
    )


def _data_uri(image: Image.Image) -> str:
    """PNG for small pictures, where each pixel counts; JPEG for the rest, where bytes do."""
    kind = "PNG" if max(image.size) <= 64 else "JPEG"
    file = BytesIO()
    image.save(file, kind, **({} if kind == "PNG" else {"quality": 85}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _figure(role: str, inside: str, caption: str, read: bool = False) -> str:
    """What is shown with its caption; `read` where a screen reader reads the same words off the picture, and needs them once."""
    once = ' aria-hidden="true"' if read else ""
    return (
        f'<figure class="{role} image" style="margin:0;color:var(--ink, currentColor)">'
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{inside}</div>'
        f'<figcaption{once} style="color:var(--muted, #888);font-size:.85em">{escape(caption)}</figcaption></figure>'
    )
