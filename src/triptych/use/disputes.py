"""What is doubtful in remarks: corrections that contradict each other, that look wrong or planted, raters who stand alone or flood."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from triptych.contract.examined import Finding, worst_first
from triptych.use.opinion import key, was_right
from triptych.use.remarks import Remark

SURE = 0.9
"""Confidence from which the run is sure of its answer."""
MOST = 0.8
"""What `most` means of others, and `nearly always` of a rater."""
FEW = 8
"""Fewer corrections than these say nothing of a rater."""
FLOOD = 0.5
SHOWN = 5
ENOUGH = 3
"""Fewer other answers say nothing of one."""


@dataclass
class Doubts:
    """Remarks by id that are doubtful, and why; and what to tell of them."""

    superseded: dict[str, str] = field(default_factory=dict)
    contradictions: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def doubts(remarks: Sequence[Remark], tasks: Mapping[str, Any], neighbours: Mapping[str, str] | None = None) -> Doubts:
    """All that is doubtful in remarks.

    Args:
        remarks: in the order in which they came.
        tasks: those of the run's recipe.
        neighbours: by id of a remark, what most of the training rows nearest to its input say, where that is known.
    """
    made = Doubts()
    corrections = [one for one in remarks if one.kind in ("correction", "preference")]
    _supersede(corrections, made)
    valid = [one for one in corrections if one.id not in made.superseded]
    _contradict(valid, made)
    _suspect([one for one in valid if one.kind == "correction"], tasks, neighbours or {}, made)
    _raters([one for one in valid if one.kind == "correction"], tasks, made)
    _repeats(remarks, made)
    made.findings = worst_first(made.findings)
    return made


def _supersede(corrections: Iterable[Remark], made: Doubts) -> None:
    """What a rater says later of the same input takes the place of what the same one said before."""
    last: dict[tuple[str, ...], Remark] = {}
    for one in corrections:
        if one.rater:
            pair = tuple(sorted((one.chosen or "", one.rejected or ""))) if one.kind == "preference" else ()
            place = (one.rater, one.task, one.kind, one.input_hash, *pair)
            if place in last:
                made.superseded[last[place].id] = "the same rater said something later of the same input"
            last[place] = one


def _contradict(corrections: Iterable[Remark], made: Doubts) -> None:
    said: dict[tuple[str, ...], list[Remark]] = defaultdict(list)
    for one in corrections:
        pair = tuple(sorted((one.chosen or "", one.rejected or ""))) if one.kind == "preference" else ()
        said[(one.task, one.kind, one.input_hash, *pair)].append(one)
    at_odds = {place: found for place, found in said.items() if len({answer_of(one) for one in found}) > 1}
    for place, found in at_odds.items():
        told = ", ".join(f"{count} {word!r}" for word, count in Counter(answer_of(one) for one in found).most_common(3))
        for one in found:
            made.contradictions[one.id] = f"{place[0]}: of the same input others say something else ({told})"
    if at_odds:
        count = len(made.contradictions)
        text = f"{count} remarks contradict each other: {len(at_odds)} inputs were answered in different ways"
        fix = "they are left out of training; a named rater who says it again takes the first word back, --keep-contradictions uses all"
        shown = tuple(made.contradictions[found[0].id] for found in list(at_odds.values())[:SHOWN])
        made.findings.append(Finding("warning", "contradictions", text, fix, count, shown))


def answer_of(remark: Remark) -> str:
    """What a correction or a preference says, as one word."""
    return str(remark.chosen) if remark.kind == "preference" else key(remark.correction)


def _suspect(corrections: Sequence[Remark], tasks: Mapping[str, Any], neighbours: Mapping[str, str], made: Doubts) -> None:
    """Against a sure answer of the run, where its other sure answers were mostly confirmed, and the training rows nearest by say so too.

    Where most other sure answers were corrected as well, the run is what is wrong: a new kind of input, or classes meant otherwise.
    """
    judged = {one.id: was_right(one, tasks.get(one.task)) for one in corrections}
    sure = [one for one in corrections if judged[one.id] is not None and _confidence(one) >= SURE]
    for one in sure:
        near = neighbours.get(one.id)
        if judged[one.id] or near == answer_of(one):
            continue
        others = [other for other in sure if _other(one, other) and _said(other) == _said(one)]
        if len(others) < ENOUGH:
            others = [other for other in sure if _other(one, other)]
        confirmed = sum(bool(judged[other.id]) for other in others)
        if confirmed < MOST * len(others) if len(others) >= ENOUGH else near is None:
            continue
        by = [f"the training rows nearest to it say {near!r}"] if near is not None else []
        by += [f"{confirmed} of {len(others)} other sure answers were confirmed"] if others else []
        told = f"{one.task}: {answer_of(one)!r} against {_said(one)!r}, of which the run is {_confidence(one):.0%} sure"
        made.suspects[one.id] = "; ".join([told, *by])
    if made.suspects:
        text = f"{len(made.suspects)} corrections go against what the run is sure of, and nothing speaks for them: slips, or planted"
        fix = "look at them; --drop-suspects leaves them out of training"
        shown = tuple(list(made.suspects.values())[:SHOWN])
        made.findings.append(Finding("warning", "suspects", text, fix, len(made.suspects), shown))


def _other(one: Remark, other: Remark) -> bool:
    """Another remark on the same task, about another input."""
    return other.id != one.id and other.task == one.task and other.input_hash != one.input_hash


def _said(remark: Remark) -> str:
    return key(remark.answer.get("said")) if isinstance(remark.answer, dict) else key(remark.answer)


def _confidence(remark: Remark) -> float:
    found = remark.answer.get("confidence") if isinstance(remark.answer, dict) else None
    return float(found) if isinstance(found, int | float) else 0.0


def _raters(corrections: Sequence[Remark], tasks: Mapping[str, Any], made: Doubts) -> None:
    """A rater who nearly always says that the run is wrong while others mostly do not; one from whom most of the remarks come."""
    by_rater: dict[str, list[Remark]] = defaultdict(list)
    for one in corrections:
        by_rater[one.rater].append(one)
    wrong = {rater: _wrong(found, tasks) for rater, found in by_rater.items()}
    for rater, found in by_rater.items():
        if not rater or len(by_rater) < 2:
            continue
        share = len(found) / len(corrections)
        if len(found) >= 2 * FEW and share > FLOOD:
            text = f"{share:.0%} of the corrections are from one rater, {rater!r}: the next version learns what one person thinks"
            made.findings.append(Finding("warning", "flood", text, "let others rate too, or look at them first", len(found)))
        rest = [one for other, several in by_rater.items() if other != rater for one in several]
        mine, theirs = wrong[rater], _wrong(rest, tasks)
        if len(found) >= FEW and mine is not None and theirs is not None and len(rest) >= FEW and mine >= MOST and theirs < 0.5:
            text = f"the rater {rater!r} says of {mine:.0%} of the answers that they are wrong, and all others of {theirs:.0%}"
            fix = "look at what this rater says; --leave-out-rater leaves it out of training"
            made.findings.append(Finding("warning", "lone rater", text, fix, len(found)))


def _wrong(corrections: Iterable[Remark], tasks: Mapping[str, Any]) -> float | None:
    judged = [right for one in corrections if (right := was_right(one, tasks.get(one.task))) is not None]
    return 1 - sum(judged) / len(judged) if judged else None


def _repeats(remarks: Sequence[Remark], made: Doubts) -> None:
    counts = Counter((one.input_hash, one.task, one.kind) for one in remarks)
    often = {place: count for place, count in counts.items() if count > 1}
    if often:
        text = f"{len(often)} inputs have several remarks of one kind: they count once in training"
        made.findings.append(Finding("note", "repeats", text, "", sum(often.values())))
