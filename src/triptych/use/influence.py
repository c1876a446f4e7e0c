"""Which inputs an answer owes to: the same row again without each of them, and what that does to the answer.

Occlusion of whole inputs (Zeiler and Fergus 2014, there of patches of a picture): no gradient and no surrogate model, so it
holds for every encoder and fusion. An input whose absence changes nothing may still repeat what another one says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from triptych.contract.tasks import IN_WRITING
from triptych.use.opened import Run

NONE = 0.02
"""A change of a probability or an overlap below this is none; of a value, this share of it."""


def without_each(inputs: Collection[str], row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{input: the row without it}, for each given input of a row that has two or more of them; of one alone nothing is left."""
    given = [name for name in inputs if row.get(name) is not None]
    if len(given) < 2:
        return {}
    return {left: {name: value for name, value in row.items() if name != left} for left in given}


def weighed(run: Run) -> list[str]:
    """The tasks whose answers can be compared by a figure: those with a confidence, a number or a box; not free texts, nor spaces."""
    recipe = run.recipe.tasks
    free = ("contrast", "ctc", *IN_WRITING)
    return [name for name in run.answered if recipe[name].kind not in free or getattr(recipe[name], "choices", None)]


def forms(run: Run) -> dict[str, str]:
    """The form in which each task that looks for a box says it."""
    return {name: task.form for name, task in run.recipe.tasks.items() if task.kind == "ground"}


def influence(run: Run, row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What each given input of a row counts for, by task; see `compared`. Empty where fewer than two inputs are given.

    Raises:
        InputError: as `Run.predict` does.
    """
    tasks, variants = weighed(run), without_each(run.recipe.inputs, row)
    if not variants or not tasks:
        return {}
    rows = [dict(row), *variants.values()]
    whole, *others = run.answers(rows, [run.read_row(one) for one in rows], tasks)
    return compared(whole.tasks, {name: one.tasks for name, one in zip(variants, others, strict=True)}, forms(run))


def compared(
    whole: Mapping[str, dict[str, Any]], without: Mapping[str, Mapping[str, dict[str, Any]]], forms: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Answers to a whole row beside those to the row without each input.

    Args:
        whole: the answers by task, as `Answer.tasks` has them.
        without: {input: the answers without it}.
        forms: {task: the form of its boxes}.

    Returns:
        By task `said`, its `measure` in words, and `inputs`: by input what is `said` without it, the measure `before` and `after`
        (None where there is no answer), how far it fell (`change`, below 0 where the answer is surer with less), and whether it
        `counts`: the answer is another one, or the measure changed by as much as `NONE`. Tasks that have no measure are left out.
    """
    found = {}
    for task, answer in whole.items():
        measure = _measure(answer)
        others = {name: answers[task] for name, answers in without.items() if task in answers}
        if measure and others:
            inputs = {name: _one(answer, other, forms.get(task, "xyxy")) for name, other in others.items()}
            found[task] = {"said": answer["said"], "measure": measure, "inputs": inputs}
    return found


def _measure(answer: Mapping[str, Any]) -> str:
    if answer.get("probabilities"):
        return f"probability of {', '.join(said_labels(answer))}"
    if answer.get("box") is not None:
        return "overlap with this box"
    return "value" if answer.get("value") is not None else ""


def said_labels(answer: Mapping[str, Any]) -> list[str]:
    """The labels that an answer with probabilities says; where of several labels none was said, the likeliest."""
    shares = answer["probabilities"]
    if answer["said"] in shares:
        return [answer["said"]]
    said = set(str(answer["said"]).split(", "))
    return [label for label in shares if label in said] or [max(shares, key=shares.__getitem__)]


def _one(answer: Mapping[str, Any], other: Mapping[str, Any], form: Any) -> dict[str, Any]:
    before, after = _figure(answer, answer, form), _figure(answer, other, form)
    if before is None or after is None:
        return {"said": other.get("said"), "before": before, "after": None, "change": None, "counts": True}
    change, scale = before - after, abs(before) if "value" in answer else 1.0
    another = "probabilities" in answer and other.get("said") != answer["said"]
    return {"said": other.get("said"), "before": before, "after": after, "change": change, "counts": another or abs(change) >= NONE * scale}


def _figure(answer: Mapping[str, Any], other: Mapping[str, Any], form: Any) -> float | None:
    """The measure of `other`, by what `answer` said; None where it has none."""
    if answer.get("probabilities"):
        labels, shares = said_labels(answer), other.get("probabilities")
        return sum(shares[label] for label in labels) / len(labels) if shares else None
    if answer.get("box") is not None:
        return None if other.get("box") is None else _overlap(answer["box"], other["box"], form)
    return other.get("value")


def _overlap(one: Sequence[float], other: Sequence[float], form: Any) -> float:
    """Intersection over union of two boxes of one form."""
    import torch

    from triptych.contract.boxes import converted
    from triptych.objective.boxes import iou

    return float(iou(*(converted(torch.tensor(box, dtype=torch.float64), form, "xyxy") for box in (one, other))))
