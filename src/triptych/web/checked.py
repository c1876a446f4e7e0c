"""Whether what was sent is within the server's limits: looked at in its header, before anything is decoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from triptych.base.container import moving, opened
from triptych.contract.cells import Blob, Several
from triptych.modalities import rooms
from triptych.run.recipe import Recipe
from triptych.web.limits import Limits
from triptych.web.problems import Refused, TooLarge

PNG = b"\x89PNG\r\n\x1a\n"
PACKED = (b"zTXt", b"iCCP", b"iTXt")
"""Chunks of a PNG that are compressed besides its pixels."""
UNPACKED = 4 * 2**20
"""Bytes such a chunk may have: a colour profile has a hundredth of that."""


def check_row(recipe: Recipe, row: Mapping[str, Any], limits: Limits) -> None:
    """Look at all values of a row.

    Raises:
        TooLarge: one is beyond a limit.
        Refused: a value is of no kind that a caller may send: a name of a file on this machine.
    """
    files = 0
    for name, cell in row.items():
        modality = recipe.inputs[name].modality if name in recipe.inputs else None
        by_reference = modality is not None and rooms()[modality].by_reference
        for one in cell.items if isinstance(cell, Several) else cell if isinstance(cell, list | tuple) else [cell]:
            if isinstance(one, Blob):
                files += 1
                _check(one, modality, limits)
            elif isinstance(one, str):
                if by_reference:
                    raise Refused(f"{name} takes the content of a file, and no name of one", param=name)
                _check_text(one, limits, name)
    if files > limits.files:
        raise TooLarge(f"{files} files are more than the {limits.files} that a row may have")


def _check_text(text: str, limits: Limits, name: str) -> None:
    if len(text) > limits.characters:
        raise TooLarge(f"a text of {len(text):,} characters is longer than the {limits.characters:,} that are taken", param=name)


def _check(blob: Blob, modality: str | None, limits: Limits) -> None:
    if modality == "image":
        check_picture(blob, limits)
    elif modality == "audio":
        check_sound(blob, limits)
    elif modality == "video":
        check_film(blob, limits)
    elif len(blob) > 4 * limits.characters:
        raise TooLarge(f"a text of {len(blob):,} bytes is longer than the {limits.characters:,} characters that are taken")


def check_picture(content: bytes, limits: Limits) -> None:
    """A picture by its header; a PNG also by its compressed chunks. What is no picture is left to the room to say."""
    from PIL import Image

    if content.startswith(PNG):
        _check_chunks(content)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        raise TooLarge(f"the picture has more than the {limits.pixels:,} pixels that are taken", fix="send a smaller one") from None
    except Exception:  # the room says what is wrong with it
        return
    if width * height > limits.pixels:
        many = f"{width} x {height} is {width * height:,} pixels"
        raise TooLarge(f"the picture is too large: {many}, and {limits.pixels:,} are taken", fix="send a smaller one")


def _check_chunks(content: bytes) -> None:
    """Walk through a PNG; what is compressed is unpacked into nothing, up to a bound.

    Of pixels that is what the header promises, with a filter byte a line at most; what is beyond is never decoded, but a file that
    holds it was made to do harm.
    """
    place, promised, pixels, held = len(PNG), 0, zlib.decompressobj(), 0
    while place + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        body = memoryview(content)[place + 8 : place + 8 + size]
        if kind == b"IHDR" and size >= 13:
            width, height, depth = struct.unpack(">IIB", body[:9])
            promised = height * (width * max(depth, 8) * 4 // 8 + 1) + 65536 + 8 * height
        if kind in PACKED:
            _fed(zlib.decompressobj(), _packed_part(kind, bytes(body)), 0, UNPACKED)
        elif kind == b"IDAT":
            held = _fed(pixels, bytes(body), held, promised)
        place += 12 + size


def _packed_part(kind: bytes, body: bytes) -> bytes:
    """What is compressed in a chunk: it stands behind a name; of an iTXt behind a flag and two names more."""
    rest = body.partition(b"\0")[2]
    if kind != b"iTXt":
        return rest[1:]
    names = rest[2:].split(b"\0", 2)
    return names[2] if rest[:1] == b"\1" and len(names) == 3 else b""


def _fed(unpacker: Any, packed: bytes, held: int, most: int) -> int:
    """Unpack piece by piece and keep nothing; how much it was in all."""
    try:
        while packed and not unpacker.eof:
            held += len(unpacker.decompress(packed, 65536))
            packed = unpacker.unconsumed_tail
            if held > most:
                raise TooLarge(
                    f"the PNG unpacks to more than {most:,} bytes in one chunk, which its header does not say", fix="save it anew"
                )
    except zlib.error:  # damaged: the room says so
        return held
    return held


def check_sound(content: bytes, limits: Limits) -> None:
    """A recording by its header; where that does not say how long it is, by going through it with one block in memory."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            channels, seconds = sound.channels, sound.frames / sound.samplerate if 0 <= sound.frames < 1 << 62 else 0.0
    except Exception:  # whatever its C library finds wrong: FFmpeg is asked
        found = _of_container(content)
        if found is None:
            return
        channels, seconds = found[1], found[0] or _counted(content, limits.seconds)
    if channels > limits.channels:
        raise TooLarge(f"the recording has {channels} channels, and {limits.channels} are taken", fix="mix it to one or two")
    _check_seconds(seconds, limits)


def _check_seconds(seconds: float, limits: Limits) -> None:
    if seconds > limits.seconds:
        raise TooLarge(f"it is {seconds:,.0f} s long, and {limits.seconds:g} s are taken", fix="cut it into shorter pieces")


def _of_container(content: bytes) -> tuple[float, int] | None:
    """Seconds that the header is sure of, else 0, and channels; None where there is nothing to hear."""
    from triptych.base.container import KNOWN_LENGTH, is_format

    try:
        with opened(io.BytesIO(content)) as container:
            stream = container.streams.audio[0]
            sure = is_format(container, KNOWN_LENGTH) and bool(container.duration)
            return (container.duration / 1_000_000 if sure else 0.0), int(stream.codec_context.channels)
    except Exception:  # FFmpeg may raise anything at what is damaged; reading it says why
        return None


def _counted(content: bytes, most: float) -> float:
    """Seconds of sound, counted frame by frame until there are too many."""
    seconds = 0.0
    try:
        with opened(io.BytesIO(content)) as container:
            for frame in container.decode(audio=0):
                seconds += frame.samples / frame.sample_rate
                if seconds > most:
                    break
    except Exception:  # damaged from here on: the room says so
        return seconds
    return seconds


def check_film(content: bytes, limits: Limits) -> None:
    """A film by its header: the size of a frame, and how long it is."""
    try:
        with opened(io.BytesIO(content)) as container:
            stream = moving(container)
            if stream is None:
                return
            pixels = stream.codec_context.width * stream.codec_context.height
            seconds = (container.duration or 0) / 1_000_000
    except Exception:  # the room says what is wrong with it
        return
    if pixels > limits.pixels:
        raise TooLarge(f"a frame of the film has {pixels:,} pixels, and {limits.pixels:,} are taken", fix="make it smaller")
    _check_seconds(seconds, limits)
