"""What the headline figures are worth: how sure they are, whether training changed them, whether it beat the simple models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from triptych.contract.tasks import Direction, cut_of, direction, headline, unwritten
from triptych.objective.boxes import iou
from triptych.objective.classes import given_of
from triptych.objective.intervals import Interval, Statistics, difference, interval, macro_f1_of, mcnemar, mean_of, r2_of
from triptych.objective.retrieval import right_ranks
from triptych.objective.transcripts import wer_of
from triptych.objective.written import accuracy_of, preferred_right
from triptych.run.baselines import Told
from triptych.run.measure import Measured

BETTER, SAME, WORSE = "better", "not told apart", "worse"
MOST_PARTED = 20_000


def verdict(name: str, task: Any, untouched: Measured, trained: Measured, baselines: Told, group_N: Tensor | None) -> dict[str, Any] | None:
    """Of one task's headline score; None where no row was measured.

    Returns:
        `metric` (see `shown_by`), `direction`, and `untouched`, `trained`, `change`: each `{value, low, high}` (95 %, paired
        bootstrap; rows of one group are drawn together). `p_value` of McNemar's test where an answer is right or wrong.
        `verdict`: the change's interval lies above zero, holds it, or lies below; of an error that is worse, not told apart,
        better. `baselines`, and `beaten`: those that the whole interval of `trained` is better than.
        `prompts`: of a task with a prompt, `untouched`, `trained`, `change` and `verdict` of the answers by prompts.
    """
    metric = shown_by(name, task, untouched, trained)
    before, after = statistics(name, task, untouched, metric), statistics(name, task, trained, metric)
    if before is None or after is None:
        return None
    way = direction(task, metric)
    change, now = difference(before, after, group_N), interval(after, group_N)
    told: dict[str, Any] = {
        "metric": metric,
        "direction": way,
        "untouched": asdict(interval(before, group_N)),
        "trained": asdict(now),
        "change": asdict(change),
        "verdict": judged(change, way),
        "baselines": baselines,
        "beaten": [baseline for baseline, values in baselines.items() if _surely(now, values.get(metric, float("nan")), way)],
    }
    if task.kind == "classify":
        told["p_value"] = mcnemar(*(_right(name, measured) for measured in (untouched, trained)))
    if name in untouched.prompted and name in trained.prompted:
        told["prompts"] = _by_prompts(name, untouched, trained, group_N)
    return told


def _by_prompts(name: str, untouched: Measured, trained: Measured, group_N: Tensor | None) -> dict[str, Any]:
    """The same comparison of the answers that the joint space gives to the prompts."""
    before, after = (_among(mean_of(_right(name, m, m.prompted)), m.has_truth[name]) for m in (untouched, trained))
    change = difference(before, after, group_N)
    told = {"untouched": interval(before, group_N), "trained": interval(after, group_N), "change": change}
    return {**{when: asdict(found) for when, found in told.items()}, "verdict": judged(change, "higher"), "alike": trained.alike.get(name)}


def parts(name: str, task: Any, untouched: Measured, trained: Measured, group_N: Tensor | None) -> dict[str, dict[str, Any]]:
    """Of the score from each mixture, in each direction and by prompts: its `metric`, the `change` and its `verdict`.

    Nothing where there are more rows than `MOST_PARTED`: there, all that can be seen in three decimals is more than chance.
    """
    if len(trained.ids) > MOST_PARTED:
        return {}
    before, after = (_parted(name, task, measured, group_N) for measured in (untouched, trained))
    changes = {of: difference(before[of][0], after[of][0], after[of][1]) for of in after if of in before}
    metric = unwritten(task)
    return {
        of: {"metric": metric, "change": asdict(change), "verdict": judged(change, direction(task, metric))}
        for of, change in changes.items()
    }


def _parted(name: str, task: Any, measured: Measured, group_N: Tensor | None) -> dict[str, tuple[Statistics, Tensor | None]]:
    """{what a score is of: its statistics, the groups of its rows}."""
    if task.kind == "contrast":
        found = _hits(measured.embeddings[name], measured.truth[name], measured.present)
        return {of: (Statistics(hits, lambda sums: sums[..., 0] / sums[..., 1]), group_N) for of, hits in found.items()}
    seen: dict[str, tuple[Statistics, Tensor | None]] = {}
    for of, mixed in measured.mixed.get(name, {}).items():
        groups = None if group_N is None else group_N[mixed.places]
        if task.kind == "classify":
            seen[of] = mean_of(mixed.answers == mixed.truth), groups
            continue
        every = torch.ones(len(mixed.places), dtype=torch.bool)
        made = statistics(
            name, task, Measured([], [], {name: mixed.answers}, {name: mixed.truth}, {name: every}, {}, {}, cuts=measured.cuts)
        )
        if made is not None:
            seen[of] = made, groups
    if name in measured.prompted:
        seen["by prompts"] = _among(mean_of(_right(name, measured, measured.prompted)), measured.has_truth[name]), group_N
    return seen


def judged(change: Interval, way: Direction) -> str:
    """What a change is, by its interval, of a score that is better this way."""
    up, down = change.low > 0, change.high < 0
    return (BETTER if up == (way == "higher") else WORSE) if up or down else SAME


def _surely(now: Interval, value: float, way: Direction) -> bool:
    return now.low > value if way == "higher" else now.high < value


def shown_by(name: str, task: Any, *measured: Measured) -> str:
    """The score that stands for a task: its headline; where answers of any of these were not written, what needs no writing."""
    written = all(name in one.written and one.written[name].said for one in measured)
    return headline(task) if written else unwritten(task)


def statistics(name: str, task: Any, measured: Measured, metric: str | None = None) -> Statistics | None:
    """What a score of a task is made of, over all rows that were measured; None where none has the target. By default `shown_by`."""
    metric = metric or shown_by(name, task, measured)
    rows_N = measured.has_truth[name]
    if task.kind == "contrast":
        return _recall(measured.embeddings[name], measured.truth[name], measured.present)
    if not bool(rows_N.any()):
        return None
    answer, truth = measured.answers[name], measured.truth[name]
    if task.kind == "generate":
        return _among(accuracy_of(answer), rows_N) if metric == unwritten(task) else measured.written[name].statistics(metric, len(rows_N))
    if task.kind == "prefer":
        return _among(mean_of(preferred_right(answer)), rows_N)
    if task.kind == "classify":
        return _among(mean_of(_right(name, measured)), rows_N)
    if task.kind == "ground":
        return _among(mean_of(iou(answer[:, :4].double(), truth.double())), rows_N)
    if task.kind == "ctc":
        return _among(wer_of(answer, truth, task.symbols), rows_N)
    if task.kind == "multilabel":
        return _among(macro_f1_of(truth.bool(), given_of(answer, measured.cuts.get(name, cut_of(task, {})))), rows_N)
    return _among(r2_of(torch.where(rows_N, answer, 0), torch.where(rows_N, truth, truth[rows_N].mean())), rows_N)


def _among(whole: Statistics, rows_N: Tensor) -> Statistics:
    """Rows without the target count for nothing; they stay, so that groups still belong to rows."""
    return Statistics(whole.rows * rows_N[:, None], whole.score)


def _right(name: str, measured: Measured, answers: Mapping[str, Tensor] | None = None) -> Tensor:
    answer, truth = (measured.answers if answers is None else answers)[name], measured.truth[name]
    return (answer.argmax(1) == truth) & measured.has_truth[name]


def _recall(embeddings: Mapping[str, Tensor], group_N: Tensor, present: Mapping[str, Tensor]) -> Statistics | None:
    """Recall@1 in every direction: hits and questions a row, whose shares are averaged."""
    columns = list(_hits(embeddings, group_N, present).values())
    if not columns:
        return None
    return Statistics(torch.cat(columns, 1), lambda sums: (sums[..., 0::2] / sums[..., 1::2]).nanmean(-1))


def _hits(embeddings: Mapping[str, Tensor], group_N: Tensor, present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{direction: N x 2}: whether the first answer to a row's question is right, and whether there is a question."""
    found = {}
    for a, b in permutations(embeddings, 2):
        here, there = present[a], present[b]
        if not bool(here.any()) or not bool(there.any()):
            continue
        ranks_QK, right_Q = right_ranks(embeddings[a][here], embeddings[b][there], group_N[here], group_N[there])
        hits = torch.zeros(len(group_N), 2, dtype=torch.float64)
        hits[here] = torch.stack([(ranks_QK[:, 0] == 0) & (right_Q > 0), right_Q > 0], 1).double()
        found[f"{a} -> {b}"] = hits
    return found


ALIKE = 0.98
"""Cosine of the two sentences that are least alike, above which the classes' sentences are all one to a space."""


def _told_by_nothing(alike: float | None) -> list[str]:
    if alike is None or alike < ALIKE:
        return []
    why = f"the classes' sentences are nearly one in the trained space (cosine {alike:.3f} or more)"
    return [f"{why}: say the prompt, or the classes, in words that the training rows' texts hold"]


WORDS = {BETTER: "better", WORSE: "worse", SAME: "the change could be chance"}


def in_words(name: str, told: dict[str, Any]) -> list[str]:
    """A verdict as two or three sentences."""
    change, p = told["change"], told.get("p_value")
    by = WORDS[told["verdict"]]
    tested = "" if p is None else f", McNemar p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    lines = [
        f"{name}.{told['metric']} {with_interval(told['trained'])}, untouched {with_interval(told['untouched'])}: {by}"
        + f" ({with_interval(change, sign='+')}{tested})"
    ]
    if prompts := told.get("prompts"):
        lines.append(
            f"by prompts {with_interval(prompts['trained'])}, untouched {with_interval(prompts['untouched'])}: {WORDS[prompts['verdict']]}"
            + f" ({with_interval(prompts['change'], sign='+')})"
        )
        lines += _told_by_nothing(prompts.get("alike"))
    if told["baselines"]:
        lines.append("without training: " + ", ".join(_cheaply(name, found, told["metric"]) for name, found in told["baselines"].items()))
    if above := unbeaten(told):
        named = " and ".join([", ".join(above[:-1])] * bool(above[1:]) + above[-1:])
        side = "below" if told.get("direction") == "lower" else "above"
        lines.append(f"the trained model is not surely {side} {named}: it may not be worth its cost")
    return lines


def _cheaply(name: str, found: Mapping[str, float | None], metric: str) -> str:
    """A baseline and its score; of one that does not have that score its own first one, by name."""
    own = metric if metric in found else next(iter(found), metric)
    value = found.get(own)
    return f"{name} {'' if own == metric else f'{own} '}{'-' if value is None else f'{value:.3f}'}"


def unbeaten(told: Mapping[str, Any]) -> list[str]:
    """What can be had without training that the trained model is not surely better than."""
    values = {baseline: found.get(told["metric"]) for baseline, found in told["baselines"].items()}
    return [baseline for baseline, value in values.items() if value is not None and baseline not in told["beaten"]]


def with_interval(found: Mapping[str, float | None], sign: str = "") -> str:
    """`0.912 (0.887 to 0.934)`; without the brackets where the interval is not known."""
    value, low, high = (found[part] for part in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:{sign}.3f}" + (f" ({low:{sign}.3f} to {high:{sign}.3f})" if low is not None and high is not None else "")
