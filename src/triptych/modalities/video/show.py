"""A film for people: a sheet of frames with their times; and what the network sees of it."""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np
import torch
from PIL import Image

from triptych.contract.modality import Preparation
from triptych.contract.values import Item
from triptych.modalities.video.read import Clip

MOST = 8  # frames on a sheet
MOST_SEEN = 16
ACROSS = 4
SIDE = 128  # largest side of a frame on it, pixels
LEAST = 64
GAP = 2
MISSING = (190, 60, 60)


def show(clip: Clip) -> str:
    """Up to eight frames from equal parts of the film, with its length, size and rate."""
    count = min(MOST, clip.count)
    times = [(place + 0.5) * clip.seconds / count for place in range(count)]
    frames = [_thumbnail(frame) for frame in clip.at(times)]
    named = f"{clip.name.replace(chr(92), '/').rsplit('/', 1)[-1]}: " if clip.name else ""
    part = f" from {clip.start:.2f} s on" if clip.start > 0 else ""
    missing = f", {frames.count(None)} of these frames missing" if None in frames else ""
    words = f"{named}film of {_seconds(clip.seconds)}{part}, {clip.width} x {clip.height} pixels, {clip.rate:.3g} frames a second{missing}"
    return _figure("value", _sheet(frames), f"{words}; shown: {', '.join(f'{time:.1f}' for time in times)} s")


def seen(item: Item, preparation: Preparation) -> str:
    """The prepared frames, the normalization undone, in the order of time; a missing one is red."""
    pixels_TCHW, real_T = item["pixels"].detach().float().cpu(), item["real"].tolist()
    count, channels, size = pixels_TCHW.shape[:3]
    mean, std = (torch.tensor(getattr(preparation, name))[:, None, None] for name in ("mean", "std"))
    levels_TCHW = ((pixels_TCHW * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    frames: list[Image.Image | None] = []
    chosen = sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_SEEN))})
    for place in chosen:
        square = Image.fromarray(levels_TCHW[place].permute(1, 2, 0).numpy().squeeze()).convert("RGB")
        frames.append(_enlarged(square) if real_T[place] else None)
    numbers = pixels_TCHW[item["real"]]
    span = f"{float(numbers.min()):.2f} to {float(numbers.max()):.2f}" if len(numbers) else "none"
    words = f"{count} frames x {channels} x {size} x {size} numbers, {span}"
    words += f"; {real_T.count(False)} missing" if False in real_T else ""
    words += f"; {len(chosen)} of them shown" if len(chosen) < count else ""
    return _figure("seen", _sheet(frames), words)


def _thumbnail(frame: Image.Image | None) -> Image.Image | None:
    if frame is None:
        return None
    frame.thumbnail((SIDE, SIDE))
    return _enlarged(frame)


def _enlarged(frame: Image.Image) -> Image.Image:
    """Tiny frames by a whole number, their pixels visible; large ones to a size a sheet has room for."""
    if max(frame.size) > SIDE:
        frame.thumbnail((SIDE, SIDE))
    factor = max(1, LEAST // max(frame.size))
    return frame.resize((frame.width * factor, frame.height * factor), Image.Resampling.NEAREST)


def _sheet(frames: list[Image.Image | None]) -> str:
    """All frames as one JPEG, row by row."""
    there = [frame for frame in frames if frame is not None]
    width, height = (max((frame.size[axis] for frame in there), default=LEAST) for axis in (0, 1))
    across = min(ACROSS, len(frames))
    down = math.ceil(len(frames) / across)
    sheet = Image.new("RGB", (across * (width + GAP) - GAP, down * (height + GAP) - GAP), (128, 128, 128))
    for place, frame in enumerate(frames):
        shown = frame or Image.new("RGB", (width, height), MISSING)
        sheet.paste(shown, (place % across * (width + GAP), place // across * (height + GAP)))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=80)
    content = base64.b64encode(out.getvalue()).decode()
    box = "max-width:100%;height:auto;border:1px solid var(--line, #8884)"
    return (
        f'<img alt="{len(frames)} frames in the order of time, from left to right and down" width="{sheet.width}" '
        f'height="{sheet.height}" style="{box}" src="data:image/jpeg;base64,{content}">'
    )


def _figure(role: str, inside: str, caption: str) -> str:
    return (
        f'<figure class="{role} video" style="margin:0;display:inline-block;max-width:100%;color:var(--ink, currentColor)">{inside}'
        f'<figcaption style="color:var(--muted, #888);font-size:.85em">{html.escape(caption)}</figcaption></figure>'
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"
