"""Containers of FFmpeg (PyAV), opened from an open file and never from a name: no URL, no second file, no play list is followed."""

from __future__ import annotations

from typing import Any, BinaryIO

FORMATS = "aac,ac3,aiff,amr,ape,asf,au,caf,flac,flv,avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,tta,wav,w64,wv"
"""The demuxers FFmpeg may choose from: files that hold their streams themselves, no play lists and no devices."""

KNOWN_LENGTH = frozenset({"mov", "matroska", "webm", "asf", "ogg"})
"""Formats whose header gives the true length; of the others FFmpeg guesses it from the bit rate."""

INDEXED = frozenset({"mov", "matroska", "webm"})
"""Formats in which a time is found by an index, and what is found there has its true time."""

APART = 0.1
"""Seconds by which two tracks of a file may begin apart and still be taken to begin together."""


def opened(file: BinaryIO) -> Any:
    """The container, to be closed by the caller. Whatever FFmpeg finds wrong is raised as it comes."""
    import av

    return av.open(file, mode="r", metadata_errors="replace", options={"format_whitelist": FORMATS, "protocol_whitelist": "none"})


def is_format(container: Any, names: frozenset[str]) -> bool:
    """Whether the container is one of these formats; FFmpeg calls one by all its names: `mov,mp4,m4a`."""
    return bool(names & set(container.format.name.split(",")))


def moving(container: Any) -> Any | None:
    """The stream of moving pictures, if there is one; the cover of an album is none."""
    from av.stream import Disposition

    return next((stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic), None)


def begins(stream: Any) -> float:
    """Seconds at which a stream's own times begin."""
    return float(stream.start_time * stream.time_base) if stream.start_time is not None and stream.time_base else 0.0


def origin(container: Any, stream: Any) -> float:
    """What counts as second 0 of a file for one of its streams: the stream's begin, or that of one that begins clearly earlier."""
    own = begins(stream)
    others = [begins(other) for other in (moving(container), *container.streams.audio[:1]) if other is not None]
    first = min([own, *others])
    return first if own - first > APART else own
