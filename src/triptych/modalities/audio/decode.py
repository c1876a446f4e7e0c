"""Sound files of all formats -> mono samples: libsndfile first, FFmpeg (PyAV) for what it does not know.

Both read from an open file, never from a name: no URL, no second file and no play list is ever followed. Samples come in
blocks and are mixed at once, so a header that promises a year of sound costs nothing.
"""

from __future__ import annotations

import io
import os
import string
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import numpy as np

from triptych.base.errors import BadValue

MAX_SECONDS = 2 * 3600
MAX_SAMPLES = MAX_SECONDS * 48_000  # what that is at 48 kHz: bounds the memory to 1.4 GB whatever the rate
MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 64
BLOCK = 1 << 20  # numbers read at once, of all channels together

MOST_COPIED = 64 << 20  # bytes of a file in memory that are laid where libsndfile can read them itself

FORMATS = "aac,ac3,aiff,amr,ape,asf,au,caf,flac,flv,avi,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,ogg,tta,wav,w64,wv"
"""The demuxers FFmpeg may choose from: files that hold their sound themselves, no play lists and no devices."""

KNOWN_LENGTH = {"mov", "matroska", "webm", "asf", "ogg"}
"""Formats whose header gives the true length; of the others FFmpeg guesses it from the bit rate."""


def decode(file: BinaryIO) -> tuple[np.ndarray, int]:
    """An open file -> mono samples (N,) and their rate.

    Raises:
        BadValue: without the file's name, which the caller knows.
    """
    import soundfile

    with ExitStack() as stack:
        try:
            sound = stack.enter_context(soundfile.SoundFile(stack.enter_context(_native(file)), closefd=False))
        except Exception as refused:
            return _with_ffmpeg(file, str(refused))
        check_rate(sound.samplerate)
        if sound.channels > MAX_CHANNELS:
            raise BadValue(f"the file says it has {sound.channels} channels; {MAX_CHANNELS} are allowed")
        promised = sound.frames if 0 <= sound.frames < 1 << 62 else 0  # a stream without a length says 2^63 - 1
        check_length(promised, sound.samplerate)
        return _collected(_blocks(sound, promised), sound.samplerate, promised), sound.samplerate


@contextmanager
def _native(file: BinaryIO) -> Iterator[int | BinaryIO]:
    """The file as the system knows it: libsndfile then reads by itself, where it would call Python for every piece, lock and all.

    Bytes become a file in memory, where the system has such files.
    """
    try:
        yield file.fileno()
        return
    except io.UnsupportedOperation:
        content = file.read()
        file.seek(0)
    if not hasattr(os, "memfd_create") or len(content) > MOST_COPIED:
        yield file
        return
    handle = os.memfd_create("sound")
    try:
        with open(handle, "wb", closefd=False) as copy:
            copy.write(content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def mono(samples_NC: np.ndarray) -> np.ndarray:
    """(N, C) of any number type -> the mean of the channels (N,), integers scaled by their type to -1..1."""
    kind = samples_NC.dtype
    if kind.kind == "f":
        floats = samples_NC if kind.itemsize >= 4 else samples_NC.astype(np.float32)
    elif kind.kind in "iu" and kind.itemsize <= 4:
        half = 2.0 ** (8 * kind.itemsize - 1)
        floats = samples_NC.astype(np.float32 if kind.itemsize <= 2 else np.float64)
        floats = (floats - half if kind.kind == "u" else floats) / floats.dtype.type(half)
    else:
        raise BadValue(f"samples of type {kind} have no known loudest value", fix="give floats in -1..1, or int16")
    if floats.shape[1] == 1:
        return floats[:, 0]
    with np.errstate(all="ignore"):  # what overflows here is refused as infinite later
        return np.asarray(floats.mean(axis=1))


def check_rate(rate: int) -> None:
    """Refuse a rate that no recording has."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadValue(
            f"the rate is {rate} samples a second; {MIN_RATE} to {MAX_RATE} are allowed",
            fix="the header may be damaged: convert the file again",
        )


def check_length(samples: int, rate: int) -> None:
    """Refuse what is too long to hold in memory."""
    if samples > min(MAX_SECONDS * rate, MAX_SAMPLES):
        most = min(MAX_SECONDS, MAX_SAMPLES / rate)
        raise BadValue(
            f"the sound is {samples / rate:,.0f} s long; {most:,.0f} s are allowed at {rate} samples a second",
            fix="cut it into shorter files",
        )


def _blocks(sound: Any, promised: int) -> Iterator[np.ndarray]:
    """The samples in as few reads as may be, since each makes libsndfile seek; one that gives less than was asked is the last."""
    most = BLOCK // sound.channels
    most = min(most, promised + 1) if promised else most
    while True:
        block_NC = sound.read(most, dtype="float32", always_2d=True)
        if len(block_NC):
            yield block_NC
        if len(block_NC) < most:
            return


def _collected(blocks: Iterator[np.ndarray], rate: int, promised: int) -> np.ndarray:
    """Mix and join blocks; one that fails, or fewer samples than promised, is refused with the seconds that were read."""
    parts: list[np.ndarray] = []
    count = 0
    problem = ""
    try:
        for block_NC in blocks:
            parts.append(mono(block_NC))
            count += len(block_NC)
            check_length(count, rate)
    except BadValue:
        raise
    except Exception as error:
        problem = str(error).strip() or type(error).__name__
    if problem or count < promised:
        length = f" of {promised / rate:.2f}" if promised else ""
        raise BadValue(
            f"the sound is damaged or cut off: {count / rate:.2f}{length} s could be read" + (f" ({problem})" if problem else ""),
            fix="copy the file again, or convert what is left of it",
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, np.float32)])


def _with_ffmpeg(file: BinaryIO, refused: str) -> tuple[np.ndarray, int]:
    import av

    file.seek(0)
    try:
        container = av.open(file, mode="r", metadata_errors="replace", options={"format_whitelist": FORMATS, "protocol_whitelist": "none"})
    except Exception as error:
        raise _unknown(file, refused) from error
    with container:
        if not container.streams.audio:
            others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise BadValue(f"there is no sound in the file, only {others}")
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate if stream.codec_context is not None else 0
        check_rate(rate or 0)
        promised = _promised(container, rate)
        check_length(promised, rate)
        samples_N = _collected(_frames(container, stream, rate), rate, 0)
    if len(samples_N) < 0.95 * promised - rate // 2:
        raise BadValue(
            f"the sound is cut off: {len(samples_N) / rate:.2f} of {promised / rate:.2f} s could be read", fix="copy the file again"
        )
    return samples_N, rate


def _promised(container: Any, rate: int) -> int:
    """Samples the header promises; 0 where it does not know. A picture may last longer than its sound, so sound alone counts."""
    stream = container.streams.audio[0]
    if not KNOWN_LENGTH & set(container.format.name.split(",")) or container.streams.video:
        return 0
    if stream.duration and stream.time_base:
        return int(stream.duration * stream.time_base * rate)
    return int(container.duration * rate / 1_000_000) if container.duration else 0


def _frames(container: Any, stream: Any, rate: int) -> Iterator[np.ndarray]:
    for frame in container.decode(stream):
        if frame.sample_rate != rate:
            raise ValueError(f"the rate changes from {rate} to {frame.sample_rate}")
        samples = frame.to_ndarray()
        yield samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))


def _unknown(file: BinaryIO, refused: str) -> BadValue:
    """Nobody knows the format: say what the file begins with."""
    file.seek(0)
    start = file.read(24)
    readable = start.decode("ascii", errors="replace")
    plain = all(letter in string.printable for letter in readable)
    shown = f"the text {readable!r}" if plain else f"the bytes {start[:8].hex(' ')}"
    reason = refused.rsplit(": ", 1)[-1].strip().rstrip(".")
    return BadValue(
        f"this is not a sound file that can be read: it begins with {shown} ({reason})", fix="convert it to WAV, FLAC, OGG or MP3"
    )
