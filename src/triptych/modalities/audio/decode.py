"""Sound files of all formats -> mono samples: libsndfile first, FFmpeg (PyAV) for what it does not know, films too.

Both read from an open file, never from a name: no URL, no second file and no play list is ever followed. Samples come in
blocks and are mixed at once, so a header that promises a year of sound costs nothing. A span is sought, not decoded up to,
where the format allows it.
"""

from __future__ import annotations

import io
import string
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from triptych.base import container as base
from triptych.base.errors import Absent, BadValue
from triptych.contract.cells import Span
from triptych.modalities.audio.piece import frames, piece

if TYPE_CHECKING:
    import soundfile

MAX_SECONDS = 2 * 3600
MAX_SAMPLES = MAX_SECONDS * 48_000  # what that is at 48 kHz: bounds the memory to 1.4 GB whatever the rate
MIN_RATE, MAX_RATE = 1_000, 768_000
MAX_CHANNELS = 64
BLOCK = 1 << 20  # numbers read at once, of all channels together
SOUGHT = frozenset({"WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF"})
"""Formats of libsndfile in which any sample is found at once, exactly."""
WHOLE = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ALAW", "ULAW"})
"""Whole numbers, which libsndfile divides by the largest: no NaN, and none louder than 1."""


def decode(file: BinaryIO, span: Span | None = None) -> tuple[np.ndarray, int, bool]:
    """An open file, or a span of it -> mono samples (N,), their rate, and whether they are surely numbers from -1 to 1.

    Of a film it is the first sound track.

    Raises:
        BadValue: without the file's name, which the caller knows; `Absent` where a film has no sound, or none in the span.
    """
    with ExitStack() as stack:
        try:
            sound = stack.enter_context(_straight()(_native(file), closefd=False))
        except Exception as refused:
            return *_with_ffmpeg(file, str(refused), span), False
        check_rate(sound.samplerate)
        if sound.channels > MAX_CHANNELS:
            raise BadValue(f"the file says it has {sound.channels} channels; {MAX_CHANNELS} are allowed")
        return _with_libsndfile(sound, span), sound.samplerate, sound.subtype in WHOLE


@contextmanager
def streamed(file: BinaryIO) -> Iterator[tuple[int, float, Iterator[np.ndarray]]]:
    """The rate of an open file, seconds of a film that pass before its sound begins, and its mono samples block by block.

    However long it is, one block is in memory. What is damaged or cut off is said where the blocks come to it.

    Raises:
        BadValue: without the file's name, which the caller knows.
    """
    with ExitStack() as stack:
        try:
            sound = stack.enter_context(_straight()(_native(file), closefd=False))
        except Exception as refused:
            container = stack.enter_context(_opened(file, str(refused)))
            stream, rate = _track(container)
            late = max(0.0, base.begins(stream) - base.origin(container, stream)) if base.moving(container) is not None else 0.0
            yield rate, late, _mixed(frames(container, stream, rate), rate, 0)
            return
        check_rate(sound.samplerate)
        promised = sound.frames if 0 <= sound.frames < 1 << 62 else 0
        yield sound.samplerate, 0.0, _mixed(_blocks(sound), sound.samplerate, promised)


def _mixed(blocks: Iterator[np.ndarray], rate: int, promised: int) -> Iterator[np.ndarray]:
    """Blocks as they come, mixed; what fails, or is less than promised, is refused with the seconds that were read."""
    count, problem = 0, ""
    try:
        for block_NC in blocks:
            count += len(block_NC)
            yield mono(block_NC)
    except BadValue:
        raise
    except Exception as error:
        problem = str(error).strip() or type(error).__name__
    _refuse_short(count, promised, rate, problem)


def _with_libsndfile(sound: Any, span: Span | None) -> np.ndarray:
    promised = sound.frames if 0 <= sound.frames < 1 << 62 else 0  # a stream without a length says 2^63 - 1
    if span is not None and promised:
        found = _sought if sound.format in SOUGHT else _passed_to
        return found(sound, *_places(span, promised / sound.samplerate, sound.samplerate))
    check_length(promised, sound.samplerate)
    return _cut(_collected(_blocks(sound), sound.samplerate, promised), sound.samplerate, span)


@cache
def _straight() -> type[soundfile.SoundFile]:
    """A file of libsndfile's that is read from front to back.

    After each read `SoundFile` seeks to where it already is, if it may seek. For FLAC that decodes a frame again: a tenth of
    the time of a short file.
    """
    import soundfile

    class Straight(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Straight


def _places(span: Span, seconds: float, rate: int) -> tuple[int, int]:
    """The first sample of a span and the one after its last; one at least."""
    start, end = span.within(seconds)
    return round(start * rate), max(round(end * rate), round(start * rate) + 1)


def _cut(samples_N: np.ndarray, rate: int, span: Span | None, seconds: float = 0.0) -> np.ndarray:
    """A span of samples that were all decoded; `seconds` is how long the file is where that is longer."""
    if span is None:
        return samples_N
    start, end = _places(span, max(seconds, len(samples_N) / rate), rate)
    return samples_N[start:end]


def _sought(sound: Any, start: int, end: int) -> np.ndarray:
    """Samples of a file in which any place is found at once."""
    check_length(end - start, sound.samplerate)
    end = min(end, sound.frames)
    try:
        sound.seek(start)
    except Exception as error:
        raise BadValue(f"the sound is damaged: {start / sound.samplerate:.2f} s of it are not found ({error})") from error
    return _collected(_blocks(sound, end - start), sound.samplerate, end - start)


def _native(file: BinaryIO) -> int | BinaryIO:
    """The number under which the system knows an open file, if it does."""
    try:
        return file.fileno()
    except io.UnsupportedOperation:
        return file


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


def _passed_to(sound: Any, start: int, end: int) -> np.ndarray:
    """Samples of a file in which a place found at once is some hundred samples off (MP3, Ogg): what comes before is decoded too."""
    check_length(end - start, sound.samplerate)
    passed = 0

    def wanted() -> Iterator[np.ndarray]:
        nonlocal passed
        for block_NC in _blocks(sound, end):
            yield block_NC[max(start - passed, 0) :]
            passed += len(block_NC)

    return _collected(wanted(), sound.samplerate, min(end, sound.frames) - start)


def _blocks(sound: Any, most: int = 1 << 62) -> Iterator[np.ndarray]:
    """Samples, `most` of them at most, in as few reads as may be. One read that gives less than was asked is the last.

    No more is asked for than the header promises, which is all that libsndfile gives.
    """
    step = BLOCK // sound.channels
    if 0 < sound.frames < 1 << 62:
        most = min(most, sound.frames)
    while most > 0:
        asked = min(step, most)
        block_NC = sound.read(asked, dtype="float32", always_2d=True)
        if len(block_NC):
            yield block_NC
        if len(block_NC) < asked:
            return
        most -= len(block_NC)


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
    _refuse_short(count, promised, rate, problem)
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, np.float32)])


def _refuse_short(count: int, promised: int, rate: int, problem: str) -> None:
    if problem or count < promised:
        length = f" of {promised / rate:.2f}" if promised else ""
        raise BadValue(
            f"the sound is damaged or cut off: {count / rate:.2f}{length} s could be read" + (f" ({problem})" if problem else ""),
            fix="copy the file again, or convert what is left of it",
        )


def _with_ffmpeg(file: BinaryIO, refused: str, span: Span | None) -> tuple[np.ndarray, int]:
    with _opened(file, refused) as container:
        stream, rate = _track(container)
        film = base.moving(container) is not None
        seconds = container.duration / 1_000_000 if container.duration and (film or base.is_format(container, base.INDEXED)) else 0.0
        if span is not None and seconds and base.is_format(container, base.INDEXED):
            return _of_span(file, container, span, seconds, film), rate
        promised = _promised(container, rate, film)
        check_length(promised, rate)
        samples_N = _collected(frames(container, stream, rate), rate, 0)
    if len(samples_N) < 0.95 * promised - rate // 2:
        raise BadValue(
            f"the sound is cut off: {len(samples_N) / rate:.2f} of {promised / rate:.2f} s could be read", fix="copy the file again"
        )
    return _in_film(_cut(samples_N, rate, span, seconds), film, span), rate


def _track(container: Any) -> tuple[Any, int]:
    """The first sound track and its rate."""
    if not container.streams.audio:
        others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise Absent(f"there is no sound in the file, only {others}")
    stream = container.streams.audio[0]
    rate = (stream.codec_context.sample_rate if stream.codec_context is not None else 0) or 0
    check_rate(rate)
    return stream, rate


def _opened(file: BinaryIO, refused: str) -> Any:
    file.seek(0)
    try:
        return base.opened(file)
    except Exception as error:
        raise _unknown(file, refused) from error


def _of_span(file: BinaryIO, container: Any, span: Span, seconds: float, film: bool) -> np.ndarray:
    """A piece of a file whose format finds any time. Of a film, the sound may begin later or end earlier than the pictures."""
    stream = container.streams.audio[0]
    rate = stream.codec_context.sample_rate
    late = round((base.begins(stream) - base.origin(container, stream)) * rate) if film else 0
    start, end = (place - late for place in _places(span, seconds, rate))
    check_length(end - start, rate)
    last = end if span.end is not None else 1 << 62  # the last frame may be longer than the header says
    samples_N = _collected(piece(file, max(start, 0), last), rate, 0)
    if not film and len(samples_N) < min(0.95 * (end - start), end - start - rate // 20):
        raise BadValue(f"the sound is cut off: {len(samples_N) / rate:.2f} s of the span {span.start:g}-{end / rate:g} s could be read")
    return _in_film(samples_N, film, span)


def _in_film(samples_N: np.ndarray, film: bool, span: Span | None) -> np.ndarray:
    if film and not len(samples_N):
        where = f"between {span.start:g} and {span.end:g} s" if span and span.end is not None else "in it"
        raise Absent(f"the film has a sound track, but nothing {where}")
    return samples_N


def _promised(container: Any, rate: int, film: bool) -> int:
    """Samples the header promises; 0 where it does not know. A picture may last longer than its sound, so sound alone counts."""
    stream = container.streams.audio[0]
    if film or not base.is_format(container, base.KNOWN_LENGTH):
        return 0
    if stream.duration and stream.time_base:
        return int(stream.duration * stream.time_base * rate)
    return int(container.duration * rate / 1_000_000) if container.duration else 0


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
