"""Thresholds of labels from training to the answer: chosen on validation rows, kept with the run, used by all that judge or tell."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from sklearn.metrics import f1_score
from typer.testing import CliRunner

import triptych
from triptych.base.errors import InputError
from triptych.cli.main import app
from triptych.contract.tasks import cut_of
from triptych.data.table import Table
from triptych.run.answers import answered
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.inspect import findings
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.report import write_report

TAGS = "tasks={tags: {kind: multilabel, target: tags, threshold: f1}}"
COMMAND = CliRunner()


@pytest.fixture(scope="module")
def source(tiny_table):
    """The tiny table with a tag that no validation row has."""
    path = tiny_table.parent / "rare.csv"
    with tiny_table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for n, row in enumerate(rows):
        if row["side"] != "validation" and n % 4 == 2:
            row["tags"] += "|rare"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def run(tiny_recipe, source, tmp_path_factory):
    out = tmp_path_factory.mktemp("thresholds") / "run"
    return triptych.train(tiny_recipe, out=out, set=[TAGS, f"data.source={source}"], quiet=True)


def cuts(run):
    return {one["label"]: one["at"] for one in run.folder.read("thresholds.json")["tags"]["labels"]}


def test_they_are_the_best_of_the_validation_rows_alone(run):
    recipe = run.recipe
    table: Table = open_table(recipe, Voice(quiet=True))
    rows = [table.rows.take([n], None)[0] for n in table.at("validation")]
    there = [{name: row.cells[name] for name in recipe.inputs if row.cells.get(name)} for row in rows]
    given = [{name: cell if name == "text" else table.folder / cell for name, cell in row.items()} for row in there]
    answers = run.predict_rows(given)
    for label, at in cuts(run).items():
        truth = [label in str(row.cells["tags"]).split("|") for row in rows]
        shares = torch.tensor([answer["tags"]["probabilities"][label] for answer in answers]).double()
        if not any(truth):
            assert label == "rare" and at == 0.5
            continue
        best = max(f1_score(truth, (shares >= one).tolist()) for one in shares)
        assert f1_score(truth, (shares > at).tolist()) == pytest.approx(best)


def test_a_label_that_no_validation_row_has_keeps_a_half_and_says_so(run, tiny_recipe, source):
    told = next(one for one in run.folder.read("thresholds.json")["tags"]["labels"] if one["label"] == "rare")
    assert told["at"] == 0.5 and told["rows"] == 0 and "stays 0.5" in told["note"]
    found = findings(run.recipe, open_table(run.recipe, Voice(quiet=True)))["findings"]
    assert any(one["code"] == "few to choose on" and "rare 0" in one["text"] for one in found)


def test_answers_scores_tables_and_later_measurements_use_them(run, source):
    answer = run.predict(text="a low hum, number 4")["tags"]
    assert answer["thresholds"] == cuts(run)
    given = {label for label, share in answer["probabilities"].items() if share > answer["thresholds"][label]}
    assert set(answer["said"].split(", ")) - {"none"} == given
    classes = run.folder.read("details.json")["classes"]["tags"]
    assert {row["class"]: row["threshold"] for row in classes} == cuts(run)
    again = triptych.evaluate(run.folder.path, quiet=True)
    assert again.told["stored"]["same"] and again.told["details"]["classes"]["tags"] == classes
    kept = answered(run.folder, "tags")
    assert not isinstance(kept, str) and kept.statistics.value == pytest.approx(
        next(s["trained"] for s in run.scores if s["name"] == "tags.macro_f1")
    )
    page = write_report(run.folder).read_text()
    assert "threshold</th>" in page and "threshold</th>" in again.page.read_text()
    said = COMMAND.invoke(app, ["predict", str(run.folder.path), "--text", "a low hum", "--json"])
    assert json.loads(said.stdout)[0]["tasks"]["tags"]["thresholds"] == cuts(run)


def test_a_run_measured_elsewhere_is_opened_by_its_own_files(run):
    run.folder.verify()
    assert "thresholds.json" in run.folder.read("run.json")["files"]
    assert run.model.parts()["tags"].facts["thresholds"] == list(cuts(run).values())


def test_without_validation_rows_nothing_is_trained(tiny_recipe, tmp_path):
    sets = [TAGS, "data.split={validation: 0, test: 0.2}"]
    with pytest.raises(InputError, match="there are none") as problem:
        fit(read(tiny_recipe, sets), tmp_path / "run", quiet=True)
    assert problem.value.where == "tasks.tags.threshold" and not (tmp_path / "run").exists()


def test_a_number_is_a_number_for_all(tiny_recipe):
    recipe = read(tiny_recipe, ["tasks={tags: {kind: multilabel, target: tags, threshold: 0.3}}", "data.split={validation: 0, test: 0.2}"])
    bench = build(recipe, open_table(recipe, Voice(quiet=True)), Voice(quiet=True))
    assert cut_of(recipe.tasks["tags"], bench.model.parts()["tags"].facts) == 0.3


@pytest.mark.parametrize(
    "word", ["0", "1.5", "true", "f2", "{precision: 2}", "{precision: 0.9, recall: 0.9}", "{accuracy: 0.9}", "[]", "null"]
)
def test_other_words_are_refused_with_the_known_ones(tiny_recipe, word):
    with pytest.raises(InputError, match=r"f1, \{precision: 0.9\} or \{recall: 0.9\}"):
        read(tiny_recipe, [f"tasks={{tags: {{kind: multilabel, target: tags, threshold: {word}}}}}"])
