"""From what a model says of each frame to a text: connectionist temporal classification (Graves et al. 2006).

Each frame says a class; the same class in frames that follow each other is one symbol, and class 0, the blank, is nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLANK, PAD = 0, -1
UNLIKELY = math.log(1e-4)
"""Classes of a frame below this (as a logarithm) are not followed: none of them is in the best text but by a miracle."""


def padded(rows: Sequence[Sequence[int]], width: int = 0) -> Tensor:
    """Rows of classes side by side, (B, W) int64; what is behind a row's end is -1. W is `width` at least."""
    made = torch.full((len(rows), max([width, *map(len, rows)])), PAD, dtype=torch.long)
    for place, row in enumerate(rows):
        made[place, : len(row)] = torch.tensor(row, dtype=torch.long)
    return made


def greedy(logits_BTC: Tensor, frames_B: Tensor) -> Tensor:
    """The best class of each frame, those that stay taken as one, without blanks: (B, W), padded with -1."""
    best_BT = logits_BTC.argmax(2)
    real_BT = torch.arange(best_BT.shape[1], device=best_BT.device) < frames_B[:, None]
    new_BT = torch.ones_like(real_BT)
    new_BT[:, 1:] = best_BT[:, 1:] != best_BT[:, :-1]
    kept_BT = real_BT & new_BT & (best_BT != BLANK)
    return padded([row[kept].tolist() for row, kept in zip(best_BT.cpu(), kept_BT.cpu(), strict=True)])


def searched(logits_BTC: Tensor, frames_B: Tensor, width: int) -> Tensor:
    """The most likely text of each row, as far as `width` texts followed at once find it: (B, W), padded with -1."""
    rows = logits_BTC.float().log_softmax(2).cpu().double().numpy()
    return padded([beam(row_TC[:count], width) for row_TC, count in zip(rows, frames_B.tolist(), strict=True)])


def beam(logs_TC: np.ndarray, width: int, least: float = UNLIKELY) -> list[int]:
    """Prefix beam search (Hannun et al. 2014): the text whose paths together are the most likely, of those that are followed.

    `logs_TC` are logarithms of probabilities; classes of a frame below `least` are not followed. Each text has two sums: of its
    paths that end in a blank, and of those that do not.
    """
    texts: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for logs_C in logs_TC:
        likely = np.flatnonzero(logs_C >= min(least, float(logs_C.max()))).tolist()
        blank_of: dict[tuple[int, ...], list[float]] = defaultdict(list)
        other_of: dict[tuple[int, ...], list[float]] = defaultdict(list)
        for text, (blank, other) in texts.items():
            both = _sum(blank, other)
            for c in likely:
                log = float(logs_C[c])
                if c == BLANK:
                    blank_of[text].append(both + log)
                elif text and c == text[-1]:
                    other_of[text].append(other + log)
                    other_of[(*text, c)].append(blank + log)
                else:
                    other_of[(*text, c)].append(both + log)
        made = {text: (_sum(*blank_of[text]), _sum(*other_of[text])) for text in {**blank_of, **other_of}}
        texts = dict(sorted(made.items(), key=lambda one: (-_sum(*one[1]), one[0]))[:width])
    return list(max(texts.items(), key=lambda one: (_sum(*one[1]), -len(one[0])))[0])


def _sum(*logs: float) -> float:
    """The logarithm of a sum of probabilities."""
    most = max(logs, default=-math.inf)
    return most if most == -math.inf else most + math.log(sum(math.exp(log - most) for log in logs))


def aligned(logs_TC: np.ndarray, classes: Sequence[int]) -> list[tuple[int, int]]:
    """First frame of each class, and the one after its last, on the most likely path that says them (Viterbi).

    Raises:
        ValueError: there are too few frames for so many classes.
    """
    if not classes:
        return []
    states = np.full(2 * len(classes) + 1, BLANK)
    states[1::2] = classes
    skips = np.zeros(len(states), bool)  # from one symbol to the next without a blank, where they differ
    skips[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = logs_TC[0, states[:2]]
    came = np.zeros((len(logs_TC), len(states)), np.int8)
    for t in range(1, len(logs_TC)):
        steps = np.full((3, len(states)), -np.inf)
        steps[0] = score
        steps[1, 1:] = score[:-1]
        steps[2, 2:] = np.where(skips[2:], score[:-2], -np.inf)
        came[t] = steps.argmax(0)
        score = steps.max(0) + logs_TC[t, states]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    if score[state] == -np.inf:
        raise ValueError(f"{len(logs_TC)} frames are too few for {len(classes)} symbols")
    spans = [[len(logs_TC), 0] for _ in classes]
    for t in range(len(logs_TC) - 1, -1, -1):
        if state % 2:
            span = spans[state // 2]
            span[0], span[1] = min(span[0], t), max(span[1], t + 1)
        state -= int(came[t, state])
    return [(first, last) for first, last in spans]
