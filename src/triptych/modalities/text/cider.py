"""CIDEr-D (Vedantam, Zitnick and Parikh 2015), as pycocoevalcap computes it.

That package is 104 MB of Java programs and their data beside this one formula, so the formula is here and is compared with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from triptych.modalities.text.words import caption_words

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # of the penalty for another length
Gram = tuple[str, ...]


class _Weighed(NamedTuple):
    """A text as weights of n-grams, an entry an order."""

    weights: list[dict[Gram, float]]
    norms: list[float]
    length: int


def cider(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each row, 0 to 10, as a mean over what is expected; how rare an n-gram is comes from all that is expected.

    An n-gram that every row has counts for nothing: of a single row, and of rows that all expect the same, the score is 0.
    """
    theirs = [[_grams(text) for text in texts] for texts in expected]
    rows_with: Counter[Gram] = Counter(gram for texts in theirs for gram in set().union(*texts))
    ours = [_weighed(_grams(text), rows_with, len(said)) for text in said]
    return [
        10 * sum(_similar(row, _weighed(text, rows_with, len(said))) for text in texts) / len(texts)
        for row, texts in zip(ours, theirs, strict=True)
    ]


def _grams(text: str) -> Counter[Gram]:
    words = caption_words(text, "the score cider")
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))


def _weighed(grams: Counter[Gram], rows_with: Counter[Gram], rows: int) -> _Weighed:
    """Counts times log(rows / rows that have the n-gram); one that is nowhere expected is as rare as one of a single row."""
    weights: list[dict[Gram, float]] = [{} for _ in range(LONGEST)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (math.log(rows) - math.log(max(1, rows_with[gram])))
    norms = [math.sqrt(sum(weight**2 for weight in order.values())) for order in weights]
    return _Weighed(weights, norms, sum(count for gram, count in grams.items() if len(gram) == 2))  # pairs, as the reference counts


def _similar(ours: _Weighed, theirs: _Weighed) -> float:
    """Mean over orders of the cosine in which no n-gram counts more often than it is expected, less for another length."""
    total = 0.0
    for mine, yours, norm, other in zip(ours.weights, theirs.weights, ours.norms, theirs.norms, strict=True):
        if norm and other:
            total += sum(min(weight, yours[gram]) * yours[gram] for gram, weight in mine.items() if gram in yours) / (norm * other)
    return total / LONGEST * math.exp(-((ours.length - theirs.length) ** 2) / (2 * SIGMA**2))
