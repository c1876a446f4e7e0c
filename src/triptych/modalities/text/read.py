"""A cell, a file or bytes -> a text (`str`, no white space around it)."""

from __future__ import annotations

import codecs
import datetime
import decimal
import numbers
import unicodedata
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, why

MAX_CHARACTERS = 1_000_000
"""Longest text that is read; a longer one is a book or a mistake, and should be rows."""

_BOMS = (  # UTF-32 before UTF-16: the little-endian mark of the one starts with the mark of the other
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip or office file",
    b"RIFF": "a WAV or WebP file",
}
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f") | {127}
_BLANK_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})


def read(source: Any) -> str:
    """Read a text: a `str` is the text itself, a `Path` is a file, bytes are decoded, numbers and dates are spelled out.

    Bytes are read as UTF-8, as UTF-16 or UTF-32 where they start with a byte order mark, and as Windows-1252 (the
    superset of Latin-1 that old Western files are in) where the first thing that is not ASCII is not UTF-8 either.

    Raises:
        BadValue: nothing is there, it is not text, it is damaged, or it is longer than `MAX_CHARACTERS`.
    """
    where = str(source) if isinstance(source, Path) else ""
    if isinstance(source, Path):
        source = _content(source)
    if isinstance(source, bytes | bytearray | memoryview):
        source = _decoded(bytes(source), where)
    return _checked(source if isinstance(source, str) else _spelled(source), where)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BadValue("a folder stands where a text file should be", where=str(path))
        if not path.exists():
            raise BadValue("the text file does not exist", where=str(path), fix="check the path; relative ones start at the table's folder")
        if not path.is_file():
            raise BadValue("this is neither a file nor a folder", where=str(path))
        if path.stat().st_size > 4 * MAX_CHARACTERS + 4:
            raise _too_long(f"{path.stat().st_size} bytes", str(path))
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadValue(f"the text file cannot be read: {why(error)}", where=str(path)) from error


def _decoded(data: bytes, where: str) -> str:
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "")
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding:
            raise BadValue(f"damaged text: byte {error.start} is not {encoding} ({error.reason})", where=where) from error
        return _old_western(data, error, where)


def _old_western(data: bytes, error: UnicodeDecodeError, where: str) -> str:
    """Windows-1252, for bytes that were never UTF-8; a text that was UTF-8 up to here is damaged, and guessing would garble it."""
    if _CONTROLS & set(data):
        raise BadValue(_not_text(data), where=where)
    if not data[: error.start].isascii():
        what = f"damaged text: byte {error.start} is not UTF-8 ({error.reason})"
        raise BadValue(what, where=where, fix="copy the file again, or save it as UTF-8")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as second:
        what = f"not a text in UTF-8, UTF-16 or Windows-1252: byte {second.start} is 0x{data[second.start]:02x}"
        raise BadValue(what, where=where, fix="save it as UTF-8") from second


def _not_text(data: bytes) -> str:
    looks = next((name for start, name in _BINARY.items() if data.startswith(start)), "binary data")
    return f"not a text: these bytes look like {looks}"


def _spelled(cell: Any) -> str:
    """Numbers, dates and truth values as a person would write them; 7.0 is 7, as tables turn integers with gaps into floats."""
    if cell is None or _is_nan(cell):
        raise BadValue("the cell is empty")
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if not isinstance(cell, numbers.Real | decimal.Decimal | datetime.date | datetime.time):
        known = ["text", "path of a text file", "bytes", "number", "date"]
        raise BadValue(f"cannot read a text from a value of type {type(cell).__name__}", known=known)
    try:
        return str(cell)
    except ValueError as error:  # Python refuses to spell out integers of thousands of digits
        raise BadValue(f"this number cannot be written out as text: {error}") from error


def _is_nan(cell: Any) -> bool:
    return cell.is_nan() if isinstance(cell, decimal.Decimal) else isinstance(cell, numbers.Real) and bool(cell != cell)


def _checked(text: str, where: str) -> str:
    if "\0" in text:
        raise BadValue(_not_text(text[:8].encode("latin-1", "replace")), where=where)
    if len(text) > MAX_CHARACTERS:
        raise _too_long(f"{len(text)} characters", where)
    text = whole(text).strip()
    if all(c == "\ufffd" or unicodedata.category(c) in _BLANK_CATEGORIES for c in text):
        raise BadValue("the text is empty" if not text else "the text holds nothing that can be seen", where=where)
    return text


def whole(text: str) -> str:
    """A half of a surrogate pair (a cut emoji) cannot be written in UTF-8: whole pairs are joined, halves become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _too_long(size: str, where: str) -> BadValue:
    what = f"the text is too long: {size}, at most {MAX_CHARACTERS} characters are read"
    return BadValue(what, where=where, fix="split it into rows of a paragraph or a page")
