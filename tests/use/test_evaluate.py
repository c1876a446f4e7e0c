"""A model measured without training: the untouched one, a run's again, a run on other rows."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

import triptych
from triptych.base.errors import InputError
from triptych.use.evaluate import alike

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(scope="module")
def run(tiny_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    sets = ["tasks.label.prompt='a {label} one'", "tasks.number={kind: regress, target: number}", "data.split.column=side"]
    return triptych.train(tiny_recipe, out=folder / "run", set=sets, quiet=True)


def figures(scores, key):
    return {score["name"]: score[key] for score in scores}


def test_a_run_measured_again_gives_the_stored_figures_exactly(run):
    found = triptych.evaluate(run.folder.path, quiet=True)
    assert figures(found.scores, "value") == figures(run.scores, "trained")
    assert found.told["stored"] == {"same": True, "differ": {}}
    assert found.reliance == run.folder.read("reliance.json")
    assert found.folder.parent == run.folder.path / "evaluations"
    run.folder.verify()  # what is written below the run does not spoil it
    verdicts = run.folder.read("verdicts.json")
    for name, told in verdicts.items():
        score = next(s for s in found.scores if s["name"] == f"{name}.{told['metric']}")
        wanted = [told["trained"][part] for part in ("value", "low", "high")]
        assert [score["value"], score["low"], score["high"]] == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    page = found.page.read_text()
    assert json.loads((found.folder / "evaluation.json").read_text())["scores"] == found.scores
    assert "<script" not in page and "http" not in page.replace("http-equiv", "") and "the same figures" in page


def test_the_untouched_model_is_what_training_starts_from(run, tmp_path):
    found = triptych.evaluate(run.folder.path, untouched=True, out=tmp_path / "out", quiet=True)
    assert figures(found.scores, "value") == figures(run.scores, "untouched")
    verdicts = run.folder.read("verdicts.json")
    assert found.told["baselines"] == {name: told["baselines"] for name, told in verdicts.items()}
    score = next(s for s in found.scores if s["name"] == "label.accuracy by prompts")
    assert score["low"] <= score["value"] <= score["high"]
    assert found.reliance == {} and "untouched" in found.page.read_text()


def other_table(tiny_table, folder, drop=(), change=None):
    """The training rows of the tiny table in a folder of their own, as rows that somebody labelled since."""
    shutil.copytree(tiny_table.parent, folder, dirs_exist_ok=True)
    with (folder / "table.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in drop} for row in csv.DictReader(file)]
    rows = [row | (change or {}) for row in rows[:20]]
    with (folder / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "new.csv"


def test_other_rows_are_all_judged_with_the_labels_and_the_unit_of_the_run(run, tiny_table, tmp_path):
    source = other_table(tiny_table, tmp_path / "new", drop=("side",))
    found = triptych.evaluate(run.folder.path, data=source, out=tmp_path / "out", quiet=True)
    assert found.told["rows"] == 20 and found.told["stored"] is None
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    given = [{k: source.parent / row[k] if k != "text" else row[k] for k in ("image", "audio", "text") if row[k]} for row in rows]
    answers = run.predict_rows(given)
    right = [answer["label"]["said"] == row["label"] for answer, row in zip(answers, rows, strict=True)]
    assert found.value("label.accuracy") == pytest.approx(sum(right) / 20)
    off = [abs(answer["number"]["value"] - float(row["number"])) for answer, row in zip(answers, rows, strict=True)]
    assert found.value("number.mae") == pytest.approx(sum(off) / 20, rel=1e-4)


def test_rows_that_lack_a_target_or_an_input_are_measured_as_far_as_they_go(run, tiny_table, tmp_path):
    source = other_table(tiny_table, tmp_path / "new", drop=("number", "audio"), change={"label": "unheard"})
    found = triptych.evaluate(run.folder.path, data=source, out=tmp_path / "out", quiet=True)
    said = " ".join(one["text"] for one in found.told["findings"])
    assert "task number: no column 'number', so it is not measured" in said
    assert "no column 'audio': every row is judged without that input" in said
    assert "unheard not in the training rows" in said
    assert found.value("number.r2") is None and found.value("label.accuracy") is None and found.value("match.recall@1 image -> text")


def test_what_cannot_be_measured_is_refused_with_a_way_out(run, tiny_recipe, tiny_table, tmp_path):
    def refused(*args, **kwargs):
        with pytest.raises(InputError) as caught:
            triptych.evaluate(*args, quiet=True, **kwargs)
        return str(caught.value)

    path = run.folder.path
    assert "--untouched" in refused(tiny_recipe) and "is not trained" in refused("digits")
    assert "unknown recipe 'digit'" in refused("digit")
    assert "measured as it was trained" in refused(path, set=["name=x"])
    assert "is not a run folder" in refused(tmp_path)
    assert "is there already" in refused(path, out=path)
    assert "there is no file" in refused(path, data=tmp_path / "nowhere.csv")
    bare = other_table(tiny_table, tmp_path / "bare", drop=("label", "number"))
    assert "nothing to judge the answers by" in refused(path, data=bare)
    blind = other_table(tiny_table, tmp_path / "blind", drop=("image", "audio", "text"))
    assert "nothing in it is an input of this run" in refused(path, data=blind)


@pytest.mark.parametrize(
    ("then", "now", "same"), [(0.5820660, 0.5820659, True), (0.535, 0.5375, False), (None, None, True), (0.0, None, False)]
)
def test_what_adds_up_in_another_order_is_the_same_figure(then, now, same):
    assert alike(then, now) is same


def test_changed_rows_are_told(run, tiny_table, tmp_path):
    """Somebody mended labels in the source: the figures of today are not those of the run."""
    copy = tmp_path / "run"
    shutil.copytree(run.folder.path, copy)
    scores = json.loads((copy / "scores.json").read_text())
    next(score for score in scores if score["name"] == "label.accuracy")["trained"] = 0.123
    (copy / "scores.json").write_text(json.dumps(scores))
    about = json.loads((copy / "run.json").read_text())
    from triptych.base.files import digest

    about["files"]["scores.json"] = digest(copy / "scores.json")
    (copy / "run.json").write_text(json.dumps(about))
    stored = triptych.evaluate(copy, out=tmp_path / "out", quiet=True).told["stored"]
    assert not stored["same"] and list(stored["differ"]) == ["label.accuracy"]
