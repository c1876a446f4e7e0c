"""Scores of written texts against what was expected: the figures that people compare with, as their own programs give them.

| score | what it is | as given by |
|---|---|---|
| `exact`, `f1` | share of answers that are right, words shared with the answer; 0 to 1 | SQuAD (Rajpurkar et al. 2016, 2018) |
| `bleu`, `chrf` | word n-grams, character n-grams of all rows together; 0 to 100 | sacrebleu (Papineni et al. 2002; Popović 2015) |
| `rouge_1`, `rouge_2`, `rouge_l` | words, pairs, longest common sequence, as F; 0 to 1 | rouge-score, without stemming (Lin 2004) |
| `meteor` | words, stems and synonyms in order; 0 to 1 | nltk with WordNet (Lavie and Agarwal 2007) |
| `cider` | n-grams weighted by how rare they are; 0 to 10 | CIDEr-D of pycocoevalcap (Vedantam et al. 2015) |
| `wer`, `cer` | word errors, character errors by length; 0 is best, more than 1 is possible | jiwer |

Where a row has several expected texts, the best of them counts; for `cider` the mean over them, for `bleu` n-grams of any and
the nearest length. Texts are compared as they are: `normalise.normalised` is applied by whoever calls, before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from triptych.base.errors import InputError, unknown_word
from triptych.contract.tasks import WRITTEN, Direction

if TYPE_CHECKING:
    from torch import Tensor

    Summed = tuple[Tensor, Callable[[Tensor], Tensor]]
    """Numbers of each row (N x K), and the score of their sums (... x K -> ...)."""

Expected = Sequence[Sequence[str]]
"""The texts that would be right, one or more a row."""

SCORES: Mapping[str, Direction] = WRITTEN
"""The scores there are, and which way is better."""


def scores(names: Sequence[str], said: Sequence[str], expected: Expected) -> dict[str, float]:
    """Each score over all rows together; of no rows at all it is not a number.

    Raises:
        InputError: an unknown name, rows that do not match, a row without an expected text; a package or WordNet is not here.
    """
    found = {}
    for name in names:
        rows_NK, score = statistics(name, said, expected)
        found[name] = float(score(rows_NK.sum(0))) if len(said) else math.nan
    return found


def per_row(name: str, said: Sequence[str], expected: Expected) -> list[float] | None:
    """What each row adds to a score that is the mean over rows; None where it is made of sums (`bleu`, `chrf`, `wer`, `cer`).

    `cider` weighs n-grams by their number in all rows that are given: a row's figure depends on the others.
    """
    _check(name, said, expected)
    measure = _means(name)
    return None if measure is None else measure(said, expected)


def statistics(name: str, said: Sequence[str], expected: Expected) -> Summed:
    """What a score is made of: numbers that are summed over rows, and the score of such sums.

    In the shape of `objective.intervals.Statistics`, so that a resample of rows costs one product.
    """
    from triptych.modalities.text import edits, ngrams

    values = per_row(name, said, expected)
    if values is not None:
        return mean_of(values)
    return {"bleu": ngrams.bleu, "chrf": ngrams.chrf, "wer": edits.wer, "cer": edits.cer}[name](said, expected)


def mean_of(values: Sequence[float]) -> Summed:
    """A mean as sums: of the values, and of rows."""
    import torch

    value_N = torch.tensor(values, dtype=torch.float64)
    return torch.stack([value_N, torch.ones_like(value_N)], 1), lambda sums: sums[..., 0] / sums[..., 1]


def perplexity_of(nll_N: Tensor, tokens_N: Tensor) -> Summed:
    """Perplexity as sums: of negative log-likelihoods (natural logarithm), and of the tokens they are of."""
    import torch

    return torch.stack([nll_N.double(), tokens_N.double()], 1), lambda sums: (sums[..., 0] / sums[..., 1]).exp()


def perplexity(nll: float, tokens: int) -> float:
    """exp(nll / tokens); infinite where that is beyond what a number holds, not a number where there are no tokens."""
    if tokens <= 0:
        return math.nan
    try:
        return math.exp(nll / tokens)
    except OverflowError:
        return math.inf


def _means(name: str) -> Callable[[Sequence[str], Expected], list[float]] | None:
    """The scores that are means over rows."""
    from triptych.modalities.text import cider, matches, meteor

    return {
        "exact": matches.exact,
        "f1": matches.token_f1,
        "rouge_1": matches.rouge_1,
        "rouge_2": matches.rouge_2,
        "rouge_l": matches.rouge_l,
        "meteor": meteor.meteor,
        "cider": cider.cider,
    }.get(name)


def _check(name: str, said: Sequence[str], expected: Expected) -> None:
    if name not in SCORES:
        raise unknown_word("score", name, SCORES)
    if len(said) != len(expected):
        raise InputError(f"{len(said)} texts were written, and {len(expected)} rows are expected")
    for number, texts in enumerate(expected):
        if isinstance(texts, str):  # its letters would each pass for a text
            raise InputError(f"what is expected is a list of texts a row, not {texts!r}", where=f"row {number}", fix=f"[{texts!r}]")
        if not texts:
            raise InputError("nothing is expected, so that there is nothing to compare with", where=f"row {number}")
