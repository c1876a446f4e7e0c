"""What a finished run answered, read back from its folder, so that runs can be judged against each other row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.spelling import Spelling, normalised
from triptych.layers.ctc import padded
from triptych.objective.intervals import Interval, Statistics, difference, mcnemar
from triptych.run.bench import groups_of
from triptych.run.folder import RunFolder
from triptych.run.measure import Measured
from triptych.run.recipe import Recipe
from triptych.run.verdict import shown_by, statistics
from triptych.run.writing import Written

AGREES = 1e-3
"""How near the score made again from the kept answers must be to the one the run wrote down: thresholds and ties may round."""


@dataclass(frozen=True)
class Answered:
    """One run's answers to one task."""

    ids: list[str]
    truth: list[Any]
    """What was right, row by row: rows with the same ids and truth are the same rows."""
    statistics: Statistics
    """What the task's headline score is made of."""
    right_N: Tensor | None
    """Whether each answer was right, where an answer is right or wrong."""
    group: list[Any] | None
    """Cells of `data.split.group`: rows that are not independent of each other."""

    def ordered_as(self, ids: Sequence[str]) -> Answered:
        """The same rows in another order."""
        place = {row_id: n for n, row_id in enumerate(self.ids)}
        order = [place[row_id] for row_id in ids]
        rows_N = torch.tensor(order)
        return Answered(
            list(ids),
            [self.truth[n] for n in order],
            Statistics(self.statistics.rows[rows_N], self.statistics.score),
            None if self.right_N is None else self.right_N[rows_N],
            None if self.group is None else [self.group[n] for n in order],
        )


def answered(run: RunFolder, name: str) -> Answered | str:
    """The answers to a task, or why they cannot be had from the folder."""
    recipe = run.recipe()
    task = recipe.tasks[name]
    measured, truth = _measured(run, recipe, name)
    if measured is None:
        return "its answers were not kept"
    metric = shown_by(name, task, measured)
    try:
        found = statistics(name, task, measured)
    except InputError as problem:  # a score may need a package that is not here
        return problem.what
    if found is None:
        return "no row was measured"
    written = next((score["trained"] for score in run.read("scores.json") if score["name"] == f"{name}.{metric}"), None)
    if written is None or not abs(found.value - written) <= AGREES:
        return "its kept answers do not give the score it wrote down"
    rows = run.read_rows("predictions.parquet")
    right_N = (measured.answers[name].argmax(1) == measured.truth[name]) & measured.has_truth[name] if task.kind == "classify" else None
    return Answered(measured.ids, truth, found, right_N, rows.get(".group"))


def _measured(run: RunFolder, recipe: Recipe, name: str) -> tuple[Measured | None, list[Any]]:
    """As it was when the run was measured, as far as the task's headline score goes; and the truth as it is kept."""
    task = recipe.tasks[name]
    if task.kind == "contrast":
        return _embedded(run, name, task)
    rows = run.read_rows("predictions.parquet")
    if task.kind == "prefer" and f"{name}.answer" in rows:
        margins = rows[f"{name}.answer"]
        has_N, margin_N = torch.tensor([one is not None for one in margins]), torch.tensor([one or 0.0 for one in margins])
        return Measured(rows["id"], [], {name: margin_N}, {name: torch.zeros(len(margins))}, {name: has_N}, {}, {}), [None] * len(margins)
    if task.kind == "generate" and f"{name}.answer" in rows:
        found = rows[f"{name}.answer"]
        has_N = torch.tensor([one is not None for one in found])
        answers_N4 = torch.tensor([one or [0.0] * 4 for one in found], dtype=torch.float64)
        truth = [one and one[1] for one in found]  # of the same rows as many pieces are asked, if they are asked the same way
        told = Measured(
            rows["id"], [], {name: answers_N4}, {name: torch.zeros(len(found))}, {name: has_N}, {}, {}, written=_written(rows, recipe, name)
        )
        return told, truth
    if f"{name}.truth" not in rows:
        return None, []
    truth = rows[f"{name}.truth"]
    classes = run.read("details.json").get("classes", {}).get(name, [])
    labels = [one["class"] for one in classes]
    if task.kind == "classify":
        number = {label: n for n, label in enumerate(labels)}
        truth_N = torch.tensor([number.get(str(cell), -1) for cell in truth])
        has_N = truth_N >= 0
    elif task.kind == "ground":
        boxes = rows[f"{name}.box"]
        truth_N = torch.tensor([one or [0.0] * 4 for one in boxes], dtype=torch.float64)
        has_N = torch.tensor([one is not None for one in boxes])
    elif task.kind == "multilabel":
        given = [{part.strip() for part in str(cell or "").split(task.separator)} for cell in truth]
        truth_N, has_N = (
            torch.tensor([[float(label in row) for label in labels] for row in given]),
            torch.ones(len(truth), dtype=torch.bool),
        )
    elif task.kind == "ctc":
        return _transcribed(rows, name, task), truth
    else:
        truth_N = torch.tensor([_number(cell) for cell in truth], dtype=torch.float64)
        has_N = truth_N.isfinite()
    answers = {name: torch.tensor(rows[f"{name}.answer"], dtype=torch.float64)}
    cuts: dict[str, float | list[float]] = {name: [one["threshold"] for one in classes]} if classes and "threshold" in classes[0] else {}
    return Measured(rows["id"], [], answers, {name: truth_N}, {name: has_N}, {}, {}, cuts=cuts), truth


def _written(rows: Mapping[str, list[Any]], recipe: Recipe, name: str) -> dict[str, Written]:
    """What was written, as far as it was kept."""
    said, expected = rows.get(f"{name}.said", []), rows.get(f"{name}.truth", [])
    places = [place for place, text in enumerate(said) if text is not None]
    told, right = ([str(column[place]) for place in places] for column in (said, expected))
    return {name: Written(places, told, right, modality=cast(Any, recipe.decoder).modality)} if places else {}


def _transcribed(rows: Mapping[str, list[Any]], name: str, task: Any) -> Measured:
    """Spelt anew, in symbols of what was said and of what should have been."""
    said = rows[f"{name}.said"]
    expected = ["" if cell is None else normalised(str(cell), task.normalise) for cell in rows[f"{name}.truth"]]
    spelling = Spelling.of([*said, *expected], task.symbols)
    answers, truth = (padded(spelling.classes(texts)) for texts in (said, expected))
    has_N = torch.tensor([bool(there) for there in rows[f"{name}.judged"]])
    return Measured(rows["id"], [], {name: answers}, {name: truth}, {name: has_N}, {}, {})


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _embedded(run: RunFolder, name: str, task: Any) -> tuple[Measured | None, list[Any]]:
    rows = run.read_rows("embeddings.parquet")
    if f"{name}.label" not in rows:
        return None, []
    labels = rows[f"{name}.label"]
    group_N = torch.tensor(rows[f"{name}.group"]) if f"{name}.group" in rows else groups_of(labels)  # older runs keep no groups
    vectors = {column: rows[f"{name}.{column}"] for column in task.between}
    present = {column: torch.tensor([one is not None for one in found]) for column, found in vectors.items()}
    width = next((len(one) for found in vectors.values() for one in found if one is not None), 1)
    embeddings = {column: torch.tensor([one or [0.0] * width for one in found]) for column, found in vectors.items()}
    has_N = torch.ones(len(labels), dtype=torch.bool)
    return Measured(rows["id"], [], {}, {name: group_N}, {name: has_N}, {name: embeddings}, present), labels


def aligned(several: Sequence[Answered]) -> list[Answered] | str:
    """All in the order of the first, or why they are not of the same rows."""
    first = several[0]
    found = [first]
    for one in several[1:]:
        if len(one.ids) != len(first.ids) or set(one.ids) != set(first.ids):
            return "they were measured on different rows"
        if (other := one.ordered_as(first.ids)).truth != first.truth:
            return "the same rows have different targets"
        found.append(other)
    return found


def pooled(several: Sequence[Statistics]) -> Statistics:
    """The mean of one score over several trainings, measured on the same rows."""
    sizes = [one.rows.shape[1] for one in several]

    def score(sums: Tensor) -> Tensor:
        parts = sums.split(sizes, dim=-1)
        return torch.stack([one.score(part) for one, part in zip(several, parts, strict=True)]).mean(0)

    return Statistics(torch.cat([one.rows for one in several], 1), score)


def against(first: Answered, other: Answered) -> tuple[Interval, float | None]:
    """`other` less `first` over the same rows, paired, and McNemar's p where answers are right or wrong."""
    change = difference(first.statistics, other.statistics, group_of(first))
    p = mcnemar(first.right_N, other.right_N) if first.right_N is not None and other.right_N is not None else None
    return change, p


def group_of(one: Answered) -> Tensor | None:
    """Numbers of the groups that rows are drawn by; None where each row stands for itself."""
    return None if one.group is None else groups_of(one.group)
