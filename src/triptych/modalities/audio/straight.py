"""A whole FLAC, straight from its bytes through dr_flac (miniaudio): libsndfile's samples to the last bit, in three quarters of its time.

Only a plain and whole file is decoded here: as many samples as its header promises, in frames whose check sums are right. Every
other file, and every damaged one, is left to libsndfile, which also says what is wrong; so is everything where miniaudio is not
installed. Blocks are those of RFC 9639, sections 8 and 9; notes, pictures and tables of places are never shown to the decoder.
"""

from __future__ import annotations

from functools import cache
from io import RawIOBase
from typing import Any, BinaryIO

import numpy as np

from triptych.modalities.audio.decode import MAX_RATE, MIN_RATE, mono

MOST_NUMBERS = 1 << 23
"""Samples of all channels together: they are all in memory at once. Longer sounds come from libsndfile in blocks."""
MOST_BYTES = 4 * MOST_NUMBERS
MARK, INFO = b"fLaC", b"\0\0\x22"
"""What a file begins with, and how long its first block is."""
FRAMES = 42
"""Bytes before the second block: mark, head of the first block, and the block."""
LAST = 0x80
"""The bit in the head of the block after which the frames begin."""
READERS = {8: ("flac_read_s16", np.int16), 16: ("flac_read_s16", np.int16), 24: ("flac_read_f32", np.float32)}
"""By the bits of a sample: who decodes it, to which numbers."""


def straight(content: bytes | bytearray | memoryview) -> tuple[np.ndarray, int] | None:
    """Mono samples (N,) and their rate; None where the content is not surely a plain and whole FLAC."""
    decoder = _decoder() if content[:4] == MARK else None
    start = _frames(content) if decoder is not None else None
    if decoder is None or start is None:
        return None
    about = int.from_bytes(content[18:26], "big")  # rate: 20 bits, channels: 3, bits of a sample: 5, samples: 36
    rate, channels, bits, samples = about >> 44, (about >> 41 & 7) + 1, (about >> 36 & 31) + 1, about & (1 << 36) - 1
    if bits not in READERS or not 0 < samples * channels <= MOST_NUMBERS or not MIN_RATE <= rate <= MAX_RATE:
        return None
    name, kind = READERS[bits]
    plain = b"".join([MARK, bytes([LAST]), INFO, content[8:FRAMES], memoryview(content)[start:]])
    try:
        found = getattr(decoder, name)(plain)
    except decoder.DecodeError:
        return None
    if (found.nchannels, found.sample_rate, len(found.samples)) != (channels, rate, samples * channels):
        return None
    return mono(np.frombuffer(found.samples, kind).reshape(samples, channels)), rate


def content_of(file: BinaryIO | RawIOBase, size: int) -> bytes:
    """What an open file of so many bytes holds, if that may be decoded here; nothing otherwise.

    The file has no buffer and stands at its begin, before and after.
    """
    fit = size <= MOST_BYTES and file.read(len(MARK)) == MARK
    file.seek(0)
    content = file.read() if fit else b""
    file.seek(0)
    return content


def _frames(content: bytes | bytearray | memoryview) -> int | None:
    """Where the frames begin: behind all blocks, with the mark that every frame has. None where they do not."""
    if content[5:8] != INFO or content[4] & ~LAST:
        return None
    at = 4
    while at + 4 <= len(content):
        last, length = content[at] & LAST, int.from_bytes(content[at + 1 : at + 4], "big")
        at += 4 + length
        if last:
            return at if content[at : at + 2] in (b"\xff\xf8", b"\xff\xf9") else None
    return None


@cache
def _decoder() -> Any | None:
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio
