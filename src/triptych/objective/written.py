"""Scores of answers in writing that need no writing: how a model takes the right answer, piece by piece."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.contract.values import Output
from triptych.objective.intervals import Statistics


def told(output: Output) -> Tensor:
    """What of a decoder's answer is kept, (B, 4): hits among words, words, -log p of all pieces, pieces."""
    return torch.stack([output["hits_B"], output["words_B"], output["nll_B"], output["count_B"]], 1)


def written_scores(answer_N4: Tensor) -> dict[str, float]:
    """`accuracy`: the share of the right answers' pieces that come first where those before them are given; `perplexity`.

    What ends an answer counts for the perplexity alone: it is foretold by any model, and would make every accuracy look good.
    """
    hits, words, nll, count = answer_N4.double().sum(0)
    return {"accuracy": float(hits / words), "perplexity": float((nll / count).exp())}


def accuracy_of(answer_N4: Tensor) -> Statistics:
    """What the accuracy is made of."""
    return Statistics(answer_N4[:, :2].double(), lambda sums: sums[..., 0] / sums[..., 1])
