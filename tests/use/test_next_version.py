"""Corrections become the next version of a run; what is learnt, held out and left out adds up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych.base.errors import InputError
from triptych.data.sources import open_source
from triptych.modalities import rooms
from triptych.run.fit import fit
from triptych.run.opening import read_rows
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.disputes import doubts
from triptych.use.feedback import Feedback, feedback_of
from triptych.use.lessons import Wanted, key_of, sort_out
from triptych.use.next_recipe import Plans
from triptych.use.next_version import TOLD, contents, train_next
from triptych.use.opened import Run
from triptych.use.remarks import cells_of
from triptych.use.said import export_table, import_table, remark_on

pytestmark = pytest.mark.usefixtures("no_charts")


def picture(folder: Path, number: int, bright: bool) -> Path:
    """A writer whose pictures are the other way round: what is bright is low."""
    noise = np.random.default_rng(1000 + number).integers(0, 80, (16, 16, 3))
    path = folder / f"new{number}.png"
    Image.fromarray((noise + (150 if bright else 10)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def run(tiny_run):
    return Run(tiny_run.folder)


@pytest.fixture
def table(run, tmp_path) -> Feedback:
    return feedback_of(run.folder, tmp_path / "f.lance")


def corrections(run, table, folder, count, **words) -> None:
    cells = [cells_of(run.recipe, {"image": picture(folder, number, bright=number % 2 == 0)}) for number in range(count)]
    for number, row in enumerate(cells):
        table.say(row, task="label", correction="low" if number % 2 == 0 else "high", **words)


def test_ten_corrections_change_the_next_version_and_both_are_shown(run, table, tmp_path):
    corrections(run, table, tmp_path, 10, rater="ann")
    next_run = train_next(run, table, Plans(Wanted(held=0.3), epochs=12, changes=("stages.0.lr=0.02",)), tmp_path / "next")
    told = next_run.read(TOLD)
    counts = told["counts"]
    assert counts["remarks"] == 10 == counts["learnt"] + counts["held_out"] + counts["left_out"] and counts["held_out"] > 0
    assert told["from"]["digest"] == run.folder.digest() and told["feedback"]["version"] == table.version
    learnt = told["learnt"]["label"]
    assert learnt["right_after"] > learnt["right_before"] and {"untouched", "trained", "change", "p_value"} <= set(
        told["held_out"]["label"]
    )
    assert set(told["old_test"]) == {"match", "label"}
    assert next_run.recipe().start == str(run.folder.path.resolve()) and next_run.digest() != run.folder.digest()
    before = {score["name"]: score["trained"] for score in run.scores}
    for score in next_run.read("scores.json"):  # the next version begins where the old one ended, on the same test rows
        assert score["untouched"] == pytest.approx(before[score["name"]], abs=1e-4)
    page = next_run.report.read_text(encoding="utf-8")
    assert "Feedback: before and after" in page and "On feedback that was held out" in page
    Run(next_run).predict(image=picture(tmp_path, 99, bright=True))  # every file is as it was sealed


def sorted_(run, table, wanted=None, test=()):
    kept = list(table.remarks())
    found = doubts([one.remark for one in kept], run.recipe.tasks)
    made = sort_out(
        kept, run.recipe, {"label": ["high", "low"]}, found, wanted or Wanted(), lambda name, cell: contents(run, name, cell), test
    )
    made.counts(len(kept))
    return made


def test_every_remark_is_in_one_place_and_says_why(run, table, tmp_path):
    corrections(run, table, tmp_path, 6)
    image = cells_of(run.recipe, {"image": picture(tmp_path, 50, True)})
    for words in (
        {"task": "label", "rating": 5},
        {"score": 4.0, "rater": "x"},
        {"task": "label", "correction": "middle"},
        {"task": "label", "correction": "low", "rater": "eve"},
    ):
        table.say(image, **words)
    other = cells_of(run.recipe, {"image": picture(tmp_path, 51, True)})
    for label in ("low", "high"):
        table.say(other, task="label", correction=label)
    made = sorted_(run, table, Wanted(without=("eve",)))
    assert sorted(why.split(":")[0] for why in made.left_out.values()) == [
        "a listening says how good an answer is, not which one is right",
        "a rating says how good an answer is, not which one is right",
        "it contradicts another one of the same input",
        "it contradicts another one of the same input",
        "its rater is left out, as asked",
        "the run does not know this answer",
    ]
    assert "triptych feedback export" in made.findings[0].fix
    assert len(sorted_(run, table, Wanted(keep_contradictions=True)).left_out) == 3


def test_an_input_is_never_on_both_sides_whatever_format_it_is_in(run, table, tmp_path):
    corrections(run, table, tmp_path, 12)
    for number in range(12):  # the same pictures again, in another format, with a text
        copy = tmp_path / f"again{number}.bmp"
        Image.open(tmp_path / f"new{number}.png").save(copy)
        table.say(
            cells_of(run.recipe, {"image": copy, "text": f"number {number}"}), task="label", correction="low" if number % 2 == 0 else "high"
        )
    made = sorted_(run, table, Wanted(held=0.5))

    def seen(lessons):
        return {word for one in lessons for word in contents(run, "image", one.row.cells["image"])}

    assert made.held and made.learnt and not seen(made.held) & seen(made.learnt)


def test_rows_that_the_run_is_judged_by_are_not_learnt(run, table, tmp_path):
    corrections(run, table, tmp_path, 6)
    known = {key_of((tmp_path / "new3.png").read_bytes())}
    made = sorted_(run, table, Wanted(held=0), known)
    assert [why.split(":")[0] for why in made.left_out.values()] == ["its input is a row that the run was judged by"]


def test_nothing_to_learn_from_is_an_error_that_says_why(run, table, tmp_path):
    with pytest.raises(InputError, match="no feedback"):
        train_next(run, table, Plans(), tmp_path / "next")
    table.say(cells_of(run.recipe, {"image": picture(tmp_path, 1, True)}), task="label", correction="middle")
    with pytest.raises(InputError, match="does not know this answer") as problem:
        train_next(run, table, Plans(), tmp_path / "next")
    assert "data.source" in problem.value.fix and not (tmp_path / "next").exists()


def test_a_spreadsheet_goes_in_and_comes_out_again(run, table, tmp_path):
    with (tmp_path / "said.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "rater", "remark"])
        for number in range(4):
            writer.writerow([picture(tmp_path, number, True).name, "low", "ann", "x"])
        writer.writerow(["none.png", "low", "", ""])
        writer.writerow([picture(tmp_path, 9, True).name, "", "", ""])
    made = import_table(run, table, tmp_path / "said.csv", {})
    assert (made.rows, made.remarks, made.empty, len(made.rejects), made.unused) == (6, 4, 1, 1, ["remark"])
    kept = list(table.remarks())
    assert {one.remark.rater for one in kept} == {"ann"} and all(one.remark.answer["said"] for one in kept)
    for name in ("out.lance", "out.csv", "out.jsonl"):
        told = export_table(run, kept, tmp_path / name)
        assert told["rows"] == 4 and {"image", "label"} <= set(told["columns"])
        rows = [row for row in open_source(tmp_path / name, rooms()).rows() if row.cells["label"] == "low"]
        assert len(rows) == 4
    with pytest.raises(InputError, match="is there already"):
        export_table(run, kept, tmp_path / "out.csv")
    # A recipe takes it as its source, though nobody gave a sound.
    checked = read(json.loads(run.recipe.model_dump_json()), [f"data.source={tmp_path / 'out.csv'}"])
    assert {"image", "audio", "label"} <= set(read_rows(checked, {}, Voice(quiet=True)).columns)


def test_a_remark_keeps_what_the_run_said(run, table, tmp_path):
    remark = remark_on(run, table, {"image": picture(tmp_path, 0, True)}, {"task": "label", "correction": "low"})
    assert remark.answer["said"] in ("low", "high") and 0 < remark.answer["confidence"] <= 1
    with pytest.raises(InputError):
        remark_on(run, table, {"image": tmp_path / "none.png"}, {"correction": "low"})
    assert len(table) == 1


def test_a_run_of_another_form_cannot_be_started_from(run, tiny_recipe, tmp_path):
    start = f"start={run.folder.path}"
    with pytest.raises(InputError, match="another form") as problem:
        fit(read(str(tiny_recipe), [start, "inputs.image.encoder.width=12"]), tmp_path / "other", quiet=True)
    assert "inputs.image.encoder" in str(problem.value)
    with pytest.raises(InputError, match="no run"):
        fit(read(str(tiny_recipe), ["start=nowhere"]), tmp_path / "other", quiet=True)


WRITES = {
    "name": "say",
    "inputs": {"text": {"prepare": {"vocabulary": 300}, "encoder": {"kind": "gru", "width": 8, "depth": 1}}},
    "decoder": {"kind": "small", "layers": 1, "width": 16, "heads": 2, "context": 48, "tokenizer": "word", "vocabulary": 300},
    "tasks": {"say": {"kind": "generate", "target": "label", "template": "{text}", "longest": 3, "written": 4}},
    "stages": [{"train": ["all"], "epochs": 2, "lr": 1.0e-2}],
    "training": {"batch_size": 12, "threads": 1},
    "report": {"rows": 1},
}


@pytest.mark.slow
def test_better_of_two_become_pairs_of_the_next_version(tiny_table, tmp_path):
    tree = {**WRITES, "data": {"source": str(tiny_table), "split": {"column": "side"}}}
    run = triptych.train(tree, out=tmp_path / "run", quiet=True)
    table = feedback_of(run.folder)
    for number in range(12):
        table.say({"text": f"a tone {number}"}, chosen="high", rejected="low", rater="ann")
    table.say({"text": "a deep one"}, task="say", correction="low")
    next_run = train_next(run, table, Plans(epochs=6, weight=8, changes=("stages.0.lr=0.02",)), tmp_path / "next")
    recipe, told = next_run.recipe(), next_run.read(TOLD)
    assert recipe.tasks["better_say"].kind == "prefer" and "decoder.lora" in recipe.stages[0].train
    assert told["counts"]["learnt"] + told["counts"]["held_out"] == 13
    scores = {score["name"]: score for score in next_run.read("scores.json")}
    before = {score["name"]: score["trained"] for score in run.scores}
    assert scores["say.perplexity"]["untouched"] == pytest.approx(before["say.perplexity"], rel=1e-3)
    pairs = told["learnt"]["say, better of two"]
    assert pairs["trained"]["value"] > pairs["untouched"]["value"]
    assert 0 <= pairs["likelier_before"] <= pairs["likelier_after"] and pairs["likelier_after"] > pairs["rows"] / 2
    assert Run(next_run).predict(text="a tone 3")["say"]["said"]
