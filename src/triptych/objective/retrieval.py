"""Scores of a joint space: whether what belongs together is found, from one column to another."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1024  # queries whose similarities are held at once: 1,024 x 100,000 answers are 400 MB
DEEPEST = 10
NOWHERE = 2**40  # a rank that no answer has


def retrieval_scores(query_QD: Tensor, answer_AD: Tensor, query_group_Q: Tensor, answer_group_A: Tensor) -> dict[str, float]:
    """Recall at 1, 5 and 10, mean average precision at 10, and the median rank of the first right answer (1 is best).

    recall@k is the share of queries with an answer of their own group among the first k. Average precision at k is the sum,
    over right answers among the first k, of the precision up to each, divided by min(k, right answers there are).
    Queries whose group has no answer are left out; not a number where none is left. The similarity matrix is never whole.
    """
    ranks_QK, right_Q = right_ranks(query_QD, answer_AD, query_group_Q, answer_group_A)
    ranks_QK, right_Q = ranks_QK[right_Q > 0], right_Q[right_Q > 0]
    if not len(ranks_QK):
        return {name: float("nan") for name in ("recall@1", "recall@5", "recall@10", "map@10", "median_rank")}
    recalls = {f"recall@{k}": float((ranks_QK[:, 0] < k).double().mean()) for k in (1, 5, 10)}
    place_K = torch.arange(1, DEEPEST + 1, device=ranks_QK.device)
    precision_QK = torch.where(ranks_QK < DEEPEST, place_K / (ranks_QK + 1.0).double(), 0.0)
    average_Q = precision_QK.sum(1) / right_Q.clamp(max=DEEPEST)
    median = float((ranks_QK[:, 0] + 1.0).quantile(0.5)) if len(ranks_QK) < 2**24 else float((ranks_QK[:, 0] + 1.0).median())
    return {**recalls, "map@10": float(average_Q.mean()), "median_rank": median}


def right_ranks(query_QD: Tensor, answer_AD: Tensor, query_group_Q: Tensor, answer_group_A: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks (0 is first) of each query's ten best right answers, and how many right answers there are.

    Ranks (Q x 10) are NOWHERE where there are fewer right ones; but for the best, also where ten wrong ones stand before.
    A wrong answer that ties with a right one, or is no number, counts as ranked before it: a collapsed space scores nothing.
    """
    pairs = zip(query_QD.split(CHUNK), query_group_Q.split(CHUNK), strict=True)
    found = [_chunk(chunk_QD, answer_AD, group_Q, answer_group_A) for chunk_QD, group_Q in pairs]
    ranks, right = zip(*found, strict=True) if found else ((torch.empty(0, DEEPEST),), (torch.empty(0),))
    return torch.cat(ranks), torch.cat(right)


def _chunk(query_QD: Tensor, answer_AD: Tensor, group_Q: Tensor, group_A: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(query_QD.device.type, enabled=False):  # near ties are decided in float32
        similar_QA = query_QD.float() @ answer_AD.float().T
    right_QA = group_Q[:, None] == group_A[None, :]
    right_Q, deepest = right_QA.sum(1), min(DEEPEST, len(answer_AD))
    ours_QA = similar_QA.masked_fill(~right_QA | similar_QA.isnan(), -torch.inf)
    best_QK = ours_QA.topk(deepest, dim=1).values
    similar_QA = similar_QA.masked_fill(right_QA, -torch.inf)  # from here on the wrong ones alone
    ranks_QK = torch.full((len(query_QD), DEEPEST), NOWHERE, device=query_QD.device)
    for place in range(min(deepest, int(right_Q.max()) if len(right_Q) else 0)):
        wrong_Q = (~(similar_QA < best_QK[:, place : place + 1]) & ~right_QA).sum(1)
        counts_Q = (place < right_Q) & ((wrong_Q < DEEPEST) | (place == 0))
        ranks_QK[:, place] = torch.where(counts_Q, wrong_Q + place, NOWHERE)
        if not bool((counts_Q & (wrong_Q < DEEPEST)).any()):
            break
    return ranks_QK, right_Q


def chance_scores(query_group_Q: Tensor, answer_group_A: Tensor) -> dict[str, float]:
    """What `retrieval_scores` expects of a random order: recall@k is 1 - C(A-R, k) / C(A, k) for R right of A answers.

    The rank of the first right one is (A+1) / (R+1) on average; its median over queries is told, as that of the scores is.
    """
    answers = len(answer_group_A)
    groups, count_G = answer_group_A.unique(return_counts=True)
    right_Q = torch.zeros(len(query_group_Q), dtype=torch.float64)
    place_Q = torch.searchsorted(groups, query_group_Q.contiguous()).clamp(max=max(len(groups) - 1, 0))
    if answers:
        right_Q = torch.where(groups[place_Q] == query_group_Q, count_G[place_Q], 0).double()
    right_Q = right_Q[right_Q > 0]
    if not len(right_Q):
        return {name: float("nan") for name in ("recall@1", "recall@5", "recall@10", "median_rank")}
    miss_Q, scores = torch.ones_like(right_Q), {}
    for k in range(min(DEEPEST, answers)):
        miss_Q = miss_Q * (answers - right_Q - k).clamp(min=0) / (answers - k)
        scores[k + 1] = float((1 - miss_Q).mean())
    recalls = {f"recall@{k}": scores[min(k, answers)] for k in (1, 5, 10)}
    return {**recalls, "median_rank": float(((answers + 1) / (right_Q + 1)).median())}
