"""How a text is written in the symbols that a transcription is made of.

Class 0 is the blank of connectionist temporal classification (Graves et al. 2006). Symbols are classes from 1 on; what the
training rows do not have is one class more than there are symbols: no model can say it, so wherever it is expected, it is an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

Unit = Literal["characters", "words"]
Normal = Literal["none", "basic"]
BLANK, SPACE = 0, 1
"""Classes; the space is the first of all symbols where they are characters, so that words can be told apart by it."""
PAD = -1
STRANGE = "\N{REPLACEMENT CHARACTER}"
QUOTE = "'"
APART = re.compile(r"[^\w\s']|_|(?<!\w)'|'(?!\w)")
"""Punctuation; an apostrophe within a word belongs to it."""


def normalised(text: str, how: Normal) -> str:
    """The text as it is learnt and scored: spaces made one; `basic`: lower case and no punctuation, in Unicode's composed form."""
    if how == "basic":
        text = APART.sub(" ", unicodedata.normalize("NFKC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", QUOTE).casefold())
    return " ".join(text.split())


class Spelling(NamedTuple):
    """The symbols by their classes less one, and whether each is a character or a word."""

    symbols: tuple[str, ...]
    unit: Unit

    @staticmethod
    def of(texts: Iterable[str], unit: Unit) -> Spelling:
        """All symbols of some normalised texts."""
        if unit == "words":
            return Spelling(tuple(sorted({word for text in texts for word in text.split()})), unit)
        return Spelling((" ", *sorted({letter for text in texts for letter in text} - {" "})), unit)

    def classes(self, texts: Iterable[str]) -> list[list[int]]:
        """The classes of each normalised text."""
        number = {symbol: place for place, symbol in enumerate(self.symbols, start=1)}
        strange = len(self.symbols) + 1
        return [[number.get(symbol, strange) for symbol in self._cut(text)] for text in texts]

    def text(self, classes: Sequence[int]) -> str:
        """The text of some classes; padding and blanks are nothing."""
        said = [self.symbols[c - 1] if c <= len(self.symbols) else STRANGE for c in classes if c > BLANK]
        return " ".join(" ".join(said).split()) if self.unit == "words" else " ".join("".join(said).split())

    def strange(self, text: str) -> list[str]:
        """Symbols of a normalised text that are not known."""
        return sorted(set(self._cut(text)) - set(self.symbols))

    def _cut(self, text: str) -> Sequence[str]:
        return text.split() if self.unit == "words" else text


def frames_needed(classes: Sequence[int]) -> int:
    """Frames that a text takes at least: one a symbol, and a blank between two that are alike."""
    return len(classes) + sum(a == b for a, b in pairwise(classes))
