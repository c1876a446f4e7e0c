"""How long a recording is, from its header where that knows: an hour of sound is not decoded to be cut into windows."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from triptych.modalities.audio.read import read

TRUE_LENGTH = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf"
"""Formats that FFmpeg knows the length of from their headers; of the others it guesses it from the bit rate."""


def duration(source: Any) -> float:
    """Path or bytes -> seconds.

    Raises:
        BadValue: as `read` does. A header that promises more than there is, is believed: reading a piece then says what is wrong.
    """
    if isinstance(source, bytes | bytearray):
        return _of_header(io.BytesIO(source)) or read(bytes(source)).seconds
    if not isinstance(source, str | os.PathLike):
        return read(source).seconds
    try:
        with open(source, "rb") as file:
            found = _of_header(file)
    except (OSError, ValueError):
        found = 0.0  # `read` says precisely what is wrong
    return found or read(source).seconds


def _of_header(file: BinaryIO) -> float:
    """Seconds, or 0 where the header does not say."""
    import soundfile

    try:
        with soundfile.SoundFile(file) as sound:
            return float(sound.frames / sound.samplerate) if 0 < sound.frames < 1 << 62 else 0.0
    except Exception:  # whatever its C library finds wrong: the next one is asked
        file.seek(0)
        return _of_container(file)


def _of_container(file: BinaryIO) -> float:
    import av

    options = {"format_whitelist": TRUE_LENGTH, "protocol_whitelist": "none"}
    try:
        container = av.open(file, mode="r", metadata_errors="replace", options=options)
    except Exception:  # what neither can open has no length here; reading it says why
        return 0.0
    with container:
        stream = next(iter(container.streams.audio), None)
        if stream is not None and stream.duration and stream.time_base and not container.streams.video:
            return float(stream.duration * stream.time_base)
        return (container.duration or 0) / 1_000_000  # of a film: its pictures and its sound together, or its pictures alone
