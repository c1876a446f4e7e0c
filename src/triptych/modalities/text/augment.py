"""Variants of a text: synonyms, words that change places or are left out, paraphrases. Numbers and the names of classes stay."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from triptych.contract.augment import Chain
from triptych.modalities.text.paraphrase import Paraphraser
from triptych.modalities.text.settings import Drop, Swap, Synonym
from triptych.modalities.text.synonyms import Synonyms, read_synonyms

_WORD = re.compile(r"(\S+)(\s*)")
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)
NOT = frozenset(["no", "not", "never", "none", "nothing", "nobody", "nor", "neither", "without", "cannot"])
"""Words whose loss turns a sentence into its opposite."""

Spared = Callable[[str], bool]


def augmenter(settings: Any, words: frozenset[str]) -> Chain:
    """What an input's `augment` does; `words` name classes.

    Raises:
        InputError: a list of synonyms or a model cannot be read.
    """
    counts: Counter[str] = Counter()
    parts = frozenset(part for name in words for part in re.findall(r"\w+", name.lower()))
    spared = partial(_is_spared, parts)
    makes: dict[str, Callable[[Any], Any]] = {
        "synonym": lambda step: partial(_by_synonym, spared, read_synonyms(step.file)),
        "swap": lambda step: partial(_by_swap, spared),
        "drop": lambda step: partial(_by_drop, spared),
        "paraphrase": lambda step: Paraphraser(step, words, counts),
    }
    return Chain([(step, makes[step.kind](step)) for step in settings.augment], counts=counts)


def core(word: str) -> str:
    """A word without the signs around it, in small letters."""
    match = _CORE.match(word)
    return match[2].lower() if match else ""


def _is_spared(parts: frozenset[str], word: str) -> bool:
    """Numbers, names of classes, words that say not, and what is no word at all."""
    bare = core(word)
    return not bare or any(sign.isdigit() for sign in bare) or not parts.isdisjoint(re.findall(r"\w+", bare)) or _says_not(bare)


def _says_not(bare: str) -> bool:
    return bare in NOT or bare.endswith(("n't", "n’t"))


def _split(text: str) -> list[list[str]]:
    """Words, each with the white space after it."""
    return [[match[1], match[2]] for match in _WORD.finditer(text)]


def _joined(words: list[list[str]]) -> str:
    return "".join(word + space for word, space in words).strip()


def _by_synonym(spared: Spared, known: Synonyms, text: str, step: Synonym, rng: np.random.Generator) -> str:
    words = _split(text)
    could = [place for place, (word, _) in enumerate(words) if core(word) in known and not spared(word)]
    for place in _some(could, step.share, len(words), rng):
        others = known[core(words[place][0])]
        words[place][0] = _in_place_of(words[place][0], others[rng.integers(len(others))])
    return _joined(words)


def _in_place_of(word: str, other: str) -> str:
    """With the signs around the word, and capital letters where it has them."""
    match = _CORE.match(word)
    assert match
    before, bare, after = match.groups()
    if len(bare) > 1 and bare.isupper():
        other = other.upper()
    elif bare[:1].isupper():
        other = other[:1].upper() + other[1:]
    return before + other + after


def _by_swap(spared: Spared, text: str, step: Swap, rng: np.random.Generator) -> str:
    words = _split(text)
    could = [place for place, (word, _) in enumerate(words) if not spared(word)]
    if len(could) > 1:
        for _ in range(max(1, round(step.share * len(words)))):
            a, b = rng.choice(could, 2, replace=False)
            words[a][0], words[b][0] = words[b][0], words[a][0]
    return _joined(words)


def _by_drop(spared: Spared, text: str, step: Drop, rng: np.random.Generator) -> str:
    words = _split(text)
    stays = [spared(word) or chance >= step.share for (word, _), chance in zip(words, rng.random(len(words)), strict=True)]
    real = [place for place, (word, _) in enumerate(words) if core(word)]
    if real and not any(stays[place] for place in real):
        stays[real[rng.integers(len(real))]] = True
    return _joined([word for word, stay in zip(words, stays, strict=True) if stay]) or text


def _some(could: list[int], share: float, of: int, rng: np.random.Generator) -> list[int]:
    """Some of the places, as many as `share` of all words are; at least one where there is one."""
    count = min(len(could), max(1, round(share * of)))
    return [could[place] for place in rng.permutation(len(could))[:count]]
