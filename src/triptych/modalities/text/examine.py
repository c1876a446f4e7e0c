"""One look at a text that is to be learnt from: length, script, signs of a broken encoding, and a sketch of its words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np

from triptych.contract.examined import SKETCH, Examined, Fault

GRAM = 4  # characters of a piece
LEAST = 24  # characters: two shorter texts that share most of their pieces may still say different things
LETTERS = 64  # of a text are looked at for its script
LETTERS_A_TOKEN = 4  # in most languages, with a vocabulary of some thousands
MOST = 20_000  # characters are sketched

_WORDS = re.compile(r"\w+|[^\w\s]")
_DROPPED = re.compile(r"[\W_]+")
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€[\x80-\xbf™œ\x9d]|Ð[\x80-\xbf]Ñ|Â[\xa0-\xbf]")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_MARKUP = re.compile(
    r"</?(?:p|br|div|span|a|b|i|li|ul|td|tr|table|img|h[1-6])(?:\s[^<>]*)?/?>|&(?:nbsp|amp|lt|gt|quot|#\d+);", re.IGNORECASE
)

CONTROL = Fault("control", "control characters, which no reader sees", "clean the text where it is exported")
GARBLED = Fault("garbled", "garbled letters (Ã©, �): it was decoded with the wrong encoding", "export the table again as UTF-8")
MARKUP = Fault("markup", "HTML tags or entities", "strip them, unless the network is to read them", "note")


def examine(text: str, settings: Any) -> Examined:
    """`content` is that of the words in small letters: spaces, signs and capitals make no difference.

    The sketch adds up one fixed row of 256 signs for each piece of four characters (a random projection, Charikar 2002), so
    that its correlation is near the share of pieces that two texts have in common. It survives a word changed in a sentence
    of ten or more, and lines in another order; it does not see another wording, and texts under 24 characters have none.
    """
    plain = _DROPPED.sub(" ", text.casefold()).strip() or text
    script = _script(text)
    return Examined(
        content=int.from_bytes(blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest(), "little"),
        sketch=_sketch(plain) if len(plain) >= LEAST else b"",
        measures={"characters": len(text)},
        traits={"script": script} if script else {},
        faults=tuple(_faults(text, settings)),
        length=1 + min(len(text), LETTERS_A_TOKEN * settings.max_tokens),
    )


def _faults(text: str, settings: Any) -> list[Fault]:
    faults = []
    if _CONTROL.search(text):
        faults.append(CONTROL)
    if "\ufffd" in text or (not text.isascii() and _MOJIBAKE.search(text)):
        faults.append(GARBLED)
    if ("<" in text or "&" in text) and _MARKUP.search(text):
        faults.append(MARKUP)
    # A word or a sign is one token or more, whatever the vocabulary, and one stands at the start.
    if len(text) >= settings.max_tokens and len(_WORDS.findall(text)) >= settings.max_tokens:
        faults.append(_cut(settings.max_tokens))
    return faults


@lru_cache
def _cut(most: int) -> Fault:
    text = f"more than {most} tokens: the end is not read"
    return Fault("cut", text, "raise prepare.max_tokens, or split them into rows", "warning", common=0.1)


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """`LATIN`, `CYRILLIC`, `CJK` ...: the first word of a letter's Unicode name; kana and Han are written together."""
    first = unicodedata.name(letter, "?").split()[0].split("-")[0]
    return {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "LATIN"}.get(first, first)


def _script(text: str) -> str:
    """The script that most letters are of; none where there are no letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else ""
    scripts = Counter(_script_of(letter) for letter in text[:1000] if letter.isalpha())
    return scripts.most_common(1)[0][0].capitalize() if scripts else ""


def _sketch(plain: str) -> bytes:
    codes_N = np.frombuffer(plain[:MOST].encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    grams_N = np.zeros(len(codes_N) - GRAM + 1, np.uint64)
    for place in range(GRAM):
        grams_N = grams_N * np.uint64(1_000_003) + codes_N[place : place + len(grams_N)]
    rows_N = ((grams_N * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(52)).astype(np.intp)
    counts_R = np.bincount(rows_N, minlength=len(_signs()))
    there = np.flatnonzero(counts_R)
    total_S = counts_R[there].astype(np.float32) @ _signs()[there]
    largest = float(np.abs(total_S).max()) or 1.0
    return np.rint(128 + total_S * (127 / largest)).astype(np.uint8).tobytes()


@lru_cache(maxsize=1)
def _signs() -> np.ndarray:
    """4,096 rows of `SKETCH` signs, the same on every machine; pieces of text share them by their hash."""
    return np.random.Generator(np.random.PCG64(0)).choice(np.array([-1, 1], np.float32), (4096, SKETCH))
