"""Text files as users have them: with a byte-order mark or without, UTF-16, Latin-1, packed with gzip."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from triptych.base.errors import InputError

CHUNK = 2**20
PACKED = b"\x1f\x8b"  # how every gzip file begins
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BROKEN = (EOFError, zlib.error, OSError)  # what a damaged gzip file, or a failing disk, raises while it is read


@dataclass(frozen=True)
class TextFile:
    """A text file whose encoding is known."""

    path: Path
    encoding: str
    findings: list[str] = field(default_factory=list)

    def open(self, newline: str | None = None) -> IO[str]:
        """From its start; `newline` as of Python's own `open`."""
        errors = "replace" if self.encoding == "utf-16" else "strict"
        return io.TextIOWrapper(opened(self.path), encoding=self.encoding, errors=errors, newline=newline)

    def lines(self, longest: int) -> Iterator[str | None]:
        """Line by line; None stands for one with more than `longest` characters, which is never held whole.

        Raises:
            OSError, EOFError, zlib.error: the file breaks off, or is damaged.
        """
        with self.open() as file:
            while line := file.readline(longest + 1):
                if len(line) <= longest or line.endswith("\n"):
                    yield line
                    continue
                while (rest := file.readline(CHUNK)) and not rest.endswith("\n"):
                    pass
                yield None


def opened(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked where they are packed.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == PACKED
        return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error


def look(path: Path, fix: str = "save it as UTF-8") -> TextFile:
    """Read the file once to know its encoding: a byte-order mark says it, else UTF-8, else Latin-1.

    Raises:
        InputError: it cannot be read, or is no text; `fix` says what to do then.
    """
    decoder, western = codecs.getincrementaldecoder("utf-8")(), False
    with opened(path) as file:
        try:
            chunk = file.read(CHUNK)
            if chunk[:2] in UTF16:
                return TextFile(path, "utf-16")
            while chunk:
                if b"\0" in chunk:
                    raise InputError("this is not a text file", where=str(path), fix=fix)
                western = western or not _fits(decoder, chunk)
                chunk = file.read(CHUNK)
        except BROKEN:  # said where the rows are read, after those that are whole
            return _known(path, western)
    return _known(path, western or not _fits(decoder, b"", final=True))


def _fits(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _known(path: Path, western: bool) -> TextFile:
    said = [f"{path.name} is not UTF-8; it was read as Latin-1"] if western else []
    return TextFile(path, "latin-1" if western else "utf-8-sig", said)


def decoded(content: bytes) -> str:
    """A short text that is in memory already, by the same rules.

    Raises:
        ValueError: it is no text.
    """
    if content[:2] in UTF16:
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise ValueError("this is not a text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def whole(text: str) -> str:
    """The text as UTF-8 can hold it: a half of a surrogate pair (a cut emoji, an undecodable file name) is replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
