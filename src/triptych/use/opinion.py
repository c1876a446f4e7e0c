"""What remarks say together: how many of what, how often the run was right by them, how far raters agree, how good voices are."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from triptych.use.remarks import KINDS, Remark

LEVEL = 0.95


def summary(remarks: Sequence[Remark], tasks: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Counts and means over remarks; `tasks` are those of the run's recipe.

    Returns:
        `remarks`, `inputs` and `raters` (different ones), `kinds` {kind: count}, `tasks` {task: what `_of_task` gives}, `voices`
        {task, or nothing: what `mos` gives}, `runs` {digest: count}.
    """
    by_task: dict[str, list[Remark]] = defaultdict(list)
    heard: dict[str, list[Remark]] = defaultdict(list)
    for one in remarks:
        (heard if one.kind == "listening" else by_task)[one.task].append(one)
    counts = Counter(one.kind for one in remarks)
    return {
        "remarks": len(remarks),
        "inputs": len({one.input_hash for one in remarks}),
        "raters": len({one.rater for one in remarks if one.rater}),
        "kinds": {kind: counts[kind] for kind in KINDS},
        "tasks": {name: _of_task(found, (tasks or {}).get(name)) for name, found in by_task.items()},
        "voices": {name: mos(found) for name, found in heard.items()},
        "runs": dict(Counter(one.digest for one in remarks)),
    }


def _of_task(remarks: Sequence[Remark], task: Any) -> dict[str, Any]:
    """Counts by kind; `right`: by the corrections, how often the run was; how far raters agree; the mean rating; what was said.

    `error` is of numbers: how far the run's answers lie from the corrections, in the mean.
    """
    counts = Counter(one.kind for one in remarks)
    ratings = [one.rating for one in remarks if one.rating is not None]
    corrections = [one for one in remarks if one.kind == "correction"]
    judged = [right for one in corrections if (right := was_right(one, task)) is not None]
    return {
        **{f"{kind}s": counts[kind] for kind in KINDS if kind != "listening"},
        "right": share(sum(judged), len(judged)),
        "error": _error(corrections, task),
        "agreement": agreement(corrections),
        "rating": sum(ratings) / len(ratings) if ratings else None,
        "said": dict(Counter(key(one.correction) for one in corrections).most_common(20)),
    }


def key(value: Any) -> str:
    """A correction as one word, equal where corrections are."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def was_right(remark: Remark, task: Any) -> bool | None:
    """Whether the run's answer is what the correction says; None where its answer is not known, or is a number."""
    said = remark.answer.get("said", remark.answer.get("probabilities")) if isinstance(remark.answer, dict) else remark.answer
    if said is None or isinstance(remark.correction, float):
        return None
    if isinstance(remark.correction, list):
        separator = getattr(task, "separator", "|")
        given = labels_said(remark.answer, task) if isinstance(remark.answer, dict) else str(said).split(separator)
        return sorted(one.strip() for one in given if one.strip()) == sorted(remark.correction)
    return " ".join(str(said).split()).casefold() == " ".join(str(remark.correction).split()).casefold()


def labels_said(answer: Mapping[str, Any], task: Any) -> list[str]:
    """The labels that a run gave: those whose probability reaches the task's threshold."""
    if isinstance(shares := answer.get("probabilities"), dict):
        return [label for label, value in shares.items() if value > getattr(task, "threshold", 0.5)]
    said = answer.get("said")
    return [str(one) for one in said] if isinstance(said, list) else str(said or "").split(getattr(task, "separator", "|"))


def _error(corrections: Iterable[Remark], task: Any) -> float | None:
    """Of numbers: how far the run's answers lie from the corrections, in the mean."""
    if getattr(task, "kind", "") != "regress":
        return None
    pairs = [(one.answer.get("value"), one.correction) for one in corrections if isinstance(one.answer, dict)]
    far = [abs(value - right) for value, right in pairs if isinstance(value, int | float) and isinstance(right, int | float)]
    return sum(far) / len(far) if far else None


def share(count: int, of: int) -> dict[str, Any] | None:
    """A share with its 95 % interval (Wilson 1927); None of nothing."""
    if not of:
        return None
    from scipy.special import ndtri

    z = float(ndtri((1 + LEVEL) / 2))
    value = count / of
    middle = (value + z * z / (2 * of)) / (1 + z * z / of)
    reach = z * math.sqrt(value * (1 - value) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return {"count": count, "of": of, "value": value, "low": max(0.0, middle - reach), "high": min(1.0, middle + reach)}


def agreement(corrections: Iterable[Remark]) -> dict[str, Any] | None:
    """Of pairs of corrections of one input by different raters the share that say the same; None where there is no such pair."""
    by_input: dict[str, list[Remark]] = defaultdict(list)
    for one in corrections:
        by_input[one.input_hash].append(one)
    same = pairs = 0
    for found in by_input.values():
        for place, one in enumerate(found):
            for other in found[:place]:
                if one.rater != other.rater or not one.rater:
                    pairs += 1
                    same += key(one.correction) == key(other.correction)
    return {"same": same, "pairs": pairs, "value": same / pairs} if pairs else None


def mos(remarks: Sequence[Remark]) -> dict[str, Any]:
    """Mean opinion score with its 95 % interval; votes of one rater are not independent.

    The interval is Student's over raters (cluster-robust variance with its small-sample factor: Liang and Zeger 1986). Votes without
    a rater may all be of one, so they count as one. With one rater, or where all votes are the same, there is none.
    """
    votes = [(one.rater, float(one.score)) for one in remarks if one.score is not None]
    mean = sum(score for _, score in votes) / len(votes)
    by_rater: dict[str, float] = defaultdict(float)
    for rater, score in votes:
        by_rater[rater] += score - mean
    raters, spread = len(by_rater), sum(residual * residual for residual in by_rater.values())
    low = high = None
    if raters > 1 and spread > 0:
        from scipy.special import stdtrit

        error = math.sqrt(raters / (raters - 1) * spread) / len(votes)
        reach = float(stdtrit(raters - 1, (1 + LEVEL) / 2)) * error
        low, high = max(1.0, mean - reach), min(5.0, mean + reach)
    return {"mean": mean, "low": low, "high": high, "votes": len(votes), "raters": raters}
