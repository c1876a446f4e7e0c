"""What an opened run says of rows, in words and numbers for people: one way for each kind of task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triptych.contract.modality import Paced
from triptych.contract.tasks import cut_of
from triptych.contract.values import Passed, Value
from triptych.data.several import each
from triptych.objective.transcripts import spelling_of
from triptych.run.examples import box_in_unit, in_unit, in_words
from triptych.run.grounding import frame_of
from triptych.run.measure import answer
from triptych.run.spoken import spoken
from triptych.use.asking import written

if TYPE_CHECKING:
    from triptych.use.opened import Run

NEAREST = 3


@dataclass(frozen=True)
class Heard:
    """Rows as users gave them, the values read of them, and what the model made of these."""

    rows: Sequence[Mapping[str, Any]]
    values: Sequence[Mapping[str, Value]]
    passed: Passed
    counts: Mapping[str, Tensor]
    """How many values of each input each row has."""


def told(run: Run, name: str, heard: Heard) -> list[dict[str, Any]]:
    """A task's answer to each row; `use/opened.py`'s `Answer` says what stands in it."""
    task: Any = run.recipe.tasks[name]
    if task.kind == "ground":
        return _located(run, name, heard)
    if task.kind == "generate":
        return written(run, task, heard.passed, heard.counts, heard.rows)
    if task.kind == "ctc":
        return _transcribed(run, name, heard)
    if task.kind == "contrast":
        return _nearest(run, name, heard)
    facts = run.model.parts()[name].facts
    return [_in_full(task, facts, row) for row in answer(task, heard.passed.outputs[name])]


def _in_full(task: Any, facts: Mapping[str, Any], row: Tensor) -> dict[str, Any]:
    said, confidence = in_words(task, facts, row)
    if task.kind == "regress":
        return {"said": said, "value": in_unit(facts, row)}
    found = {"said": said, "confidence": confidence, "probabilities": dict(zip(facts["labels"], row.tolist(), strict=True))}
    if task.kind == "multilabel":
        cut = cut_of(task, facts)
        found["thresholds"] = dict(zip(facts["labels"], cut if isinstance(cut, list) else [cut] * len(row), strict=True))
    return found


def _located(run: Run, name: str, heard: Heard) -> list[dict[str, Any]]:
    """A box a row, in the unit and form of the cells it was learnt from; none where there is nothing to look at."""
    task: Any = run.recipe.tasks[name]
    room, preparation = run.inputs[task.input]
    found: list[dict[str, Any]] = []
    for answer_5, row in zip(answer(task, heard.passed.outputs[name]), heard.values, strict=True):
        several = each(row[task.input]) if task.input in row else []
        if len(several) != 1:
            why = f"no box: {len(several)} values of {task.input}"
            found.append({"said": why, "confidence": None, "box": None})
            continue
        frame_4 = torch.tensor(frame_of(task, room, preparation, room.extent(several[0])), dtype=torch.float64)  # type: ignore[attr-defined]
        said, confidence = in_words(task, {"frame": frame_4}, answer_5)
        found.append({"said": said, "confidence": confidence, "box": box_in_unit(task, frame_4, answer_5)})
    return found


def _transcribed(run: Run, name: str, heard: Heard) -> list[dict[str, Any]]:
    """What is said, and when; `heard_from` where the beginning of a value was cut off."""
    task, facts = run.recipe.tasks[name], run.model.parts()[name].facts
    given = facts["input"]
    preparation = run.inputs[given][1]
    paced = preparation if isinstance(preparation, Paced) else None
    begins = [paced.begins(row[given]) if paced and given in row else 0.0 for row in heard.values]
    rows = spoken(task, facts, heard.passed.outputs[name], begins)
    spelt = spelling_of(task, facts)
    said = [spelt.text(row) for row in answer(task, heard.passed.outputs[name], searching=True).tolist()]
    return [
        {"said": text, "words": [word.as_dict() for word in words], **({"heard_from": round(begin, 3)} if begin else {})}
        for text, words, begin in zip(said, rows, begins, strict=True)
    ]


def _nearest(run: Run, name: str, heard: Heard) -> list[dict[str, Any]]:
    """For each given input and each other one the closest rows of the run's test."""
    task: Any = run.recipe.tasks[name]
    found: list[dict[str, Any]] = [{"nearest": {}} for _ in heard.rows]
    for given in task.between:
        for place in heard.counts[given].nonzero()[:, 0].tolist():
            query = heard.passed.outputs[name][f"embedding.{given}_BD"][place]
            found[place]["nearest"][given] = {other: _closest(run, name, other, query) for other in task.between if other != given}
    return found


def _closest(run: Run, name: str, column: str, query_D: Tensor) -> list[dict[str, Any]]:
    vectors = run.gallery.get(f"{name}.{column}", [])
    there = [place for place, vector in enumerate(vectors) if vector is not None]
    if not there:
        return []
    similar = torch.tensor([vectors[place] for place in there]) @ query_D
    best = similar.topk(min(NEAREST, len(there)))
    labels, ids = run.gallery[f"{name}.label"], run.gallery["id"]
    return [
        {"id": ids[there[i]], "label": labels[there[i]], "similarity": score}
        for score, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
