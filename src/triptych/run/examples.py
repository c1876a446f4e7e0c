"""Pieces of the report that need the data: taken while it is at hand, so that a report can be made again without it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from html import escape
from itertools import permutations
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from triptych.contract.boxes import converted, put_back
from triptych.contract.tasks import cut_of
from triptych.data.asked import AskedRows
from triptych.data.remembered import Column
from triptych.objective.boxes import iou
from triptych.objective.classes import given_of
from triptych.objective.transcripts import spelling_of, wer_of
from triptych.run.grounding import in_shares
from triptych.run.measure import Measured

HITS = 4
MOST_WORDS = 600
"""Characters of a question that are shown."""


class Shown:
    """Values as HTML, each made once however often it appears."""

    def __init__(self, inputs: Mapping[str, Column], rows: Sequence[int], frames: Mapping[str, Tensor] | None = None) -> None:
        """`rows` are the table's rows in the order in which they were measured; `frames` what is shown of each, by task with boxes."""
        self.inputs, self.rows, self.frames = inputs, rows, frames or {}
        self.made: dict[tuple[str, int], str] = {}

    def value(self, column: str, place: int) -> str:
        """The value of the row at `place` among the measured ones; empty where it has none."""
        key = column, place
        if key not in self.made:
            held = self.inputs[column]
            index = self.rows[place]
            self.made[key] = held.room.show(held.value(index)) if held.has(index) else ""
        return self.made[key]

    def row(self, place: int) -> list[str]:
        """All values of a row."""
        return [html for column in self.inputs if (html := self.value(column, place))]

    def boxed(self, name: str, task: Any, place: int, boxes: Mapping[str, Tensor]) -> list[str]:
        """The same, with boxes drawn into the value in which a task looks for them."""
        held: Any = self.inputs[task.input]
        value, frame_4 = held.value(self.rows[place]), self.frames[name][place]
        drawn = held.room.marked(value, {of: in_shares(task, held.room, value, box_4, frame_4) for of, box_4 in boxes.items()})
        return [drawn, *(html for column in self.inputs if column != task.input and (html := self.value(column, place)))]


def what_the_network_sees(inputs: Mapping[str, Column], rows: Sequence[int]) -> list[dict[str, str]]:
    """One value of each input beside its prepared form."""
    pieces = []
    for name, held in inputs.items():
        index = next((index for index in rows if held.has(index)), None)
        if index is not None:
            item = held.items([index])[0]
            pieces.append({"column": name, "value": held.room.show(held.value(index)), "seen": held.room.seen(item, held.preparation)})
    return pieces


def retrieval(name: str, task: Any, measured: Measured, shown: Shown, words: Sequence[str], rows: int) -> list[dict[str, Any]]:
    """For each direction some queries with their best answers, right ones marked; `words` labels each measured row."""
    group_N = measured.truth[name]
    grids = []
    for a, b in permutations(task.between, 2):
        here = measured.present[a].nonzero()[:, 0].tolist()
        there = measured.present[b].nonzero()[:, 0]
        if not here or not len(there):
            continue
        queries = random.Random(0).sample(here, min(rows, len(here)))
        grid = [_query(q, a, b, measured.embeddings[name], there, group_N, shown, words) for q in queries]
        grids.append({"title": f"{a} → {b}", "query_column": a, "target_column": b, "rows": grid})
    return grids


def _query(
    q: int, a: str, b: str, embeddings: Mapping[str, Tensor], there: Tensor, group_N: Tensor, shown: Shown, words: Sequence[str]
) -> dict[str, Any]:
    similar = embeddings[b][there] @ embeddings[a][q]
    best = similar.topk(min(HITS, len(there)))
    places = there[best.indices].tolist()
    hits = [
        {"html": shown.value(b, place), "right": bool(group_N[place] == group_N[q]), "score": score, "label": words[place]}
        for place, score in zip(places, best.values.tolist(), strict=True)
    ]
    return {"query": shown.value(a, q), "label": words[q], "hits": hits}


def worst(name: str, task: Any, facts: Mapping[str, Any], measured: Measured, shown: Shown, rows: int) -> dict[str, Any] | None:
    """The rows a task got most wrong: least probability for the truth, largest error, a box that fits least, or most words wrong."""
    if task.kind in ("contrast", "prefer") or not bool(measured.has_truth[name].any()):
        return None
    if task.kind == "generate":
        return _worst_written(name, measured, shown, rows)
    badness = _badness(task, measured.answers[name], measured.truth[name])
    badness = badness.masked_fill(~measured.has_truth[name], -torch.inf)
    places = badness.topk(min(rows, int(measured.has_truth[name].sum()))).indices.tolist()
    listed = []
    for place in places:
        here = {**facts, "frame": shown.frames[name][place]} if name in shown.frames else facts
        answer, right = measured.answers[name][place], _as_answer(task, measured.truth[name][place], facts)
        (said, confidence), (truth, _) = in_words(task, here, answer), in_words(task, here, right)
        values = shown.boxed(name, task, place, {"said": answer, "truth": right}) if task.kind == "ground" else shown.row(place)
        listed.append({"id": measured.ids[place], "said": said, "truth": truth, "confidence": confidence, "values": values})
    return {"task": name, "rows": listed}


def _worst_written(name: str, measured: Measured, shown: Shown, rows: int) -> dict[str, Any] | None:
    """Of the answers that were written, those of which the right words came least."""
    held = measured.written.get(name)
    if held is None or not held.said:
        return None
    hits_N, count_N = measured.answers[name][held.places, 0], measured.answers[name][held.places, 1].clamp(min=1)
    wrong_N = torch.tensor([float(said != expected) for said, expected in zip(held.said, held.expected, strict=True)])
    order = (wrong_N - hits_N / count_N).topk(min(rows, len(held.said))).indices.tolist()
    listed = []
    for n in order:
        place, share = held.places[n], float(hits_N[n] / count_N[n])
        entry = {"id": measured.ids[place], "said": held.said[n], "truth": held.expected[n], "confidence": share}
        listed.append({**entry, "place": place, "values": shown.row(place)})
    return {"task": name, "rows": listed}


def with_question(worst: dict[str, Any], asked: AskedRows, rows: Sequence[int]) -> None:
    """Put before the values of each row the words of the table that its question was made of; `rows` as `Shown` has them."""
    for entry in worst["rows"]:
        index = rows[entry.pop("place")]
        (row,) = asked.table.rows.take([index], asked.columns)
        words = [f"{column}: {row.cells[column]}" for column in asked.question if row.cells.get(column) is not None]
        entry["values"] = [f"<p>{escape(shorten(text, MOST_WORDS))}</p>" for text in words] + entry["values"]


def _badness(task: Any, answer_N: Tensor, truth_N: Tensor) -> Tensor:
    if task.kind == "ground":
        return 1 - iou(answer_N[:, :4], truth_N)
    if task.kind == "ctc":
        return wer_of(answer_N, truth_N, task.symbols).rows[:, 0]
    if task.kind == "classify":
        return 1 - answer_N.gather(1, truth_N.clamp(min=0)[:, None])[:, 0]
    return (answer_N - truth_N).abs().amax(1) if task.kind == "multilabel" else (answer_N - truth_N).abs()


def _as_answer(task: Any, truth: Tensor, facts: Mapping[str, Any]) -> Tensor:
    return torch.nn.functional.one_hot(truth, len(facts["labels"])).float() if task.kind == "classify" else truth


def in_unit(facts: Mapping[str, Any], answer: Tensor) -> float:
    """A standardised number in the target's own unit."""
    return float(answer) * float(facts["std"]) + float(facts["mean"])


def box_in_unit(task: Any, frame_4: Tensor, answer_5: Tensor) -> list[float]:
    """A box as the target's cells have it, in their unit and form; `frame_4` is what was shown of the row's value."""
    found: list[float] = converted(put_back(answer_5[:4].double().cpu(), frame_4), "xyxy", task.form).tolist()
    return found


def _box_in_words(task: Any, box: Sequence[float]) -> str:
    digits = 3 if task.unit == "shares" else 1
    return f"[{', '.join(f'{number:.{digits}f}' for number in box)}]"


def _number_in_words(value: float, std: float) -> str:
    """With as many decimals as a hundredth of the usual spread asks for: 40050, 3.51, 2019.3."""
    digits = 2 - math.floor(math.log10(std))
    return f"{value:.{max(digits, 0)}f}" if abs(value) < 1e15 and digits < 12 else f"{value:.6g}"


def in_words(task: Any, facts: Mapping[str, Any], answer: Tensor) -> tuple[str, float | None]:
    """One row's answer as a person says it, and the probability behind it (none for a number); of a box, `facts` has the row's `frame`."""
    if task.kind == "regress":
        return _number_in_words(in_unit(facts, answer), facts["std"]), None
    if task.kind == "ground":
        return _box_in_words(task, box_in_unit(task, facts["frame"], answer)), float(answer[4]) if len(answer) > 4 else None
    if task.kind == "ctc":
        return spelling_of(task, facts).text(answer.tolist()), None
    labels = facts["labels"]
    if task.kind == "classify":
        best = int(answer.argmax())
        return labels[best], float(answer[best])
    given = given_of(answer, cut_of(task, facts))
    return ", ".join(labels[i] for i in given.nonzero()[:, 0].tolist()) or "none", float(torch.where(given, answer, 1 - answer).min())
