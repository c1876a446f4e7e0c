"""Answers that match: SQuAD's exact match and F1 over words, and ROUGE; a number a row, the best over what is expected."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from triptych.base.extras import need

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_words(text: str) -> list[str]:
    """Words of an answer as SQuAD compares them: in small letters, without ASCII punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def exact(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """1 where an answer is one of those expected, but for case, punctuation, articles and spaces."""
    return _best(lambda ours, theirs: float(ours == theirs), said, expected)


def token_f1(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """F1 of the words shared, each as often as it stands in both; nothing equals nothing alone (SQuAD 2.0)."""
    return _best(_f1, said, expected)


def _best(measure: Callable[[list[str], list[str]], float], said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    rows = zip(map(squad_words, said), expected, strict=True)
    return [max(measure(ours, squad_words(text)) for text in texts) for ours, texts in rows]


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def rouge_1(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """F of the words shared."""
    return _rouge("rouge1", said, expected)


def rouge_2(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """F of the pairs of neighbours shared; a text of one word has none, and scores 0."""
    return _rouge("rouge2", said, expected)


def rouge_l(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """F of the longest sequence of words that both have in this order."""
    return _rouge("rougeL", said, expected)


def _rouge(kind: str, said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    scorer = need("rouge_score.rouge_scorer", extra="metrics", why=f"the score {kind}").RougeScorer([kind])
    return [float(scorer.score_multi(texts, text)[kind].fmeasure) for text, texts in zip(said, expected, strict=True)]
