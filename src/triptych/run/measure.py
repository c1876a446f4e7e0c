"""Measure a model on rows: losses, scores of every task, of every mixture of inputs, in every direction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, permutations
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from triptych.contract.generator import named_rows
from triptych.contract.part import Part
from triptych.contract.tasks import cut_of
from triptych.contract.values import Batch, Encoded, Fused, Output
from triptych.layers.ctc import greedy, searched
from triptych.model.assemble import Model
from triptych.objective import written
from triptych.objective.classes import classify_scores, multilabel_scores
from triptych.objective.detections import located_scores
from triptych.objective.losses import rows_judged, task_loss, terms
from triptych.objective.numbers import regress_scores
from triptych.objective.retrieval import retrieval_scores
from triptych.objective.scores import Score, as_scores
from triptych.objective.transcripts import joined, spelling_of, transcript_scores
from triptych.run.writing import Pen, Written

Mixture = tuple[str, ...]
MOST_MIXED = 4  # with more inputs than this, only each alone and all together are measured: 2^M mixtures say little


class Mixed(NamedTuple):
    """Answers and truth of some rows, and their places among all that were measured; of classes the one that was said."""

    answers: Tensor
    truth: Tensor
    places: Tensor


@dataclass(frozen=True)
class Measured:
    """What was seen on N rows, in their order."""

    ids: list[str]
    scores: list[Score]
    answers: dict[str, Tensor]
    """{task: probabilities N x C, standardised numbers N, boxes N x 5, or classes N x L of a text}, from all the inputs of a row."""
    truth: dict[str, Tensor]
    has_truth: dict[str, Tensor]
    embeddings: dict[str, dict[str, Tensor]]
    """{contrast task: {column: N x D}}; rows without the column are zero."""
    present: dict[str, Tensor]
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """{input: N x width of its encoder}, of the inputs that were asked for; rows without it are zero."""
    prompted: dict[str, Tensor] = field(default_factory=dict)
    """{task with a prompt: probabilities N x C}, by how near each row lies to the sentences; see `prompts.py`."""
    alike: dict[str, float] = field(default_factory=dict)
    """{task with a prompt: the least cosine of two classes' sentences}; near 1, nothing can be told by them."""
    written: dict[str, Written] = field(default_factory=dict)
    """{task: answers in writing, of some of the rows}"""
    mixed: dict[str, dict[str, Mixed]] = field(default_factory=dict)
    """{task: {"from a + b": what it answers from these inputs alone}}, where every mixture was measured."""
    cuts: dict[str, float | list[float]] = field(default_factory=dict)
    """{task: above which probability its labels count as given}"""

    def samples(self) -> dict[str, tuple[str, str]]:
        """{task: (what was written, what should have been)} of one row of each."""
        return {name: (held.said[0], held.expected[0]) for name, held in self.written.items() if held.said}

    def value(self, name: str) -> float:
        """The score of that name; not a number where it was not measured."""
        return next((score.value for score in self.scores if score.name == name), float("nan"))


def mixtures(columns: Sequence[str]) -> list[Mixture]:
    """Every set of inputs to measure apart, smallest first; none for a single input."""
    if len(columns) < 2:
        return []
    sizes = range(1, len(columns) + 1) if len(columns) <= MOST_MIXED else (1, len(columns))
    return [mixture for size in sizes for mixture in combinations(columns, size)]


@torch.no_grad()
def measure(
    model: Model,
    batches: Iterable[Batch],
    tasks: Mapping[str, Any],
    device: str,
    *,
    every_mixture: bool,
    vectors: Sequence[str] = (),
    pen: Pen | None = None,
) -> Measured:
    """Run the model over the batches in eval mode and score it.

    Args:
        model: put back into the mode it was in.
        batches: rows in a fixed order.
        tasks: the recipe's tasks by name.
        device: where to compute.
        every_mixture: also from each mixture of inputs, over the rows that have all of them; and texts are searched for as widely
            as their tasks say, where epochs are judged by the best symbol of each frame.
        vectors: inputs whose encoders' vectors are to be kept.
        pen: writes the answers of tasks that are answered in writing; without it, they are only judged.
    """
    was_training = model.training
    model.eval()
    seen = _Seen(mixtures(list(model.encoders)) if every_mixture else [], vectors, pen, searching=every_mixture)
    for batch in batches:
        seen.add(model, batch.to(torch.device(device)), tasks)
    model.train(was_training)
    return seen.judged(tasks)


class _Seen:
    """What has been collected over the batches."""

    def __init__(self, wanted: list[Mixture], vectors: Sequence[str] = (), pen: Pen | None = None, searching: bool = False) -> None:
        self.wanted, self.vectors, self.pen, self.searching = wanted, vectors, pen, searching
        self.written: dict[str, Written] = defaultdict(Written)
        self.ids: list[str] = []
        self.lists: dict[tuple[str, ...], list[Tensor]] = defaultdict(list)
        self.units: dict[str, Any] = {}
        self.losses: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self.around: Callable[[], AbstractContextManager[Any]] = nullcontext

    def keep(self, *key: str, value: Tensor) -> None:
        self.lists[key].append(value.cpu())

    def add(self, model: Model, batch: Batch, tasks: Mapping[str, Any]) -> None:
        """Encoders and the decoder compute in the number format around; all else in float32, so that scores of epochs and the last agree.

        In bf16 many near embeddings tie, and ties count as wrong.
        """
        kind = next(iter(batch.present.values())).device.type
        self.around = partial(torch.autocast, kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        encoded = {column: made.float() for column, made in model.encode(batch).items()}
        with torch.autocast(kind, enabled=False):
            self._add(model, encoded, batch, tasks)

    def _asked(self, model: Model, fused: Fused, batch: Batch) -> dict[str, Output]:
        told = model.ask(fused)
        with self.around():
            return told | model.written(fused, batch)

    def _add(self, model: Model, encoded: Mapping[str, Encoded], batch: Batch, tasks: Mapping[str, Any]) -> None:
        fused = model.fusion(encoded, batch.present)
        outputs = self._asked(model, fused, batch)
        self.ids.extend(batch.ids)
        for column, present_B in batch.present.items():
            self.keep("present", column, value=present_B)
        for column in self.vectors:
            width = model.encoders[column].width
            rows_BD = encoded[column].pooled_BD if column in encoded else torch.zeros(len(batch), int(cast(int, width)))
            self.keep("vector", column, value=rows_BD)
        for name, task in tasks.items():
            rows_B = batch.has_target[name]
            found = terms(outputs[name], batch.targets[name], rows_B, task, batch.present)
            self.losses[name].append((float(task_loss(outputs[name], found)), rows_judged(found)))
            self.keep("truth", name, value=batch.targets[name])
            self.keep("has", name, value=rows_B)
            self._answers(name, task, outputs[name], batch.present)
            if task.kind == "generate" and name in batch.asked and self.pen is not None:
                self._write(self.pen, model, fused, batch, name, task)
            if task.kind == "multilabel":
                self.units[name] = cut_of(task, cast(Part, model.heads[name]).facts)
            if task.kind == "ctc":
                self.units[name] = spelling_of(task, cast(Part, model.heads[name]).facts)
        for mixture in self.wanted:
            self._mixture(model, encoded, batch, mixture, tasks)

    def _answers(self, name: str, task: Any, output: Output, present: Mapping[str, Tensor]) -> None:
        if task.kind == "contrast":
            for column in task.between:
                self.keep("embedding", name, column, value=output[f"embedding.{column}_BD"] * present[column][:, None])
        else:
            self.units[name] = float(output["std"]) if task.kind == "regress" else 1.0
            self.keep("answer", name, value=answer(task, output, self.searching))

    def _write(self, pen: Pen, model: Model, fused: Fused, batch: Batch, name: str, task: Any) -> None:
        """The answers of the first rows that are asked; writing takes long."""
        held = self.written[name]
        held.modality = pen.modality
        places = batch.has_target[name].nonzero()[:, 0][: max(task.written - len(held.said), 0)]
        if len(places):
            asked = batch.asked[name].part(0, len(places))
            held.places += (places + len(self.ids) - len(batch)).tolist()
            with named_rows([batch.ids[place] for place in places.tolist()] if batch.ids else ()), self.around():
                held.said += pen.write(model, asked, fused.rows(places), task)
            held.expected += pen.expected(asked)

    def _mixture(self, model: Model, encoded: Mapping[str, Encoded], batch: Batch, mixture: Mixture, tasks: Mapping[str, Any]) -> None:
        present = {c: p if c in mixture else torch.zeros_like(p) for c, p in batch.present.items()}
        all_B = torch.stack([batch.present[column] for column in mixture]).all(0)
        there = {column: encoded[column] for column in mixture if column in encoded}
        outputs = self._asked(model, model.fusion(there, present), batch) if bool(all_B.any()) else None
        for name, task in tasks.items():
            if task.kind == "ctc" and task.input not in mixture:
                continue
            if task.kind != "contrast" and outputs is not None:
                rows_B = all_B & batch.has_target[name]
                self.keep("mixed", name, *mixture, value=answer(task, outputs[name], self.searching)[rows_B])
                self.keep("mixed truth", name, *mixture, value=batch.targets[name][rows_B])
                self.keep("mixed places", name, *mixture, value=rows_B.nonzero()[:, 0] + len(self.ids) - len(batch))

    def whole(self, *key: str) -> Tensor:
        return joined(self.lists[key])

    def judged(self, tasks: Mapping[str, Any]) -> Measured:
        named = {
            kind: {key[1]: self.whole(*key) for key in self.lists if key[0] == kind}
            for kind in ("present", "answer", "truth", "has", "vector")
        }
        embeddings: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key in [key for key in self.lists if key[0] == "embedding"]:
            embeddings[key[1]][key[2]] = self.whole(*key)
        scores = [score for name, task in tasks.items() for score in self._scores(name, task, named, embeddings)]
        told = [self._loss(tasks), *scores], named["answer"], named["truth"], named["has"], dict(embeddings), named["present"]
        mixed = {name: self._kept(tasks[name], self._mixtures(name)) for name in named["answer"]}
        cuts = {name: self.units[name] for name, task in tasks.items() if task.kind == "multilabel"}
        return Measured(self.ids, *told, vectors=named["vector"], mixed=mixed, written=dict(self.written), cuts=cuts)

    def _kept(self, task: Any, mixtures: dict[str, Mixed]) -> dict[str, Mixed]:
        """Of classes only the one that was said: the shares of a thousand classes, seven times, would fill the memory."""
        if task.kind != "classify":
            return mixtures
        return {of: mixed._replace(answers=mixed.answers.argmax(1)) for of, mixed in mixtures.items()}

    def _mixtures(self, name: str) -> dict[str, Mixed]:
        """What a task answers from each mixture that some row has."""
        keys = [key for key in self.lists if key[:2] == ("mixed", name)]
        found = {key[2:]: Mixed(*(self.whole(part, *key[1:]) for part in ("mixed", "mixed truth", "mixed places"))) for key in keys}
        return {f"from {' + '.join(mixture)}": one for mixture, one in found.items() if len(one.places)}

    def _loss(self, tasks: Mapping[str, Any]) -> Score:
        total = sum(task.weight * self._mean_loss(name) for name, task in tasks.items())
        return Score("loss", "", "", total, "lower")

    def _mean_loss(self, name: str) -> float:
        counted = [(loss, rows) for loss, rows in self.losses[name] if rows]
        return sum(loss * rows for loss, rows in counted) / max(sum(rows for _, rows in counted), 1)

    def _scores(self, name: str, task: Any, named: dict[str, dict[str, Tensor]], embeddings: dict[str, dict[str, Tensor]]) -> list[Score]:
        loss = as_scores(name, task.kind, "", {"loss": self._mean_loss(name)})
        if task.kind == "contrast":
            return loss + _retrieval(name, embeddings[name], named["truth"][name], named["present"])
        rows_N = named["has"][name]
        if not bool(rows_N.any()):
            return loss
        whole = score_values(task, named["answer"][name][rows_N], named["truth"][name][rows_N], self.units[name])
        if self.pen is not None and name in self.written:
            whole |= self.pen.scores(name, self.written[name])
        return loss + as_scores(name, task.kind, "", whole) + self._mixed(name, task)

    def _mixed(self, name: str, task: Any) -> list[Score]:
        found: list[Score] = []
        for of, mixed in self._mixtures(name).items():
            found += as_scores(name, task.kind, of, score_values(task, mixed.answers, mixed.truth, self.units[name]))
        return found


def answer(task: Any, output: Output, searching: bool = False) -> Tensor:
    """What a task answers, a row each: probabilities (B, C), standardised numbers (B), or what is told of a written answer (B, 4).

    Of a text that is heard its classes (B, L), padded with -1.
    Of a box four corners and how sure it is (B, 5).
    `searching`: a text is the likeliest of as many as the task follows at once, and not the best symbol of each frame.
    """
    if task.kind == "generate":
        return written.told(output)
    if task.kind == "prefer":
        return written.preferred(output, task.beta)
    if task.kind == "ground":
        return torch.cat([output["box_B4"], output["sure_B"].sigmoid()[:, None]], 1)
    if task.kind == "ctc":
        logits_BTC, frames_B = output["logits_BTC"], output["frames_B"]
        return searched(logits_BTC, frames_B, task.beam) if searching and task.beam > 1 else greedy(logits_BTC, frames_B)
    if task.kind == "classify":
        return output["logits_BC"].softmax(1)
    return output["logits_BC"].sigmoid() if task.kind == "multilabel" else output["standard_B"]


def score_values(task: Any, answer_N: Tensor, truth_N: Tensor, unit: Any) -> dict[str, float]:
    """The scores of one task over rows that have its target.

    `unit` is what 1 stands for in answers that are numbers, a spelling, or where labels begin to count.
    """
    if task.kind == "generate":
        return written.written_scores(answer_N)
    if task.kind == "ground":
        return located_scores(answer_N, truth_N)
    if task.kind == "prefer":
        return {"accuracy": float(written.preferred_right(answer_N).mean()), "margin": float(answer_N.mean())}
    if task.kind == "ctc":
        return transcript_scores(answer_N, truth_N, unit)
    if task.kind == "classify":
        return classify_scores(answer_N, truth_N)
    if task.kind == "multilabel":
        return multilabel_scores(answer_N, truth_N, unit)
    return regress_scores(answer_N, truth_N, unit)


def _retrieval(name: str, embeddings: Mapping[str, Tensor], group_N: Tensor, present: Mapping[str, Tensor]) -> list[Score]:
    """Scores in both directions of every pair of columns, and their mean over the directions."""
    directions: list[Score] = []
    for a, b in permutations(embeddings, 2):
        here, there = present[a], present[b]
        if bool(here.any()) and bool(there.any()):
            values = retrieval_scores(embeddings[a][here], embeddings[b][there], group_N[here], group_N[there])
            directions += as_scores(name, "contrast", f"{a} -> {b}", values)
    metrics = dict.fromkeys(score.metric for score in directions)
    means = {metric: float(torch.tensor([s.value for s in directions if s.metric == metric]).nanmean()) for metric in metrics}
    return as_scores(name, "contrast", "", means) + directions
