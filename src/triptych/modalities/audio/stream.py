"""A recording of any length, window by window: decoded once from front to back, with one window in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob
from triptych.modalities.audio import decode
from triptych.modalities.audio.read import Recording, bounded

LEAST = 0.02
"""Seconds: what is left behind the last whole window is heard only if it is longer than that; shorter is no sound of a language."""


def windows(source: str | Path | Blob, seconds: float, overlap: float) -> Iterator[tuple[float, Recording]]:
    """(start in seconds, recording) of each window of a file or of its content; the last one ends where the recording does.

    Raises:
        BadValue: it is missing, no sound, damaged or cut off: said when that place is reached.
    """
    name = source.name if isinstance(source, Blob) else str(source)
    if not isinstance(source, Blob) and not Path(source).is_file():
        raise BadValue(
            "there is no such file" if not Path(source).exists() else "this is no file", where=name, fix="give the path of a sound file"
        )
    try:
        with (
            io.BytesIO(source) if isinstance(source, Blob) else Path(source).open("rb") as file,
            decode.streamed(file) as (rate, late, blocks),
        ):
            yield from _cut(blocks, rate, late, seconds, overlap, name)
    except BadValue as error:
        raise type(error)(error.what, where=name, fix=error.fix) from error
    except OSError as error:
        raise BadValue(f"the sound file cannot be opened: {error}", where=name) from error


def _cut(
    blocks: Iterator[np.ndarray], rate: int, late: float, seconds: float, overlap: float, name: str
) -> Iterator[tuple[float, Recording]]:
    size, step = max(1, round(seconds * rate)), max(1, round((seconds - overlap) * rate))
    held_N, at, fresh = np.zeros(0, np.float32), 0, 0
    for block_N in blocks:
        held_N, fresh = np.concatenate([held_N, block_N.astype(np.float32)]), fresh + len(block_N)
        while len(held_N) >= size:
            yield late + at / rate, _window(held_N[:size], rate, name)
            held_N, at = held_N[step:], at + step
            fresh = max(len(held_N) - (size - step), 0)
    if not at and not len(held_N):
        raise BadValue("there are no samples in the sound: only a header, or nothing")
    if not at or fresh > LEAST * rate:
        yield late + at / rate, _window(held_N, rate, name)


def _window(samples_N: np.ndarray, rate: int, name: str) -> Recording:
    scaled_N, peak = bounded(samples_N, rate)
    return Recording(np.ascontiguousarray(scaled_N), rate, name, peak)
