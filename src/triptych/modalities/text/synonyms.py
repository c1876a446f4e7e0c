"""Lists of words that mean the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path

from triptych.base.errors import InputError

Synonyms = dict[str, tuple[str, ...]]
"""{word in small letters: others that can stand in its place}."""

_ENTRY = re.compile(r"([^|]+)\|(\d+)\s*")
_NOTE = re.compile(r"\s*\(([^)]*)\)\s*$")
SHIPPED = "synonyms.txt"
MAX_BYTES = 256 << 20


@lru_cache(maxsize=4)
def read_synonyms(file: str | None) -> Synonyms:
    """A list of groups, or a thesaurus in the MyThes format that LibreOffice uses; None is the short list that comes along.

    Raises:
        InputError: it cannot be read, or has no two words that mean the same.
    """
    if file is None:
        return _grouped(resources.files(__package__ or "").joinpath(SHIPPED).read_text(encoding="utf-8").splitlines())
    lines = _lines(Path(file))
    found = _thesaurus(lines) if len(lines) > 1 and _ENTRY.fullmatch(lines[1]) else _grouped(lines)
    if not found:
        fix = "write words that mean the same on one line, with commas between them: quick, fast, rapid"
        raise InputError("there are no synonyms in this file", where=file, fix=fix)
    return found


def _lines(path: Path) -> list[str]:
    """A thesaurus names its encoding in its first line; any other list is UTF-8."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"the list of synonyms has more than {MAX_BYTES:,} bytes", where=str(path))
        content = path.read_bytes()
        first = content[:40].split(b"\n")[0].strip().decode("ascii", "replace")
        encoding = first if re.fullmatch(r"(?i)utf-?8|iso-?8859-\d+|windows-\d+|koi8-\w", first) else "utf-8-sig"
        return content.decode(encoding).splitlines()
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise InputError(f"the list of synonyms cannot be read: {error}", where=str(path), fix="save it as UTF-8") from error


def _grouped(lines: Iterable[str]) -> Synonyms:
    """Every word of a line can stand for every other of it; lines that begin with # say something to people."""
    found: dict[str, list[str]] = {}
    for line in lines:
        words = [] if line.startswith("#") else [word for part in line.split(",") if (word := " ".join(part.split()))]
        for word in words:
            _add(found, word, [other for other in words if other != word])
    return {word: tuple(others) for word, others in found.items() if others}


def _thesaurus(lines: list[str]) -> Synonyms:
    """Of each word its synonyms; broader, narrower and opposite words, which are marked as such, are left out."""
    found: dict[str, list[str]] = {}
    for word, meanings in _entries(lines):
        others = [term.strip() for meaning in meanings for term in meaning.split("|")[1:]]
        plain = [_NOTE.sub("", term) for term in others if not (note := _NOTE.search(term)) or note[1] == "similar term"]
        _add(found, word, plain)
    return {word: tuple(others) for word, others in found.items() if others}


def _entries(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """`word|2`, and two lines `(noun)|other|another`."""
    place = 1
    while place < len(lines):
        entry = _ENTRY.fullmatch(lines[place])
        count = int(entry[2]) if entry else 0
        if entry:
            yield entry[1], lines[place + 1 : place + 1 + count]
        place += 1 + count


def _add(found: dict[str, list[str]], word: str, others: Iterable[str]) -> None:
    held = found.setdefault(word.lower(), [])
    held += [other for other in dict.fromkeys(others) if other and other.lower() != word.lower() and other not in held]
