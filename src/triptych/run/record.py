"""What a finished training writes down, so that everything else can be done from the run folder alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

from torch import Tensor
from torch.nn.functional import one_hot

from triptych.base.runtime import Stopwatch
from triptych.contract.modality import SIDES
from triptych.contract.tasks import Generate, Prefer, cut_of
from triptych.data.sampling import Plan
from triptych.objective.classes import confusion, given_of, per_class, reliability
from triptych.objective.gap import gap
from triptych.run import examples
from triptych.run.baselines import Told
from triptych.run.bench import Bench
from triptych.run.callbacks import Best
from triptych.run.folder import RunFolder
from triptych.run.inspect import told
from triptych.run.measure import Measured
from triptych.run.prompts import BY_PROMPTS
from triptych.run.variants import came_of, variants_shown
from triptych.run.verdict import parts, verdict
from triptych.run.writing import Written


def write_down(
    bench: Bench, run: RunFolder, untouched: Measured, simple: dict[str, Told], trained: Measured, best: Best, watch: Stopwatch
) -> None:
    """Everything that predict, report and compare need; `simple` are the tasks' baselines."""
    augmented = came_of(bench.varied)  # of the training: more variants are made to be shown
    for name, held in bench.inputs.items():
        held.preparation.save(run.input(name))
    if bench.script is not None:
        bench.script.save(run.script)
    run.write("scores.json", _side_by_side(untouched, trained))
    run.write("verdicts.json", _verdicts(bench, untouched, trained, simple))
    run.write("details.json", details(bench, {"untouched": untouched, "trained": trained}))
    run.write("shown.json", _pieces(bench, trained))
    run.write_rows("predictions.parquet", _predictions(bench, trained))
    if trained.embeddings:
        run.write_rows("embeddings.parquet", _embeddings(bench, trained))
    model = bench.model
    facts = {
        "choices": bench.choices.as_rows(),
        "rows": {side: len(bench.table.at(side)) for side in SIDES},
        "rejected": len(bench.table.rejects),
        "judged_on": bench.judged_side(),
        "lengths": [one.as_dict() for one in bench.lengths],
        "findings": [finding.as_dict() for finding in told(bench.recipe, bench.table, bench.targets, bench.lengths)],
        "parameters": {name: part.size() for name, part in model.parts().items()},
        "sampling": bench.order.draws.as_dict() if isinstance(bench.order.draws, Plan) else None,
        "stages": bench.stops,
        "augmented": augmented,
        "best": {"score": best.name, "value": best.value, "epoch": best.epoch},
        "cost": watch.read(),
    }
    run.seal(facts)


def _side_by_side(untouched: Measured, trained: Measured) -> list[dict[str, Any]]:
    """One entry a score; a score that is not a number (no row to measure it on) is null."""
    before = {score.name: score.value for score in untouched.scores}
    return [
        {
            "name": s.name,
            "task": s.task,
            "metric": s.metric,
            "of": s.of,
            "untouched": _number(before.get(s.name)),
            "trained": _number(s.value),
            "direction": s.direction,
        }
        for s in trained.scores
    ]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _verdicts(bench: Bench, untouched: Measured, trained: Measured, simple: dict[str, Told]) -> dict[str, Any]:
    group_N = bench.groups(bench.table.at(bench.judged_side()))
    tasks = bench.recipe.tasks.items()
    found = {name: verdict(name, task, untouched, trained, simple.get(name, {}), group_N) for name, task in tasks}
    apart = {name: parts(name, task, untouched, trained, group_N) for name, task in tasks if found[name]}
    return {name: finite({**told, "parts": apart[name]}) for name, told in found.items() if told}


def finite(told: Any) -> Any:
    """The same with null for what is not a number, which JSON has no word for."""
    if isinstance(told, dict):
        return {name: finite(value) for name, value in told.items()}
    return _number(told) if isinstance(told, float) else told


def details(bench: Bench, pairs: Mapping[str, Measured]) -> dict[str, Any]:
    """By task: the confusion matrices whenever it was measured; of the last time each class alone and how far confidence can be believed.

    Also the gap of each pair of inputs in a joint space.
    """
    last = list(pairs.values())[-1]
    found: dict[str, dict[str, Any]] = {"confusion": {}, "classes": {}, "reliability": {}, "gap": gaps(bench.recipe, pairs)}
    for name, task in bench.recipe.tasks.items():
        rows = last.has_truth[name]
        if task.kind not in ("classify", "multilabel") or not bool(rows.any()):
            continue
        truth, labels = last.truth[name][rows], bench.targets[name].facts["labels"]
        found["classes"][name] = _each_class(task, bench.targets[name].facts, last.answers[name][rows], truth)
        if task.kind == "classify":
            matrices = {when: confusion(measured.answers[name][rows], truth) for when, measured in pairs.items()}
            by_prompts = {
                f"{when}, {BY_PROMPTS}": confusion(measured.prompted[name][rows], truth)
                for when, measured in pairs.items()
                if name in measured.prompted
            }
            found["confusion"][name] = {"labels": labels, **matrices, **by_prompts}
            found["reliability"][name] = reliability(last.answers[name][rows], truth)
    return found


def gaps(recipe: Any, measured: Mapping[str, Measured]) -> dict[str, list[dict[str, Any]]]:
    """Of each contrast task and pair of its inputs: the modality gap whenever it was measured, over the rows that have both."""
    found = {}
    for name, task in recipe.tasks.items():
        if task.kind == "contrast":
            pairs = combinations(task.between, 2)
            found[name] = [{"pair": [a, b], **{when: _gap(name, a, b, m) for when, m in measured.items()}} for a, b in pairs]
    return found


def _gap(name: str, a: str, b: str, measured: Measured) -> dict[str, Any]:
    both = measured.present[a] & measured.present[b]
    told: dict[str, Any] = finite(gap(measured.embeddings[name][a][both], measured.embeddings[name][b][both])._asdict())
    return told


def _each_class(task: Any, facts: Mapping[str, Any], answer_NC: Tensor, truth: Tensor) -> list[dict[str, Any]]:
    labels = facts["labels"]
    if task.kind == "classify":
        right, given = (one_hot(classes_N, len(labels)).bool() for classes_N in (truth, answer_NC.argmax(1)))
    else:
        cut = cut_of(task, facts)
        cuts = cut if isinstance(cut, list) else [cut] * len(labels)
        told = zip(labels, cuts, per_class(truth.bool(), given_of(answer_NC, cut)), strict=True)
        return [{"class": label, "threshold": at, **values} for label, at, values in told]
    return [{"class": label, **told} for label, told in zip(labels, per_class(right, given), strict=True)]


def _pieces(bench: Bench, trained: Measured) -> dict[str, Any]:
    rows = bench.table.at(bench.judged_side())
    frames = {name: target.frames[rows] for name, target in bench.targets.items() if target.frames is not None}
    shown, count = examples.Shown(bench.inputs, rows, frames), bench.recipe.report.rows
    tasks = bench.recipe.tasks
    words = {name: _row_words(bench, task, rows) for name, task in tasks.items() if task.kind == "contrast"}
    grids = {n: examples.retrieval(n, tasks[n], trained, shown, words[n], count) for n in words}
    poor = [examples.worst(name, task, bench.targets[name].facts, trained, shown, count) for name, task in tasks.items()]
    for one in filter(None, poor):
        if one["task"] in bench.asked:
            examples.with_question(one, bench.asked[one["task"]], rows)
    return {
        "seen": examples.what_the_network_sees(bench.inputs, rows),
        "variants": variants_shown(bench.varied, bench.table.at("train")),
        "retrieval": [grid for grids_of in grids.values() for grid in grids_of],
        "worst": [piece for piece in poor if piece],
    }


def _written(name: str, measured: Measured) -> dict[str, list[Any]]:
    """What was written and should have been, of the rows that were; and of every row how the right answer was taken."""
    held = measured.written.get(name, Written())
    said, truth = dict(zip(held.places, held.said, strict=True)), dict(zip(held.places, held.expected, strict=True))
    rows = range(len(measured.ids))
    answers = [row if bool(has) else None for row, has in zip(measured.answers[name].tolist(), measured.has_truth[name], strict=True)]
    return {f"{name}.truth": [truth.get(n) for n in rows], f"{name}.said": [said.get(n) for n in rows], f"{name}.answer": answers}


def _row_words(bench: Bench, task: Any, rows: list[int]) -> list[str]:
    """How a row is called in the retrieval grid: by what it has in common with its positives, else by its id."""
    found = bench.table.rows.take(rows, [task.positives] if task.positives else [])
    return [str(row.cells.get(task.positives, row.id)) if task.positives else row.id for row in found]


def _predictions(bench: Bench, measured: Measured) -> dict[str, Any]:
    columns: dict[str, Any] = {"id": measured.ids}
    if group := bench.recipe.data.split.group:  # rows of one group are drawn together when runs are compared
        cells = [row.cells.get(group) for row in bench.table.rows.take(bench.table.at(bench.judged_side()), [group])]
        columns[".group"] = [None if cell is None else str(cell) for cell in cells]
    for name, task in bench.recipe.tasks.items():
        if task.kind == "contrast":
            continue
        facts, answers = bench.targets[name].facts, measured.answers[name]
        if isinstance(task, Generate | Prefer):
            columns |= _written(name, measured)
            continue
        frames_N4 = bench.targets[name].frames
        if frames_N4 is None:
            said = [examples.in_words(task, facts, answer) for answer in answers]
        else:
            judged_N4 = frames_N4[bench.table.at(bench.judged_side())]
            said = [
                examples.in_words(task, {**facts, "frame": frame_4}, answer) for answer, frame_4 in zip(answers, judged_N4, strict=True)
            ]
            pairs = zip(measured.truth[name].tolist(), measured.has_truth[name].tolist(), strict=True)
            columns[f"{name}.box"] = [box if has else None for box, has in pairs]  # as the answer: in shares of what was shown
        cells = [row.cells.get(task.target) for row in bench.table.rows.take(bench.table.at(bench.judged_side()), [task.target])]
        columns[f"{name}.truth"] = [None if cell is None else str(cell) for cell in cells]
        columns[f"{name}.said"] = [words for words, _ in said]
        columns[f"{name}.confidence"] = [confidence for _, confidence in said]
        if task.kind == "ctc":  # a row without the input has a truth, and no answer
            columns[f"{name}.judged"] = measured.has_truth[name].tolist()
        columns[f"{name}.answer"] = [examples.in_unit(facts, answer) for answer in answers] if task.kind == "regress" else answers.tolist()
    return columns


def _embeddings(bench: Bench, measured: Measured) -> dict[str, Any]:
    rows = bench.table.at(bench.judged_side())
    columns: dict[str, Any] = {"id": measured.ids}
    for name, by_column in measured.embeddings.items():
        columns[f"{name}.label"] = _row_words(bench, bench.recipe.tasks[name], rows)
        columns[f"{name}.group"] = measured.truth[name].tolist()  # rows with equal numbers are right answers to each other
        for column, vectors in by_column.items():
            there = measured.present[column].tolist()
            columns[f"{name}.{column}"] = [vector if has else None for vector, has in zip(vectors.tolist(), there, strict=True)]
    return columns
