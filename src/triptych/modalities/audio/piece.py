"""A piece of a recording that FFmpeg reads: found by its time, exact to a sample, without decoding all that comes before.

After a jump a decoder needs some frames before it gives what it would have given without the jump, so it starts a second
early. Where the container's clock is coarser than a sample (Matroska: a millisecond), the place of a frame is known from its
number, as all frames of such a track have one length; where they have not, everything from the start is decoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from triptych.base.container import opened

EARLY = 1.0  # seconds
CLOCK = 0.002  # seconds by which a coarse clock may be wrong


def piece(file: BinaryIO, start: int, end: int) -> Iterator[np.ndarray]:
    """Blocks (n, C) of the samples `start` to `end` of the first sound track; fewer where it ends before."""
    for jump in (True, False):
        file.seek(0)
        with opened(file) as container:
            stream = container.streams.audio[0]
            rate = stream.codec_context.sample_rate
            at, found = _jumped(container, stream, rate, start) if jump else (0, frames(container, stream, rate))
            if at > start:
                continue
            for block_NC in found:
                if at >= end:
                    return
                if at + len(block_NC) > start:
                    yield block_NC[max(start - at, 0) : end - at]
                at += len(block_NC)
            return


def frames(container: Any, stream: Any, rate: int) -> Iterator[np.ndarray]:
    """All frames of a track as (n, C)."""
    for frame in container.decode(stream):
        yield _samples(frame, rate)


def _samples(frame: Any, rate: int) -> np.ndarray:
    if frame.sample_rate != rate:
        raise ValueError(f"the rate changes from {rate} to {frame.sample_rate}")
    samples: np.ndarray = frame.to_ndarray()
    return samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))


def _jumped(container: Any, stream: Any, rate: int, start: int) -> tuple[int, Iterator[np.ndarray]]:
    """The place of a sample before `start`, and the frames from there on; a place after `start` where it cannot be known."""
    target = start - round(EARLY * rate)
    if target <= rate:
        return 0, frames(container, stream, rate)
    decoded = container.decode(stream)
    first, second = next(decoded), next(decoded)
    container.seek(int((first.time + target / rate) / stream.time_base), stream=stream)
    decoded = container.decode(stream)
    whole = next((frame for frame in decoded if frame.samples == second.samples), None)
    place = None if whole is None or whole.time is None else _place(whole, first, second, rate)
    if place is None:
        return start + 1, iter(())
    return place, (_samples(frame, rate) for frame in itertools.chain([whole], decoded))


def _place(frame: Any, first: Any, second: Any, rate: int) -> int | None:
    """Samples before a frame, counted from the first of the track."""
    passed = (frame.time - first.time) * rate
    if frame.time_base * rate <= 1:
        return round(passed)
    number = round((passed - first.samples) / second.samples)
    place = int(first.samples + number * second.samples)
    return place if abs(place - passed) <= CLOCK * rate else None
