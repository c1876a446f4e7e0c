"""Texts made alike before they are compared. An error rate says which of these was used: the figures differ widely."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib import resources

from triptych.base.errors import unknown_word

SPELLINGS = "spellings.txt"
APOSTROPHES = frozenset("'’ʼ＇")
JOINERS = frozenset("\u200c\u200d")  # parts of words in Persian and Indic scripts; other invisible characters go
HOW = ("none", "basic", "english")


def normalised(text: str, how: str) -> str:
    """`none`: as it is; `basic`: small letters, no punctuation; `english`: Whisper's, which writes numbers and spellings one way.

    Raises:
        InputError: there is no such way.
    """
    if how not in HOW:
        raise unknown_word("way to normalise", how, HOW)
    if how == "none":
        return text
    return _basic(text) if how == "basic" else " ".join(_english()(text).split())


def _basic(text: str) -> str:
    """Unicode's compatible form in small letters; apostrophes go, other punctuation and symbols part words.

    Whisper's basic normaliser also takes marks for symbols, which tears the words of Hindi, Tamil or Thai apart, and drops
    what stands in brackets.
    """
    letters = [_letter(letter) for letter in unicodedata.normalize("NFKC", text).lower()]
    return " ".join(unicodedata.normalize("NFC", "".join(letters)).split())


def _letter(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter in APOSTROPHES or (kind == "Cf" and letter not in JOINERS):
        return ""
    return " " if kind[0] in "PSZ" or kind == "Cc" else letter


@lru_cache(maxsize=1)
def _english() -> Callable[[str], str]:
    """Whisper's normaliser (Radford et al. 2022, appendix C) as transformers has it, with the list of spellings that belongs to it."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer(_spellings())


def _spellings() -> dict[str, str]:
    """{British: American}."""
    lines = resources.files(__package__ or "").joinpath(SPELLINGS).read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))
