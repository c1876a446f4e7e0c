"""Runs side by side: differences, curves, intervals, pages; of other tasks, other rows and older versions too."""

from __future__ import annotations

import json
import re
import shutil

import pytest

import triptych
from triptych.base.errors import InputError
from triptych.objective.intervals import difference
from triptych.run.answers import answered
from triptych.run.folder import RunFolder, open_folder
from triptych.use import overlays
from triptych.use.compare import MOST, compare, over_seeds, write_page

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(scope="module")
def pair(tiny_run, tiny_recipe, tmp_path_factory):
    other = triptych.train(tiny_recipe, out=tmp_path_factory.mktemp("pair") / "gated", set=["fusion={kind: gated, width: 8}"], quiet=True)
    return tiny_run.folder, other.folder


def test_everything_has_one_value_a_run(pair):
    found = compare(pair)
    assert all(len(row["values"]) == 2 for part in ("recipe", "scores", "cost", "curves") for row in found[part])
    assert {"name": "fusion.kind", "values": ["joint", "gated"]} in found["recipe"]
    assert {row["name"] for row in found["curves"]} >= {
        "train loss",
        "validation loss",
        "validation match.recall@1",
        "validation label.accuracy",
    }
    for number, run in enumerate(pair):
        (losses,) = [row["values"][number] for row in found["curves"] if row["name"] == "validation loss"]
        assert losses == [(row["epoch"], row["validation loss"]) for row in run.read_log()]
    assert json.loads(json.dumps(found))["runs"] == [str(run.path) for run in pair]


def test_runs_of_the_same_rows_are_paired(pair):
    label = next(task for task in compare(pair)["intervals"] if task["task"] == "label")
    assert label["values"] == [run.read("verdicts.json")["label"]["trained"] for run in pair]
    (told,) = label["differences"]
    first, second = (answered(run, "label") for run in pair)
    change = difference(first.statistics, second.statistics)
    assert told["paired"] and (told["value"], told["low"], told["high"]) == (change.value, change.low, change.high)
    assert told["run"] == 2 and 0 <= told["p_value"] <= 1


def test_runs_of_other_rows_are_not_paired_and_it_is_said(pair, tiny_recipe, tmp_path):
    sets = ["data.split.column=null", "data.split.seed=4"]
    other = triptych.train(tiny_recipe, out=tmp_path / "other", set=sets, quiet=True)
    label = next(task for task in compare([pair[0], other.folder])["intervals"] if task["task"] == "label")
    (told,) = label["differences"]
    assert not told["paired"] and "different rows" in told["why"]
    a, b = label["values"]
    half = ((a["high"] - a["low"]) ** 2 + (b["high"] - b["low"]) ** 2) ** 0.5 / 2
    assert (told["low"], told["high"]) == pytest.approx((b["value"] - a["value"] - half, b["value"] - a["value"] + half))


def test_other_tasks_older_runs_and_a_page(pair, tiny_recipe, tmp_path):
    tasks = "tasks={number: {kind: regress, target: number}}"
    numbers = triptych.train(tiny_recipe, out=tmp_path / "<b>numbers", set=[tasks], quiet=True).folder
    shutil.copytree(pair[0].path, tmp_path / "old")
    old = RunFolder(tmp_path / "old")
    for name in ("verdicts.json", "details.json"):
        (old.path / name).unlink()
    old.about(
        {"files": {name: value for name, value in old.read("run.json")["files"].items() if name not in ("verdicts.json", "details.json")}}
    )
    found = compare([pair[0], numbers, open_folder(old.path), pair[1]])
    by_task = {task["task"]: task for task in found["intervals"]}
    assert [value is None for value in by_task["label"]["values"]] == [False, True, True, False]
    assert [one["run"] for one in by_task["label"]["differences"]] == [4]
    assert by_task["number"]["first"] == 2 and by_task["number"]["differences"] == []
    page = write_page(found, tmp_path / "page.html").read_text()
    assert "<b>numbers" not in page and "&lt;b&gt;numbers" in page
    assert not re.findall(r"(?:src|href)=\"(?!#)", page) and "<script" not in page
    assert page.count("<svg") == len(found["intervals"]) + len(found["curves"])


def test_runs_that_differ_in_their_seed_alone_are_brought_together(pair):
    recipes = [{"training.seed": seed, "approach": word} for word in ("head", "lora") for seed in (0, 1)]
    values = [{"value": value} for value in (0.5, 0.75, 0.25, 0.75)]
    task = {"task": "mood", "metric": "accuracy", "values": values}
    scores = [{"mood.accuracy by prompts": {"untouched": 0.375}} for _ in range(2)] + [{}, {}]
    first, second = over_seeds(recipes, [task], scores)
    assert first == {"runs": [1, 2], "score": "mood.accuracy", "mean": 0.625, "low": 0.5, "high": 0.75, "prompts": 0.375}
    assert second["runs"] == [3, 4] and second["mean"] == 0.5 and second["prompts"] is None
    assert over_seeds(recipes[::2], [{**task, "values": values[::2]}], scores[::2]) == [] == compare(pair)["seeds"]


def test_many_runs_fit_and_no_more_than_there_are_colours_and_dashes_for(pair, tmp_path):
    assert len({tuple(overlays.style(number).values()) for number in range(MOST)}) >= MOST
    page = write_page(compare([pair[0], *[pair[1]] * 6]), tmp_path / "page.html").read_text()
    assert "7 gated" in page
    with pytest.raises(InputError, match=f"at most {MOST}"):
        compare([pair[0]] * (MOST + 1))


def test_an_unfinished_or_damaged_run_is_refused_by_name(pair, tmp_path):
    shutil.copytree(pair[0].path, tmp_path / "half")
    half = RunFolder(tmp_path / "half")
    half.about({"status": "interrupted"})
    with pytest.raises(InputError, match="not finished") as caught:
        open_folder(half.path)
    assert "half" in str(caught.value)
    half.about({"status": "done"})
    (half.path / "scores.json").write_text("[]")
    with pytest.raises(InputError, match="damaged") as caught:
        compare([pair[0], half])
    assert "half" in str(caught.value)


def test_the_terminal_leaves_single_mixtures_to_the_page(capsys):
    from triptych.cli.tables import comparison

    names = ["loss", "label.accuracy", "label.ece", "label.accuracy from text", "label.ece from text", "label.ece from image"]
    rows = [{"name": name, "values": [0.1, 0.2], "best": None} for name in names]
    task = {"task": "label", "metric": "accuracy", "first": 1, "values": [None, None], "differences": []}
    found = {"runs": ["a", "b"], "judged_on": ["test", "test"], "seeds": [], "intervals": [task], "recipe": [], "scores": rows, "cost": []}
    comparison(found)
    told = capsys.readouterr().out
    assert "label.accuracy from text" in told and "label.ece" in told
    assert "label.ece from" not in told and "and 2 more scores" in told
