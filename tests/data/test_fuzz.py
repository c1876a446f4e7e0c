"""Damaged files of every kind that is read: each costs its own row at most, with a reason; no crash, no hang, bounded memory.

200 variants of each kind, the same on every machine: cut off at many places, bits flipped, another header, stretches zeroed,
doubled or lost, and headers that claim gigabytes, years or billions of pixels. They are built into a table by the command
line in a process of its own, some kinds at a time, beside ten good files of each kind that must all be kept.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from triptych.base.errors import BadValue
from triptych.data.rejects import read_rejects
from triptych.data.stored import read_stored
from triptych.modalities import rooms

GOOD, VARIANTS = 10, 200
LIMIT_S = 240
MOST_KB = 600_000
"""Largest memory of any process of a build. 170 to 206 MB were seen; a claim of gigabytes that is believed is far above this."""
GIANTS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"\x00\x00\x00\x80")

# good files


def picture(kind: str, **options: object) -> Callable[[int], bytes]:
    def made(seed: int) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 60, (24, 32, 3)) + np.arange(32)[None, :, None] * 5
        file = io.BytesIO()
        Image.fromarray(noise.astype(np.uint8)).save(file, kind, **options)
        return file.getvalue()

    return made


def animation(kind: str) -> Callable[[int], bytes]:
    def made(seed: int) -> bytes:
        frames = [Image.fromarray(np.random.default_rng(seed + n).integers(0, 255, (16, 16, 3)).astype(np.uint8)) for n in range(4)]
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100)
        return file.getvalue()

    return made


def tone(seed: int, rate: int, seconds: float = 0.5) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * (300 + 40 * seed) * time)).astype(np.float32)


def sound(kind: str, subtype: str | None = None, rate: int = 16_000) -> Callable[[int], bytes]:
    def made(seed: int) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, tone(seed, rate), rate, format=kind, subtype=subtype)
        return file.getvalue()

    return made


def container(kind: str, codec: str, rate: int) -> Callable[[int], bytes]:
    def made(seed: int) -> bytes:
        import av

        file = io.BytesIO()
        samples_N = tone(seed, rate)
        with av.open(file, "w", format=kind) as out:
            stream = out.add_stream(codec, rate=rate, layout="mono")
            stream.bit_rate = 64_000
            frame = av.AudioFrame.from_ndarray((samples_N[None] * 32767).astype(np.int16), format="s16", layout="mono")
            frame.rate = rate
            for part in av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate).resample(frame):
                out.mux(stream.encode(part))
            out.mux(stream.encode(None))
        return file.getvalue()

    return made


def prose(encoding: str) -> Callable[[int], bytes]:
    return lambda seed: f"Größe {seed}: the café was empty, said the naïve crow.\nA second line.\n".encode(encoding)


KINDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "png": (".png", picture("PNG")),
    "apng": (".png", animation("PNG")),
    "jpeg": (".jpg", picture("JPEG")),
    "progressive jpeg": (".jpg", picture("JPEG", progressive=True)),
    "gif": (".gif", animation("GIF")),
    "webp": (".webp", picture("WEBP")),
    "lossless webp": (".webp", picture("WEBP", lossless=True)),
    "animated webp": (".webp", animation("WEBP")),
    "bmp": (".bmp", picture("BMP")),
    "tiff": (".tif", picture("TIFF")),
    "packed tiff": (".tiff", picture("TIFF", compression="tiff_lzw")),
    "ppm": (".ppm", picture("PPM")),
    "jpeg 2000": (".jp2", picture("JPEG2000")),
    "avif": (".avif", picture("AVIF")),
    "qoi": (".qoi", picture("QOI")),
    "wav": (".wav", sound("WAV")),
    "float wav": (".wav", sound("WAV", "FLOAT")),
    "flac": (".flac", sound("FLAC")),
    "ogg": (".ogg", sound("OGG", "VORBIS")),
    "opus": (".opus", sound("OGG", "OPUS")),
    "mp3": (".mp3", sound("MP3")),
    "aiff": (".aiff", sound("AIFF")),
    "au": (".au", sound("AU")),
    "m4a": (".m4a", container("mp4", "aac", 44_100)),
    "aac": (".aac", container("adts", "aac", 22_050)),
    "webm": (".webm", container("webm", "libopus", 48_000)),
    "wma": (".wma", container("asf", "wmav2", 44_100)),
    "utf-8 text": (".txt", prose("utf-8")),
    "utf-16 text": (".txt", prose("utf-16")),
    "latin-1 text": (".md", prose("latin-1")),
}


# damage


def cut(content: bytes, draw: random.Random, number: int) -> bytes:
    """At ever later places; the first is an empty file."""
    return content[: len(content) * number // 40]


def flipped(content: bytes, draw: random.Random, number: int) -> bytes:
    """One to sixteen bits, every other time among the first hundred bytes only."""
    damaged = bytearray(content)
    for _ in range(1 << number % 5):
        place = draw.randrange(min(len(damaged), 100) if number % 2 else len(damaged))
        damaged[place] ^= 1 << draw.randrange(8)
    return bytes(damaged)


HEADS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"fLaC"),
    *(b"OggS\0\x02", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3", b"<!DOCTYPE html><html>", b"%PDF-1.7"),
    *(
        b"PK\x03\x04",
        b"\x1f\x8b\x08\0",
        b"#!/bin/sh\n",
        b"%!PS-Adobe\n",
        b"\0" * 64,
        b"\xff" * 64,
        b"P6\n99999 99999\n255\n",
        b"qoif\xff\xff",
    ),
    *(b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"\xff\xfe\0\0"),
)


def headed(content: bytes, draw: random.Random, number: int) -> bytes:
    """The beginning of another kind over the own one, or before it."""
    head = HEADS[number % len(HEADS)]
    return head + content[len(head) if number % 2 else 0 :]


def torn(content: bytes, draw: random.Random, number: int) -> bytes:
    """A stretch zeroed, lost, doubled, or made noise."""
    first = draw.randrange(len(content))
    last = min(len(content), first + 1 + draw.randrange(200))
    middle = (bytes(last - first), b"", content[first:last] * 2, draw.randbytes(last - first))[number % 4]
    return content[:first] + middle + content[last:]


def claiming(content: bytes, draw: random.Random, number: int) -> bytes:
    """A number that may be a size becomes giant: at a place of the header, or after the name of a chunk."""
    damaged = bytearray(content)
    names = [name for name in SIZED if name in content]
    if names and number % 2:
        name = names[number // 2 % len(names)]
        place = content.index(name) + (-4 if number % 4 == 1 else len(name) + draw.choice((0, 4, 8)))
    else:
        place = 2 * (number % 40)
    place = max(0, min(place, len(damaged) - 4))
    damaged[place : place + 4] = GIANTS[number % len(GIANTS)]
    return bytes(damaged)


SIZED = (
    *(b"IHDR", b"IDAT", b"acTL", b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"data", b"fmt ", b"LIST", b"fact", b"SSND", b"COMM"),
    *(b"moov", b"mdat", b"mdhd", b"mvhd", b"stsz", b"stts", b"stsc", b"stco", b"esds", b"ftyp", b"jp2h", b"ihdr", b"jp2c", b"ispe"),
    *(
        b"OpusHead",
        b"vorbis",
        b"OggS",
        b"Xing",
        b"Info",
        b"LAME",
        b"\x1f\x43\xb6\x75",
        b"\x16\x54\xae\x6b",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\x51",
    ),
)


def explicit(name: str, content: bytes) -> Iterator[bytes]:
    """The claims that this kind's own fields can make, with checksums that fit."""
    if name in ("png", "apng"):
        for width, height in ((2**31 - 1, 2**31 - 1), (2**31, 1), (100_000, 100_000), (0, 5), (65_535, 65_535), (2**31 - 1, 1)):
            head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
            yield content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
        bomb = zlib.compress(bytes(200_000_000), 9)  # 200 kB that unpack to 200 MB, in a picture of 32 x 24
        yield content[:33] + struct.pack(">I", len(bomb)) + b"IDAT" + bomb + struct.pack(">I", zlib.crc32(b"IDAT" + bomb)) + content[-12:]
        note = zlib.compress(bytes(100_000_000), 9)
        text = b"zTXtComment\0\0" + note
        yield content[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + content[33:]
    elif name == "bmp":
        for width, height in ((2**31 - 1, 2**31 - 1), (-1, 24), (32, -(2**31)), (60_000, 60_000), (8_000, 9_000)):
            yield content[:18] + struct.pack("<ii", width, height) + content[26:]
    elif name == "gif":
        yield content[:6] + struct.pack("<HH", 65_535, 65_535) + content[10:]
        yield content[:-1] + content[13:-1] * 2000 + b";"  # thousands of frames
    elif "tiff" in name:
        for tag, kind, count, value in (
            (256, 4, 1, 2**32 - 1),
            (257, 4, 1, 2**31),
            (273, 4, 2**30, 8),
            (279, 4, 2**31, 8),
            (258, 3, 2**31, 8),
        ):
            (offset,) = struct.unpack_from("<I", content, 4)
            damaged = bytearray(content)
            for entry in range(offset + 2, offset + 2 + 12 * struct.unpack_from("<H", content, offset)[0], 12):
                if struct.unpack_from("<H", content, entry)[0] == tag:
                    struct.pack_into("<HHII", damaged, entry, tag, kind, count, value)
            yield bytes(damaged)
        yield content[:4] + struct.pack("<I", 8) + content[8:] + b"\xff" * 40
    elif "wav" in name:
        yield content[:4] + b"\xff\xff\xff\xff" + content[8:40] + b"\xff\xff\xff\xff" + content[44:]
        for channels, rate in ((65_535, 16_000), (1, 2**32 - 1), (0, 16_000), (1, 0), (1000, 1)):
            yield content[:22] + struct.pack("<HI", channels, rate) + content[28:]
    elif name == "flac":
        for about in ((1 << 36) - 1, 1 << 35, 0):
            (packed,) = struct.unpack_from(">Q", content, 18)
            yield content[:18] + struct.pack(">Q", packed >> 36 << 36 | about) + content[26:]
        yield content[:5] + b"\xff\xff\xff" + content[8:]
    elif name == "aiff":
        place = content.index(b"COMM") + 10
        yield content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :]
    elif name == "m4a":
        for box in (b"stsz", b"stts", b"stco", b"mdhd", b"mvhd", b"mdat", b"moov"):
            place = content.index(box)
            yield content[: place - 4] + struct.pack(">I", 1) + box + struct.pack(">Q", 2**62) + content[place + 12 :]
            yield content[: place + 12] + b"\x7f\xff\xff\xff" * 2 + content[place + 20 :]
    elif "text" in name:
        yield content * 60_000
        yield b"a" * 5_000_000


MIXTURE = (cut,) * 40 + (flipped,) * 60 + (headed,) * 30 + (torn,) * 30 + (claiming,) * 40


def variants(name: str, count: int = VARIANTS) -> list[bytes]:
    """`count` damaged files of one kind, spread evenly over the kinds of damage."""
    draw = random.Random(f"damage of {name}")
    content = KINDS[name][1](0)
    special = list(explicit(name, content))
    number = {damage: 0 for damage in MIXTURE}
    made = []
    for damage in MIXTURE:
        made.append(damage(content, draw, number[damage]))
        number[damage] += 1
    made = made[: len(made) - len(special)] + special
    return [made[place * len(made) // count] for place in range(count)]


# the build

PROGRAM = """
import resource
import sys
from pathlib import Path
from triptych.cli.main import run
sys.argv[1:] = sys.argv[2:]
try:
    run()
finally:
    own = [int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    Path(sys.orig_argv[3]).write_text(str(max(own[0], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)))
"""
"""The command line, which leaves behind how many kB the largest of its processes had."""


def built(folder: Path, table: Path, *more: str) -> tuple[int, str, str, int]:
    """Exit code, output, errors and the largest memory in kB of any process, after `triptych data build`."""
    out, err, memory = (table.with_suffix(ending) for ending in (".out", ".err", ".kB"))
    command = [sys.executable, "-c", PROGRAM, str(memory), "data", "build", str(folder), str(table), "--json", *more]
    with out.open("w") as said, err.open("w") as told:
        process = subprocess.Popen(command, stdout=said, stderr=told, start_new_session=True)
        try:
            process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"the build hangs; it said {err.read_text()}")
    return process.returncode, out.read_text(), err.read_text(), int(memory.read_text())


def fuzzed(tmp_path: Path, names: list[str], count: int, goods: int = GOOD) -> dict[str, list[str]]:
    """Build a folder of good and damaged files of some kinds; {kind: why its rows were rejected}. All that is promised is checked."""
    folder, total, good = tmp_path / "in", 0, set()
    for place, name in enumerate(names):
        suffix, maker = KINDS[name]
        here = folder / f"kind{place}"
        here.mkdir(parents=True)
        for number in range(goods):
            (here / f"good{number}{suffix}").write_bytes(maker(number + 1))
            good.add(f"kind{place}/good{number}")
        for number, content in enumerate(variants(name, count)):
            (here / f"bad{number:03d}{suffix}").write_bytes(content)
        total += goods + count
    code, out, err, most_kB = built(folder, tmp_path / "t.lance", "--max-rejected", "1")
    assert (code, err) == (0, ""), err
    told = json.loads(out)
    rejects = {reject.id: reject.reason for reject in read_rejects(tmp_path / "t.lance.rejects.csv")}
    kept = set(read_stored(tmp_path / "t.lance").rows.ids())
    assert (told["rows"], told["kept"], told["rejected"]) == (total, len(kept), len(rejects)) and len(kept) + len(rejects) == total
    assert good <= kept, {row_id: rejects[row_id] for row_id in good - kept}
    assert not kept & set(rejects) and all(len(reason) > 10 for reason in rejects.values())
    assert most_kB < MOST_KB, f"{most_kB:,} kB"
    return {name: [why for row_id, why in rejects.items() if row_id.startswith(f"kind{place}/")] for place, name in enumerate(names)}


def test_a_few_variants_of_every_kind(tmp_path):
    told = fuzzed(tmp_path, list(KINDS), 8, 2)
    assert sum(map(len, told.values())) > 4 * len(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("names", [list(KINDS)[at : at + 6] for at in range(0, len(KINDS), 6)], ids=", ".join)
def test_200_variants(tmp_path, names):
    """Six kinds a build: what starting one takes is more than what reading 200 files does."""
    for name, reasons in fuzzed(tmp_path, names, VARIANTS).items():
        assert len(reasons) > (20 if "text" in name else 50), name
        assert not [why for why in reasons if "crashed" in why], f"{name}: a decoder crashed: it was survived, but which one?"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_what_is_kept_can_be_examined_prepared_and_shown(tmp_path, name):
    """Damage that a decoder does not see must not break what comes after it."""
    suffix = KINDS[name][0]
    room = next(room for room in rooms().values() if suffix in room.suffixes)
    settings = room.Input(modality=room.name)
    preparation = room.preparation(settings)
    preparation.fit([room.read(write(tmp_path / f"good{number}{suffix}", KINDS[name][1](number))) for number in range(3)])
    kept = 0
    for number, content in enumerate(variants(name, VARIANTS // 2)):
        try:
            value = room.read(write(tmp_path / f"bad{number}{suffix}", content))
        except BadValue:
            continue
        kept += 1
        found = room.examine(value, settings.prepare)
        assert all(np.isfinite(measure) for measure in found.measures.values())
        assert room.show(value)
        packed = preparation.collate(preparation.prepare([value]))
        assert all(bool(np.isfinite(np.asarray(tensor)).all()) for tensor in packed.tensors.values())
    assert kept or name in ("jpeg 2000",)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
