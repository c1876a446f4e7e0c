"""Bytes, a path, an array -> a `Recording`; what cannot be read is refused with the reason."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from triptych.base.container import opened
from triptych.base.errors import BadValue
from triptych.contract.cells import Blob, Span
from triptych.modalities.audio import decode
from triptych.modalities.audio.memory import in_memory
from triptych.modalities.audio.straight import content_of, straight

MAX_BYTES = 4 << 30
SOURCES = (
    "a path",
    "bytes",
    "a binary file object",
    "(array, rate)",
    "{'array', 'sampling_rate'}",
    "{'bytes', 'path'}",
    "a Span",
    "a Recording",
)


@dataclass(frozen=True, eq=False)
class Recording:
    """One sound: mono, at the rate it was made with."""

    samples_N: np.ndarray  # float32, -1..1
    rate: int  # samples a second
    name: str = ""  # the file it came from, for messages and captions
    peak: float = 1.0  # the loudest sample as it was given, where that was above 1: all were divided by it

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return len(self.samples_N) / self.rate


def read(source: Any) -> Recording:
    """Read one recording; several channels become their mean, what is louder than -1..1 is scaled down to it.

    `source` is a path, the bytes of a file, a binary file object, (array, rate), a data set's {"array", "sampling_rate"} or
    {"bytes", "path"}, a `Span` of a path or of bytes, or a `Recording`. Arrays are (N,), (N, C) or (C, N), the shorter side
    being the channels; integers are scaled by their type. Of a film it is the sound track.

    Raises:
        BadValue: it is missing, empty, no sound, damaged, too long, or holds NaN; the message says which, and where.
    """
    if isinstance(source, Recording):
        return source
    if isinstance(source, Span):
        whole = source.source
        return _from_bytes(whole, whole.name, source) if isinstance(whole, Blob) else _from_path(os.fspath(whole), source)
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(source, "")
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if isinstance(source, tuple | list) and len(source) == 2:
        return _from_array(source[0], source[1], "")
    if callable(getattr(source, "read", None)):
        return _from_file(source)
    raise BadValue(f"a {type(source).__name__} is not a sound", known=SOURCES)


def holds(source: Any) -> bool:
    """Whether a film, or a file of a film's name, has a sound track; false too for what cannot be opened."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file, opened(file) as container:
            return bool(container.streams.audio)
    except Exception:  # FFmpeg may raise anything at what is damaged; reading it says why
        return False


def _from_path(path: Any, span: Span | None = None) -> Recording:
    name = os.fsdecode(path)
    try:
        known = Path(name)
        if known.is_file():
            if not known.stat().st_size:
                raise BadValue("the sound file is empty (0 bytes)", where=name, fix="copy it again from where it came")
            with known.open("rb", buffering=0) as file:  # what a buffer reads ahead, libsndfile would not see
                if span is None and (found := straight(content_of(file, known.stat().st_size))):
                    return _recording(*found, name, sure=True)
                return _decoded(file, name, span)
        odd = "this is neither a file nor a folder" if known.exists() else "there is no such file"
        problem = "this is a folder, not a sound file" if known.is_dir() else odd
    except (OSError, ValueError) as error:
        raise BadValue(f"the sound file cannot be opened: {error}", where=name) from error
    raise BadValue(problem, where=name, fix="give the path of a sound file")


def _from_bytes(content: bytes | bytearray | memoryview, name: str, span: Span | None = None) -> Recording:
    if not content:
        raise BadValue("the sound is empty (0 bytes)", where=name)
    if span is None and (found := straight(content)):
        return _recording(*found, name, sure=True)
    with in_memory(content) as file:
        return _decoded(file, name, span)


def _from_file(file: Any) -> Recording:
    name = str(getattr(file, "name", ""))
    try:
        content = file.read(MAX_BYTES + 1)
    except Exception as error:
        raise BadValue(f"the file object cannot be read: {error}", where=name) from error
    if not isinstance(content, bytes | bytearray):
        raise BadValue(f"the file object gives {type(content).__name__}, not bytes", where=name, fix="open it with mode 'rb'")
    if len(content) > MAX_BYTES:
        raise BadValue(f"the sound is larger than {MAX_BYTES >> 30} GiB", where=name, fix="cut it into shorter files")
    return _from_bytes(content, name)


def _from_mapping(source: Mapping[Any, Any]) -> Recording:
    name = str(source.get("path") or "")
    if source.get("array") is not None and source.get("sampling_rate") is not None:
        return _from_array(source["array"], source["sampling_rate"], name)
    if isinstance(source.get("bytes"), bytes | bytearray):
        return _from_bytes(source["bytes"], name)
    if name:
        return _from_path(name)
    raise BadValue(
        f"a dict with {sorted(map(str, source))} is not a sound", known=["{'array', 'sampling_rate'}", "{'bytes', 'path'}", "{'path'}"]
    )


def _decoded(file: BinaryIO, name: str, span: Span | None) -> Recording:
    try:
        samples_N, rate, sure = decode.decode(file, span)
        return _recording(samples_N, rate, name, sure)
    except BadValue as error:
        raise type(error)(error.what, where=name, fix=error.fix) from error


def _from_array(array: Any, rate: Any, name: str) -> Recording:
    try:
        samples = np.asarray(array)
        whole = int(rate)
    except Exception as error:
        raise BadValue(f"({type(array).__name__}, {type(rate).__name__}) is not a sound: {error}", where=name, known=SOURCES) from error
    if whole != rate or isinstance(rate, bool):
        raise BadValue(f"the rate is {rate!r}, not a whole number of samples a second", where=name)
    if samples.ndim not in (1, 2):
        raise BadValue(
            f"an array of shape {samples.shape} is not a sound",
            where=name,
            fix="give (samples,), (samples, channels) or (channels, samples)",
        )
    samples_NC = samples[:, None] if samples.ndim == 1 else samples if samples.shape[0] >= samples.shape[1] else samples.T
    try:
        decode.check_rate(whole)
        if samples_NC.shape[1] > decode.MAX_CHANNELS:
            raise BadValue(f"an array of shape {samples.shape} has too many channels for a sound; {decode.MAX_CHANNELS} are allowed")
        decode.check_length(len(samples_NC), whole)
        return _recording(decode.mono(samples_NC), whole, name)
    except BadValue as error:
        raise BadValue(error.what, where=name, fix=error.fix) from error


def _recording(samples_N: np.ndarray, rate: int, name: str, sure: bool = False) -> Recording:
    """`sure`: the samples are known to be from -1 to 1. To look costs a tenth of the time of decoding a FLAC."""
    if not len(samples_N):
        raise BadValue("there are no samples in the sound: only a header, or nothing")
    peak = 1.0
    if not sure:
        samples_N, peak = bounded(samples_N, rate)
    return Recording(np.ascontiguousarray(samples_N, dtype=np.float32), rate, name, peak)


def bounded(samples_N: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Samples from -1 to 1, and what they were divided by where they are louder. Raises BadValue where they are no numbers."""
    peak = max(float(samples_N.max()), -float(samples_N.min()))  # NaN and infinity come through both
    if not np.isfinite(peak):
        _refuse_numbers(samples_N, rate)
    return (samples_N / np.asarray(peak, samples_N.dtype), peak) if peak > 1.0 else (samples_N, 1.0)


def _refuse_numbers(samples_N: np.ndarray, rate: int) -> NoReturn:
    bad = ~np.isfinite(samples_N)
    first = int(bad.argmax())
    raise BadValue(
        f"{int(bad.sum())} of {len(samples_N)} samples are NaN or infinite, the first at {first / rate:.3f} s",
        fix="write the file again from its source",
    )
