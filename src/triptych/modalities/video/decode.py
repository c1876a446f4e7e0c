"""Frames of a film at given times, decoded one after the other: never more than two of them are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from triptych.base import container as base
from triptych.modalities.video.probe import CLOCK, MAX_PIXELS, Probe, pictures, seek

# Degrees by which a frame must be turned to stand upright, counted as FFmpeg does, against the clock.
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def shown(file: BinaryIO, known: Probe, times: Sequence[float]) -> Iterator[Image.Image | None]:
    """For each time (seconds of the film, ascending) the frame that a player shows then, upright, RGB.

    None where that frame is missing: it cannot be decoded, or the pictures begin later.
    """
    with base.opened(file) as container:
        player = _Player(container, known)
        for time in times:
            yield _upright(player.at(time))


class _Player:
    """Goes forward through a film; where the next time lies behind a later key frame it jumps there."""

    def __init__(self, container: Any, known: Probe) -> None:
        self.container, self.known, self.stream = container, known, pictures(container)
        self.zero = base.origin(container, self.stream)
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # a film may grow after its header
        self.held: Any = None
        self.following: Any = None
        self.frames = self._decoded()
        self.ended = False

    def at(self, time: float) -> Any:
        """The last frame that begins at or before a time; None where it should be there and is not."""
        known = self.known
        place = int(np.searchsorted(known.times_F, time + CLOCK, "right")) - 1
        if place < 0:
            return None
        wanted = float(known.times_F[place])
        self._jump(wanted)
        until = (wanted if known.exact else time) + CLOCK
        while not self.ended and (self.following is None or self._time(self.following) <= until):
            self.held, self.following = self.following or self.held, next(self.frames, None)
            self.ended = self.following is None
        if self.held is None or self.held.is_corrupt or (known.exact and abs(self._time(self.held) - wanted) > CLOCK):
            return None
        return self.held

    def _jump(self, wanted: float) -> None:
        """To the last key frame before a time, unless decoding has come so far, or the format may lead to a later one."""
        if not base.is_format(self.container, base.INDEXED):
            return
        keys_K = self.known.keys_K
        place = int(np.searchsorted(keys_K, wanted + CLOCK, "right")) - 1
        here = self.following or self.held
        if place >= 0 and keys_K[place] > (CLOCK if here is None else self._time(here) + CLOCK):
            seek(self.container, self.stream, self.zero + float(keys_K[place]) + CLOCK / 2)
            self.held = self.following = None
            self.frames, self.ended = self._decoded(), False

    def _time(self, frame: Any) -> float:
        stamp = frame.pts if frame.pts is not None else frame.dts
        return float((stamp or 0) * frame.time_base) - self.zero

    def _decoded(self) -> Iterator[Any]:
        """Every frame that can be decoded; what cannot is passed over. A damaged file may break demuxer and decoder in any way."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except Exception:  # nothing behind it can be found: those frames are missing
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except Exception:  # the next one may be whole
                continue
            yield from frames


def _upright(frame: Any) -> Image.Image | None:
    """Turned as the film says, with square pixels."""
    if frame is None:
        return None
    try:
        image = Image.fromarray(frame.to_ndarray(format="rgb24"))
    except Exception:  # no such conversion, or a damaged frame
        return None
    shape = getattr(frame, "sample_aspect_ratio", None)
    if shape and 0.1 < shape < 10 and abs(shape - 1) > 0.01:
        image = image.resize((max(1, round(image.width * float(shape))), image.height))
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return image if turn is None else image.transpose(turn)
