"""A bake-off: equal budgets, figures that can be checked by hand, and trainings that are not done twice."""

from __future__ import annotations

import json
import re
import statistics

import pytest

from triptych.base.errors import InputError, TriptychError
from triptych.objective.intervals import difference, interval
from triptych.run import bakeoff as baking
from triptych.run.answers import aligned, answered, pooled
from triptych.run.bakeoff import bake, said
from triptych.run.fit import fit
from triptych.run.folder import RunFolder, open_folder
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.run.search import fusions
from triptych.use.contest import write_page

QUIET = Voice(quiet=True)
SETS = ["training.select=label.accuracy", "stages.0.patience=1"]


@pytest.fixture(scope="module")
def baked(tiny_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bake") / "off"
    recipe = read(str(tiny_recipe), SETS)
    return recipe, folder, bake(recipe, fusions(recipe, ["joint", "gated"]), 2, folder, QUIET)


def scores_of(path, name="label.accuracy"):
    return next(score["trained"] for score in RunFolder(path).read("scores.json") if score["name"] == name)


def test_figures_are_those_of_the_runs(baked):
    _, folder, told = baked
    assert json.loads((folder / "bakeoff.json").read_text())["said"] == told["said"]
    assert [one["value"] for one in told["rivals"]] == sorted((one["value"] for one in told["rivals"]), reverse=True)
    for one in told["rivals"]:
        each = [scores_of(folder / f"{one['fusion']}-{seed}") for seed in (0, 1)]
        assert list(one["by_seed"].values()) == pytest.approx(each)
        assert one["value"] == pytest.approx(statistics.mean(each))
        assert one["spread"] == pytest.approx(statistics.stdev(each))


def test_intervals_are_the_paired_bootstrap_over_all_seeds(baked):
    _, folder, told = baked
    first, second = told["rivals"]
    kinds = [first["fusion"], second["fusion"]]
    rows = aligned([answered(RunFolder(folder / f"{kind}-{seed}"), "label") for kind in kinds for seed in (0, 1)])
    ahead, behind = pooled([one.statistics for one in rows[:2]]), pooled([one.statistics for one in rows[2:]])
    found = difference(ahead, behind)
    assert (second["difference"]["low"], second["difference"]["high"]) == (found.low, found.high)
    assert (first["low"], first["high"]) == (interval(ahead).low, interval(ahead).high)
    assert first["difference"] is None and first["verdict"] == "ahead"


def test_each_has_the_same_budget_and_is_an_ordinary_run(baked, tmp_path):
    recipe, folder, _ = baked
    runs = [open_folder(folder / f"{kind}-{seed}") for kind in ("joint", "gated") for seed in (0, 1)]
    assert {len(run.read_log()) for run in runs} == {2}, "patience is set aside"
    assert {run.recipe().training.seed for run in runs} == {0, 1}
    alone = fit(runs[0].recipe(), tmp_path / "alone", quiet=True)
    assert alone.read("scores.json") == runs[0].read("scores.json")


def test_what_is_finished_is_not_trained_again_and_what_was_cut_off_goes_on(baked, monkeypatch):
    recipe, folder, told = baked
    (folder / "gated-1" / "run.json").write_text(
        json.dumps({**json.loads((folder / "gated-1" / "run.json").read_text()), "status": "running"})
    )
    plain, gone_on = baking.resume, []
    monkeypatch.setattr(baking, "resume", lambda path, *words, **more: gone_on.append(path.name) or plain(path, *words, **more))
    monkeypatch.setattr(baking, "fit", lambda *_, **__: pytest.fail("all are there, or begun"))
    again = bake(recipe, fusions(recipe, ["joint", "gated"]), 2, folder, QUIET)
    assert gone_on == ["gated-1"]
    strip = [{k: v for k, v in one.items() if k != "seconds"} for one in told["rivals"]]
    assert [{k: v for k, v in one.items() if k != "seconds"} for one in again["rivals"]] == strip


def test_a_run_of_another_recipe_is_not_counted(baked):
    recipe, folder, _ = baked
    other = recipe.model_copy(update={"stages": [recipe.stages[0].model_copy(update={"epochs": 3})]})
    with pytest.raises(InputError, match=r"another recipe: stages\.0\.epochs"):
        bake(other, fusions(other, ["joint", "gated"]), 2, folder, QUIET)


def test_a_fusion_that_fails_does_not_stop_the_others(tiny_recipe, tmp_path, monkeypatch):
    plain = baking.fit

    def sometimes(made, *words, **more):
        if made.fusion.kind == "gated":
            raise TriptychError("no epoch gave a loss that is a number")
        return plain(made, *words, **more)

    monkeypatch.setattr(baking, "fit", sometimes)
    recipe = read(str(tiny_recipe), SETS)
    told = bake(recipe, fusions(recipe, ["joint", "gated", "concat"]), 1, tmp_path / "off", QUIET)
    assert told["rivals"][-1] == {"fusion": "gated", "verdict": "failed", "reason": "seed 0: no epoch gave a loss that is a number"}
    assert "gated failed" in told["said"] and len(told["rivals"]) == 3
    page = write_page(told, tmp_path / "page.html").read_text()
    assert "no epoch gave a loss" in page


def test_stopped_in_the_middle_it_judges_what_all_have(baked, tmp_path, monkeypatch):
    recipe, folder, _ = baked
    (tmp_path / "off").mkdir()
    for name in ("joint-0", "gated-0", "joint-1"):
        (tmp_path / "off" / name).symlink_to(folder / name)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(baking, "fit", stopped)
    told = bake(recipe, fusions(recipe, ["joint", "gated"]), 2, tmp_path / "off", QUIET)
    assert told["interrupted"] and told["seeds"] == [0]
    assert {one["fusion"] for one in told["rivals"]} == {"joint", "gated"}


def rival(name, value, verdict, parameters=10):
    return {"fusion": name, "value": value, "low": value - 0.1, "high": value + 0.1, "verdict": verdict, "parameters": parameters}


@pytest.mark.parametrize(
    ("rivals", "words"),
    [
        (
            [rival("a", 0.9, "ahead"), rival("b", 0.5, "behind")],
            "a wins: s 0.900 (0.800 to 1.000) on 50 rows, mean of 2 seeds; surely behind it: b",
        ),
        ([rival("a", 0.9, "ahead"), rival("b", 0.8, "not told apart", 5)], "No fusion is surely better"),
        (
            [rival("a", 0.9, "ahead"), rival("b", 0.8, "not told apart"), rival("c", 0.1, "behind")],
            "not told apart from it: b; surely behind: c",
        ),
    ],
)
def test_the_verdict_in_plain_words(rivals, words):
    assert words in said(rivals, "s", 50, 2)


def test_the_page_holds_all_and_loads_nothing(baked):
    _, folder, told = baked
    page = write_page(told, folder / "bakeoff.html").read_text()
    assert all(one["fusion"] in page and f"{one['value']:.3f}" in page for one in told["rivals"])
    assert page.count("<svg") == 4
    assert told["said"] in page
    assert not re.findall(r"(?:src|href)=\"(?!#)", page) and "<script" not in page
