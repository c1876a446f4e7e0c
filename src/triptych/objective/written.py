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


def preferred(output: Output, beta: float) -> Tensor:
    """What is kept of a preference, (B,): the margin, beta times by how many nats the better answer gained more than the worse."""
    return beta * (output["chosen_B"] - output["rejected_B"])


def preferred_right(margin_N: Tensor) -> Tensor:
    """Whether the better answer gained more; half where both gained the same, as they do before anything was learnt."""
    return (margin_N > 0).double() + 0.5 * (margin_N == 0)


def accuracy_of(answer_N4: Tensor) -> Statistics:
    """What the accuracy is made of."""
    return Statistics(answer_N4[:, :2].double(), lambda sums: sums[..., 0] / sums[..., 1])
