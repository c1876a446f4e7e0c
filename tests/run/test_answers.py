"""Answers read back from run folders: they give the scores that were written down, and pair runs row by row."""

from __future__ import annotations

import pyarrow.parquet as parquet
import pytest
import torch
import yaml

from triptych.base.files import digest
from triptych.objective.intervals import difference, interval, mean_of
from triptych.run.answers import against, aligned, answered, group_of, pooled
from triptych.run.fit import fit
from triptych.run.recipe import read

TASKS = """
match: {kind: contrast, between: [image, text], width: 8}
joined: {kind: contrast, between: [image, audio, text], positives: label, width: 8}
label: {kind: classify, target: label}
tags: {kind: multilabel, target: tags, threshold: f1}
number: {kind: regress, target: number}
"""


@pytest.fixture(scope="module")
def runs(tiny_recipe, tmp_path_factory):
    """The same recipe with two seeds, every kind of task, rows of one speaker together."""
    folder = tmp_path_factory.mktemp("answers")
    tree = {**yaml.safe_load(tiny_recipe.read_text()), "tasks": yaml.safe_load(TASKS)}
    tree["data"] = {"source": str(tiny_recipe.parent / "table.csv"), "split": {"group": "speaker", "test": 0.4}}
    return [fit(read(tree, [f"training.seed={seed}"]), folder / str(seed), quiet=True) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("task", "metric"),
    [("match", "recall@1"), ("joined", "recall@1"), ("label", "accuracy"), ("tags", "macro_f1"), ("number", "r2")],
)
def test_the_kept_answers_give_the_score_and_interval_that_were_written(runs, task, metric):
    run = runs[0]
    told = answered(run, task)
    assert not isinstance(told, str), told
    written = next(score["trained"] for score in run.read("scores.json") if score["name"] == f"{task}.{metric}")
    assert told.statistics.value == pytest.approx(written, abs=1e-6)
    assert told.group is not None
    found, kept = interval(told.statistics, group_of(told)), run.read("verdicts.json")[task]["trained"]
    assert (found.low, found.high) == pytest.approx((kept["low"], kept["high"]), abs=1e-6)


def test_two_runs_are_paired_whatever_the_order_of_their_rows(runs):
    first, second = (answered(run, "label") for run in runs)
    turned = second.ordered_as(second.ids[::-1])
    assert turned.ids != second.ids
    a, b = aligned([first, turned])
    assert b.ids == first.ids
    torch.testing.assert_close(b.statistics.rows, second.statistics.rows)
    change, p = against(a, b)
    assert change == difference(first.statistics, second.statistics, group_of(first))
    assert 0 <= p <= 1


def test_other_rows_or_other_targets_are_not_paired(runs):
    first, second = (answered(run, "label") for run in runs)
    fewer = second.ordered_as(second.ids[1:])
    assert aligned([first, fewer]) == "they were measured on different rows"
    second.truth[0] = "another"
    assert aligned([first, second]) == "the same rows have different targets"


def test_pooled_is_the_mean_of_the_trainings():
    hits = [torch.tensor([1.0, 0, 1, 1]), torch.tensor([1.0, 1, 0, 0])]
    several = pooled([mean_of(one) for one in hits])
    assert several.value == pytest.approx((0.75 + 0.5) / 2)
    same = difference(pooled([mean_of(hits[0])]), mean_of(hits[0]))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    plain = interval(mean_of(torch.stack(hits).mean(0)))
    assert interval(several).low == pytest.approx(plain.low)


def test_answers_that_do_not_give_the_score_are_not_used(runs, tmp_path):
    import shutil

    shutil.copytree(runs[0].path, tmp_path / "run")
    path = tmp_path / "run" / "predictions.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index("label.answer")
    parquet.write_table(table.set_column(place, "label.answer", [[[row[1], row[0]] for row in table["label.answer"].to_pylist()]]), path)
    assert digest(path) != digest(runs[0].path / "predictions.parquet")
    run = type(runs[0])(tmp_path / "run")
    right = next(score["trained"] for score in run.read("scores.json") if score["name"] == "label.accuracy")
    if right != 0.5:
        assert answered(run, "label") == "its kept answers do not give the score it wrote down"
