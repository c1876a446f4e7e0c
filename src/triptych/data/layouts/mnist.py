"""MNIST, and what is laid out like it (Fashion-MNIST, KMNIST): four idx files, plain or .gz.

    train-images-idx3-ubyte  train-labels-idx1-ubyte  t10k-images-idx3-ubyte  t10k-labels-idx1-ubyte

Unpackers and mirrors also write `train-images.idx3-ubyte`; torchvision puts the files into `MNIST/raw`. Rows: `image`
(PNG bytes in the table), `label`, `split`; ids `train-00000`, `test-00000` by position.

Source of the format: http://yann.lecun.com/exdb/mnist/ (big-endian header: magic, count, rows, columns; then bytes).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.layouts._reading import missing
from triptych.data.rows import Reject, Row, Source

NAME = "mnist"
GROUP = None
SIDES = {"train": "train", "t10k": "test"}
KINDS = {"images": (2051, 3), "labels": (2049, 1)}  # magic number, dimensions
FOLDERS = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw")
CHUNK = 2**20


@dataclass(frozen=True)
class Idx:
    """One idx file whose header and length were checked."""

    path: Path
    count: int
    shape: tuple[int, ...]

    def items(self) -> Iterator[bytes]:
        """The bytes of each item."""
        size = self.shape[0] * self.shape[1] if self.shape else 1
        with _opened(self.path) as file:
            file.read(8 + 4 * len(self.shape))
            for _ in range(self.count):
                yield file.read(size)


def matches(path: Path) -> bool:
    """One of the two picture files is there."""
    return any(_file(path, side, "images") for side in SIDES)


def read(path: Path) -> Source:
    """See `Layout`."""
    pairs: dict[str, tuple[Idx, Idx]] = {}
    for side in SIDES:
        files = {kind: _file(path, side, kind) for kind in KINDS}
        if not any(files.values()):
            continue
        for kind, file in files.items():
            if file is None:
                raise missing(f"{side}-{kind}", path / _names(side, kind)[0], "MNIST", known=_names(side, kind))
        images, labels = (_checked(cast(Path, files[kind]), kind) for kind in KINDS)
        if images.count != labels.count:
            raise InputError(
                f"{images.count:,} pictures but {labels.count:,} labels",
                where=f"{images.path} and {labels.path.name}",
                fix="download both files again; they belong together",
            )
        pairs[side] = (images, labels)
    if not pairs:
        raise missing("train-images", path / _names("train", "images")[0], "MNIST", known=_names("train", "images"))
    findings = [f"{path.name}: there are no {side} files; those rows are left aside" for side in SIDES if side not in pairs]
    return Source(str(path), lambda: _rows(pairs), path, findings, total=sum(images.count for images, _ in pairs.values()))


def _rows(pairs: dict[str, tuple[Idx, Idx]]) -> Iterator[Row | Reject]:
    for side, (images, labels) in pairs.items():
        for index, (pixels, label) in enumerate(zip(images.items(), labels.items(), strict=True)):
            row_id = f"{SIDES[side]}-{index:05d}"
            picture = Blob(_png(pixels, images.shape[0], images.shape[1]), f"{row_id}.png")
            yield Row(row_id, {"image": picture, "label": label[0], "split": SIDES[side]})


def _names(side: str, kind: str) -> list[str]:
    stem = f"{side}-{kind}"
    plain = [f"{stem}{mark}idx{KINDS[kind][1]}-ubyte" for mark in "-."]
    return [*plain, *(f"{name}.gz" for name in plain)]


def _file(path: Path, side: str, kind: str) -> Path | None:
    """Plain before packed; a folder of the same name (some unpackers make one) is looked into."""
    for folder in FOLDERS:
        for name in _names(side, kind):
            file = path / folder / name
            if file.is_file():
                return file
            if (file / name).is_file():
                return file / name
    return None


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _checked(path: Path, kind: str) -> Idx:
    """Header and length, read through once: a file that was cut short is refused before any row of it is used."""
    magic, dimensions = KINDS[kind]
    again = "download it again"
    try:
        with _opened(path) as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions:
                raise InputError(f"the file ends within its header, after {len(head)} bytes", where=str(path), fix=again)
            seen, count, *shape = struct.unpack(f">{1 + dimensions}I", head)
            if seen != magic:
                known = [f"{number} ({name})" for name, (number, _) in KINDS.items()]
                raise InputError(f"the file begins with the number {seen}, not {magic}", where=str(path), known=known, fix=again)
            body = 0
            while chunk := file.read(CHUNK):
                body += len(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the file cannot be read to its end: {error}", where=str(path), fix=again) from error
    wanted = count * (shape[0] * shape[1] if shape else 1)
    if shape and 0 in shape:
        raise InputError(f"the header says pictures of {shape[0]} x {shape[1]} pixels", where=str(path), fix=again)
    if body != wanted:
        raise InputError(f"the header says {count:,} {kind} ({wanted:,} bytes), the file has {body:,} bytes", where=str(path), fix=again)
    return Idx(path, count, tuple(shape))


def _png(pixels: bytes, height: int, width: int) -> bytes:
    """Grey pixels as a PNG file: header, one filter byte (none) before each line, end."""
    lines = b"".join(b"\0" + pixels[top : top + width] for top in range(0, height * width, width))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    framed = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
