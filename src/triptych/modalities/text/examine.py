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
from triptych.modalities.text.clean import CONTROL, cleaned

GRAM = 4  # characters of a piece
LEAST = 24  # characters: two shorter texts that share most of their pieces may still say different things
LETTERS = 64  # of a text are looked at for its script
LETTERS_A_TOKEN = 4  # in most languages, with a vocabulary of some thousands
MOST = 20_000  # characters are sketched

_DROPPED = re.compile(r"[\W_]+")
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€[\x80-\xbf™œ\x9d]|Ð[\x80-\xbf]Ñ|Â[\xa0-\xbf]")
MARKUP_SIGNS = re.compile(
    r"</?(?:p|br|div|span|a|b|i|em|strong|li|ul|ol|td|tr|table|img|h[1-6]|script|style)(?:\s[^<>]*)?/?>|<!--|&(?:[a-z]{2,8}|#\d{1,6}|#x[0-9a-f]{1,5});",
    re.IGNORECASE,
)

CONTROL_CHARACTERS = Fault("control", "control characters, which no reader sees", "prepare.strip_control: true")
GARBLED = Fault("garbled", "garbled letters (Ã©): they were read in the wrong encoding", "prepare.mend_encoding: true")
LOST = Fault("garbled", "letters that were lost when the text was decoded (�)", "export the table again as UTF-8")
MARKUP = Fault("markup", "HTML tags or entities", "prepare.strip_markup: true, unless the network is to read them", "note")
NOTHING_LEFT = Fault("nothing left", "nothing is left of them once they are cleaned", "remove these rows, or clean less")


def examine(text: str, settings: Any) -> Examined:
    """All of it is of the text as the recipe cleans it.

    `content` is that of the words in small letters: spaces, signs and capitals make no difference.

    The sketch adds up one fixed row of 256 signs for each piece of four characters (a random projection, Charikar 2002), so
    that its correlation is near the share of pieces that two texts have in common. It survives a word changed in a sentence
    of ten or more, and lines in another order; it does not see another wording, and texts under 24 characters have none.
    """
    left = unicodedata.normalize("NFC", cleaned(text, settings))
    plain = _DROPPED.sub(" ", left.casefold()).strip() or left
    script = _script(left)
    return Examined(
        content=int.from_bytes(blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest(), "little"),
        sketch=_sketch(plain) if len(plain) >= LEAST else b"",
        measures={"characters": len(left)},
        traits={"script": script} if script else {},
        faults=tuple(_faults(left)),
        length=1 + min(len(left), LETTERS_A_TOKEN * settings.max_tokens),
    )


def _faults(left: str) -> list[Fault]:
    """What is wrong with a text as the tokenizer gets it: a fault that the recipe cures is none."""
    if not left.strip():
        return [NOTHING_LEFT]
    faults = []
    if CONTROL.search(left):
        faults.append(CONTROL_CHARACTERS)
    if not left.isascii():
        if _MOJIBAKE.search(left):
            faults.append(GARBLED)
        if "\ufffd" in left:
            faults.append(LOST)
    if ("<" in left or "&" in left) and MARKUP_SIGNS.search(left):
        faults.append(MARKUP)
    return faults


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
