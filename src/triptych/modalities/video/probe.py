"""What is known of a film without decoding it: when its frames are shown, where decoding can begin, how long it is.

Only packets are read, and of a span only those of the span where the format has an index, so this is quick on a long film.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, BinaryIO

import numpy as np

from triptych.base import container as base
from triptych.base.errors import Absent, BadValue
from triptych.contract.cells import Span

MAX_PIXELS = 40_000_000
"""Larger frames are refused from the header; 8K has 33 million."""
MAX_SECONDS = 2 * 3600
MAX_FRAMES = 1_000_000
CLOCK = 0.001
"""Seconds by which a container's clock may be wrong: Matroska counts milliseconds."""


@dataclass(frozen=True)
class Probe:
    """Times are seconds from the beginning of the film. `exact`: the times of packets are those of frames."""

    start: float
    end: float
    times_F: np.ndarray
    keys_K: np.ndarray
    exact: bool
    mark: int


@dataclass
class _Seen:
    """What was gathered from packets."""

    times: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    end: float = 0.0
    latest: float = 0.0
    exact: bool = True
    whole: bool = False
    mark: Any = field(default_factory=lambda: sha1(usedforsecurity=False))


def probe(file: BinaryIO, span: Span | None) -> Probe:
    """Look through an open file.

    Raises:
        BadValue: without the file's name: no film, damaged, cut off, too large, too long, or the span does not lie in it.
    """
    try:
        container = base.opened(file)
    except Exception as error:
        raise _unknown(file, error) from error
    with container:
        stream = pictures(container)
        indexed = base.is_format(container, base.INDEXED) and bool(container.duration)
        promised = container.duration / 1_000_000 if indexed else 0.0
        if span is not None and indexed:
            start, end = span.within(promised)
            seen = _gathered(container, stream, start, end)
        else:
            seen = _gathered(container, stream, 0.0, promised or float("inf"))
            length = max(promised, seen.latest)
            start, end = span.within(length) if span is not None and seen.times else (0.0, length)
        _check_whole(seen, min(end, promised))
    return _known(seen, start, end, whole=span is None)


def pictures(container: Any) -> Any:
    """The stream of moving pictures.

    Raises:
        BadValue: there is none, no decoder knows it, or its frames are too large.
    """
    stream = base.moving(container)
    if stream is None:
        others = ", ".join(sorted({other.type for other in container.streams} - {"video"})) or "nothing"
        raise Absent(f"there are no moving pictures in the file, only {others}")
    context = stream.codec_context
    if context is None:
        raise BadValue("no decoder knows the film's codec", fix="convert it to H.264 in MP4")
    if context.width * context.height > MAX_PIXELS:
        raise BadValue(
            f"the film's frames are too large: {context.width} x {context.height} pixels, more than {MAX_PIXELS:,}",
            fix="save it smaller; if it is not that large, its header is damaged",
        )
    return stream


def _gathered(container: Any, stream: Any, start: float, end: float) -> _Seen:
    """The packets of a span. Where the index leads to a place behind its start, all from the beginning."""
    zero = base.origin(container, stream)
    if start > 1:
        seek(container, stream, zero + start)
        seen = _packets(container, stream, zero, end)
        if seen.times and min(seen.times) <= start + CLOCK:
            return seen
        seek(container, stream, 0.0)
    return _packets(container, stream, zero, end)


def seek(container: Any, stream: Any, seconds: float) -> None:
    """Go to the last place at or before a time of the stream's own clock from which it can be decoded; stay where there is none."""
    import av

    with suppress(av.FFmpegError):
        container.seek(int(seconds / stream.time_base), stream=stream)


def _packets(container: Any, stream: Any, zero: float, end: float) -> _Seen:
    seen = _Seen()
    first = None
    for packet in _demuxed(container, stream, seen):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        time = float(stamp * packet.time_base) - zero
        lasts = float((packet.duration or 0) * packet.time_base)
        if packet.stream.index != stream.index:
            seen.latest = max(seen.latest, time + lasts)
            continue
        before = float((stamp if packet.dts is None else packet.dts) * packet.time_base) - zero
        if before >= end - CLOCK:
            return seen
        first = time if first is None else first
        seen.times.append(time)
        seen.exact = seen.exact and packet.pts is not None
        seen.end = max(seen.end, time + lasts)
        seen.latest = max(seen.latest, time + lasts)
        if packet.is_keyframe:
            seen.keys.append(time)
        seen.mark.update(f"{packet.size} {round(time - first, 2)} ".encode())
        if len(seen.times) > MAX_FRAMES:
            raise BadValue(f"the film has more than {MAX_FRAMES:,} frames", fix="cut it into shorter ones, or into spans")
    seen.whole = True
    return seen


def _demuxed(container: Any, stream: Any, seen: _Seen) -> Iterator[Any]:
    """Packets of the pictures, and of the sound beside them, which tells how far a file goes."""
    packets = container.demux([stream, *container.streams.audio[:1]])
    while True:
        try:
            packet = next(packets, None)
        except Exception as error:  # a damaged file may break a demuxer in any way
            if not seen.times:
                raise BadValue(f"the film is damaged: no frame is found ({_reason(error)})", fix="copy the file again") from error
            return
        if packet is None:
            return
        yield packet


def _check_whole(seen: _Seen, promised: float) -> None:
    if not seen.times:
        raise BadValue("there are no frames in the film, or none in the span: only a header, or only sound")
    if seen.whole and seen.latest < 0.95 * promised - 0.5:
        raise BadValue(f"the film is cut off: {seen.latest:.2f} of {promised:.2f} s could be read", fix="copy the file again")


def _known(seen: _Seen, start: float, end: float, whole: bool) -> Probe:
    times_F, keys_K = np.sort(np.array(seen.times)), np.sort(np.array(seen.keys or [min(seen.times)]))
    gap = float(np.median(np.diff(times_F))) if len(times_F) > 1 else 1 / 25
    last = max(seen.end, float(times_F[-1]) + gap)
    if whole:
        start, end = max(0.0, float(times_F[0])), last
    end = min(end, last)
    if end - start > MAX_SECONDS:
        fix = "cut it into shorter ones, or into spans"
        raise BadValue(f"the film is {end - start:,.0f} s long; {MAX_SECONDS:,} s are allowed", fix=fix)
    first = max(0, int(np.searchsorted(times_F, start + CLOCK, "right")) - 1)
    times_F = times_F[first : max(int(np.searchsorted(times_F, end - CLOCK)), first + 1)]
    if end <= start or times_F[0] >= end:
        raise Absent(f"the film has no pictures from {start:.2f} s on; they end at {last:.2f} s")
    mark = int.from_bytes(seen.mark.digest()[:8], "little")
    return Probe(start, end, times_F, keys_K, seen.exact, mark)


def _unknown(file: BinaryIO, error: Exception) -> BadValue:
    """No format is recognised: say what the file begins with."""
    file.seek(0)
    begin = file.read(16)
    shown = f"the text {begin.decode()!r}" if begin.isascii() and begin.decode().isprintable() else f"the bytes {begin[:8].hex(' ')}"
    return BadValue(f"this is not a film that can be read: it begins with {shown} ({_reason(error)})", fix="convert it to H.264 in MP4")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
