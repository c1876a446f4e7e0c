"""BLEU and chrF by sacrebleu: counts of n-grams that are summed over rows before anything is divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triptych.base.extras import need

ORDERS = 4  # n-grams of words in BLEU
CHRF_ORDERS = 6  # of characters in chrF
BETA = 2  # recall counts so many times as much as precision in chrF

if TYPE_CHECKING:
    from triptych.modalities.text.score import Summed


def bleu(said: Sequence[str], expected: Sequence[Sequence[str]]) -> Summed:
    """Rows of written and expected length, n-grams that are right, n-grams there are: 2 + 4 + 4.

    sacrebleu's own words for what is done: tok:13a, case:mixed, smooth:exp.
    """
    return _counts(_sacrebleu("BLEU")(force=True), said, expected, 2 + 2 * ORDERS), _bleu


def chrf(said: Sequence[str], expected: Sequence[Sequence[str]]) -> Summed:
    """Rows of n-grams written, expected and shared, of 1 to 6 characters: 6 x 3. chrF2, spaces left out."""
    return _counts(_sacrebleu("CHRF")(), said, expected, 3 * CHRF_ORDERS), _chrf


def _sacrebleu(metric: str) -> Any:
    return getattr(need("sacrebleu.metrics", extra="metrics", why=f"the score {metric.lower()}"), metric)


def _counts(metric: Any, said: Sequence[str], expected: Sequence[Sequence[str]], width: int) -> Tensor:
    """Statistics of each row, row by row, so that rows may have different numbers of expected texts."""
    rows = [metric._extract_corpus_statistics([text], [[one] for one in texts])[0] for text, texts in zip(said, expected, strict=True)]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), width)


def _bleu(sums: Tensor) -> Tensor:
    """BLEU, 0 to 100, where the k-th order without a right n-gram counts as 1 / 2^k of one (mteval-v13a's smoothing)."""
    said, expected, right, there = sums[..., 0], sums[..., 1], sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    right_or_less = torch.where(right > 0, right, 0.5 ** (right == 0).cumsum(-1).double())
    mean = (right_or_less / there.clamp(min=1)).log().mean(-1).exp()
    brevity = torch.where(said < expected, (1 - expected / said.clamp(min=1)).exp(), 1.0)
    return torch.where((right > 0).any(-1) & (there > 0).all(-1), 100 * brevity * mean, 0.0)


def _chrf(sums: Tensor) -> Tensor:
    """chrF, 0 to 100: F of the mean precision and the mean recall over orders that both sides have."""
    said, expected, shared = sums.unflatten(-1, (CHRF_ORDERS, 3)).unbind(-1)
    there = (said > 0) & (expected > 0)
    orders = there.sum(-1).clamp(min=1)
    precision = torch.where(there, shared / said.clamp(min=1), 0.0).sum(-1) / orders
    recall = torch.where(there, shared / expected.clamp(min=1), 0.0).sum(-1) / orders
    found = (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
    return torch.where(precision + recall > 0, 100 * found, 0.0)
