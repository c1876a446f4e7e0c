"""A whole FLAC, straight from its bytes through dr_flac (miniaudio): libsndfile's samples to the last bit, in three quarters of its time.

Only a plain and whole file is decoded here: as many samples as its header promises, in frames whose check sums are right, the
last with the number that the length asks for. (dr_flac passes over a broken frame; one too many could make up for it.) Every
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
SYNC = b"\xff\xf8"
"""What a frame begins with. Where lengths vary, the last bit is set and frames are numbered by samples: left to libsndfile."""
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
    block = int.from_bytes(content[10:12], "big")  # every frame but the last holds so many samples
    if not block or not _is_last(bytes(content), start, (samples - 1) // block):
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
            return at if content[at : at + 2] == SYNC else None
    return None


def _is_last(content: bytes, start: int, number: int) -> bool:
    """Whether the last frame has that number.

    The two bytes that mark a frame also come up among samples by chance; there, the check sum of a head does not follow.
    """
    at = content.rfind(SYNC, start)
    while at >= 0 and not _is_head(content, at):
        at = content.rfind(SYNC, start, at + 1)
    return at >= 0 and content.startswith(chr(number).encode("utf-8", "surrogatepass"), at + 4)


def _is_head(content: bytes, at: int) -> bool:
    """Whether the head of a frame stands there: its length follows from its own bits, its last byte is its check sum."""
    if at + 5 > len(content):
        return False
    size, rate = content[at + 2] >> 4, content[at + 2] & 15
    digits = max(1, 8 - (content[at + 4] ^ 0xFF).bit_length())  # leading ones: bytes of the number
    end = at + 4 + digits + {6: 1, 7: 2}.get(size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    rest = 0
    for byte in content[at : end + 1]:
        rest = _remainders()[rest ^ byte]
    return rest == 0


@cache
def _remainders() -> list[int]:
    """What each byte leaves of a check sum by x^8 + x^2 + x + 1."""
    found = list(range(256))
    for _ in range(8):
        found = [(rest << 1) ^ (0x107 if rest & 0x80 else 0) for rest in found]
    return found


@cache
def _decoder() -> Any | None:
    try:
        import miniaudio
    except ImportError:
        return None
    return miniaudio
