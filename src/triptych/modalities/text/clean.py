"""Texts as a tokenizer should get them. Each word of the settings does one thing, in an order that never changes.

What the `tokenizers` library has no part for is done here, before it, in this order: `mend_encoding`, `strip_markup`,
`strip_control`, `replace_links`. The others become a part of the tokenizer itself and lie in its file: `unicode`,
`strip_accents`, `lowercase`, `fold_spaces`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tokenizers import Regex, normalizers

from triptych.modalities.text.markup import without_markup
from triptych.modalities.text.read import whole
from triptych.modalities.text.settings import Cleaning

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters but for tab and the ends of lines."""
_GAPS = re.compile(r"[\x0b\x0c\x1c-\x1f\x85]+")  # those of them that Unicode counts as white space stand between words
# Possessive, and begun only where a word begins: the time is linear in the text, whatever stands in it.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++")
_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.)[^\s<>\"']*[^\s<>\"'.,;:!?)\]}]", re.IGNORECASE)
_SPACES = r"[\s\x1c-\x1f\x85]+"


def cleaned(text: str, words: Cleaning) -> str:
    """The text as far as it is cleaned before it gets to the tokenizer."""
    text = whole(text)
    if words.mend_encoding and not text.isascii():
        text = _mended(text)
    if words.strip_markup:
        text = without_markup(text)
    if words.strip_control:
        text = without_control(text)
    if words.replace_links:
        text = _URL.sub("url", _EMAIL.sub("email", text))
    return text


def plain(text: str) -> str:
    """What a person would read out: no markup, no control characters, one space where there is any."""
    return " ".join(without_control(without_markup(whole(text))).split())


def normalizer(words: Cleaning, lowercase: bool, unicode: str = "nfc") -> Any:
    """The part of a tokenizer that does the rest; None: nothing to do.

    `lowercase` and `unicode` say what is meant where the settings leave it open.
    """
    forms: dict[str, list[Any]] = {"nfc": [normalizers.NFC()], "nfkc": [normalizers.NFKC()], "none": []}
    form = forms[words.unicode or unicode]
    steps = [*form]
    if words.strip_accents:
        steps += [normalizers.NFD(), normalizers.StripAccents(), *(form or [normalizers.NFC()])]
    if words.lowercase if words.lowercase is not None else lowercase:
        steps.append(normalizers.Lowercase())
    if words.fold_spaces:
        steps += [normalizers.Replace(Regex(_SPACES), " "), normalizers.Strip()]
    return normalizers.Sequence(steps) if steps else None


def without_control(text: str) -> str:
    """Without control characters; those that part words become a space."""
    return CONTROL.sub("", _GAPS.sub(" ", text)) if CONTROL.search(text) else text


def _mended(text: str) -> str:
    return str(_ftfy().fix_encoding(text))


@lru_cache(maxsize=1)
def _ftfy() -> Any:
    import ftfy  # a tenth of a second, and few texts need it

    return ftfy
