"""The audit of inputs: what is planted is found, what is healthy is left alone."""

from __future__ import annotations

import csv
import random

import numpy as np
import pytest
import torch

import triptych
from triptych.run.building import build
from triptych.run.encoded import encode
from triptych.run.measure import answer, measure
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.run.reliance import FLAGGED, exchanged, flagged, reliance, warnings
from triptych.use.report import write_report

QUIET = Voice(quiet=True)
CLASSES = ("red", "green", "blue", "grey")
RECIPE = """
data: {{source: table.csv, split: {{column: side}}}}
inputs:
  strong: {{modality: text, prepare: {{vocabulary: 300}}, encoder: {{kind: gru, width: 16, depth: 1}}}}
  weak: {{modality: text, prepare: {{vocabulary: 300}}, encoder: {{kind: gru, width: 16, depth: 1}}}}
tasks: {{label: {{kind: classify, target: label}}}}
fusion: {{kind: {fusion}, width: 16}}
stages: [{{train: [all], epochs: {epochs}, lr: 1.0e-2}}]
training: {{batch_size: 32, threads: 1, drop_inputs: {drop}, seed: 1}}
"""


def planted(folder, weak_right: float, fusion="concat", drop=0.0, epochs=8, strong_right=1.0, rows=480, holes=0.0):
    """Two inputs of words: each names the class with some chance, else any class."""
    draw = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["strong", "weak", "label", "side"])
        for row in range(rows):
            label = CLASSES[row % 4]
            said = [label if draw.random() < chance else draw.choice(CLASSES) for chance in (strong_right, weak_right)]
            cells = [f"the {word} one, {draw.choice(('now', 'then', 'here'))}" for word in said]
            if draw.random() < holes:
                cells[draw.randrange(2)] = ""
            writer.writerow([*cells, label, ("test", "test", "validation", "train", "train", "train")[row // 4 % 6]])
    (folder / "recipe.yaml").write_text(RECIPE.format(fusion=fusion, drop=drop, epochs=epochs))
    return folder / "recipe.yaml"


def verdicts(run) -> dict[str, str]:
    told = run.folder.read("reliance.json")
    return {given: one["verdict"] for given, one in told["tasks"]["label"]["inputs"].items()}


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_a_planted_useless_input_is_flagged_and_the_other_is_not(tmp_path, fusion):
    run = triptych.train(planted(tmp_path, weak_right=0.0, fusion=fusion), out=tmp_path / "run", quiet=True)
    told = run.folder.read("reliance.json")
    strong, weak = (told["tasks"]["label"]["inputs"][given] for given in ("strong", "weak"))
    assert strong["verdict"] == "used" and strong["shuffle"]["low"] > 0.3
    assert weak["verdict"] in FLAGGED and weak["shuffle"]["low"] <= 0 <= weak["shuffle"]["high"]
    assert weak["score"] == strong["score"] > 0.9 and weak["rows"] == told["rows"] == told["of"] == 160
    said = warnings(told)
    assert flagged(told) == {"label": ["weak"]} and len(said) == 1 and "weak" in said[0] and "drop_inputs" in said[0]
    page = write_report(run.folder).read_text()
    assert "ignore" in page and "weak" in page


def test_where_both_inputs_count_none_is_flagged(tmp_path):
    run = triptych.train(planted(tmp_path, 0.6, strong_right=0.6, drop=0.2, holes=0.2), out=tmp_path / "run", quiet=True)
    assert "used" in verdicts(run).values() and warnings(run.folder.read("reliance.json")) == []


@pytest.mark.slow
def test_inputs_that_say_the_same_are_spare_and_not_flagged(tmp_path):
    """Either can be exchanged without harm where the other outvotes it; that is no fault."""
    run = triptych.train(planted(tmp_path, 1.0, fusion="joint", drop=0.4), out=tmp_path / "run", quiet=True)
    assert set(verdicts(run).values()) <= {"used", "spare"}


@pytest.mark.slow
def test_hiding_inputs_cures_an_input_that_is_ignored(tmp_path):
    """With a strong input at hand a weak one is not learnt; hidden now and then, the strong one leaves it something to do."""

    def alone(drop):
        run = triptych.train(planted(tmp_path / str(drop), 0.7, drop=drop), out=tmp_path / f"run-{drop}", quiet=True)
        return next(score["trained"] for score in run.scores if score["name"] == "label.accuracy from weak")

    assert alone(0.5) > alone(0.0) + 0.15


def bench_of(path, *changes):
    recipe = read(str(path), changes)
    return build(recipe, open_table(recipe, QUIET), QUIET)


@pytest.mark.parametrize("fusion", ["concat", "gated", "attention", "cross_attention", "joint"])
def test_rows_encoded_once_answer_as_they_do_one_batch_at_a_time(tiny_recipe, fusion):
    """Pictures, sounds and texts of unlike lengths, rows with holes; also with an input exchanged, made by hand."""
    bench = bench_of(tiny_recipe, f"fusion={{kind: {fusion}, width: 8}}", "data.split={column: null, test: 0.6}")
    tasks = {"label": bench.recipe.tasks["label"]}
    rows = encode(bench, tasks)
    bench.model.eval()
    whole = rows.answers(bench.model, tasks, rows.present, {})["label"]
    measured = measure(bench.model, bench.loader("test", rows=rows.rows), bench.recipe.tasks, "cpu", every_mixture=False)
    torch.testing.assert_close(whole, measured.answers["label"], atol=1e-5, rtol=1e-5)
    donors = exchanged(rows.present["audio"], 3)
    exchanged_answers = rows.answers(bench.model, tasks, rows.present, {"audio": donors})["label"]
    batch = bench.loader("test").batch(rows.rows)
    encoded = bench.model.encode(batch)
    other = encoded["audio"]
    moved = type(other)(other.tokens_BTD[donors], other.mask_BT[donors], other.pooled_BD[donors])
    with torch.no_grad():
        by_hand = answer(tasks["label"], bench.model.heads["label"](bench.model.fusion({**encoded, "audio": moved}, batch.present)))
    torch.testing.assert_close(exchanged_answers, by_hand, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(exchanged_answers, whole)


def test_memory_is_bounded_and_says_how_many_rows_were_looked_at(tiny_recipe, monkeypatch):
    from triptych.run import encoded

    bench = bench_of(
        tiny_recipe, "fusion={kind: cross_attention, width: 8}", "training.batch_size=2", "data.split={column: null, test: 0.6}"
    )
    monkeypatch.setattr(encoded, "MOST_BYTES", 20_000)
    told = reliance(bench)
    assert 0 < told["rows"] < told["of"]
    monkeypatch.setattr(encoded, "MOST_ROWS", 4)
    assert reliance(bench)["rows"] == 4


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 50])
def test_no_row_keeps_its_own_value_and_none_is_used_twice(rows):
    there = torch.rand(rows * 2) < 0.7 if rows > 2 else torch.ones(rows, dtype=torch.bool)
    donors = exchanged(there, 5)
    assert sorted(donors.tolist()) == list(range(len(there)))
    moved = donors != torch.arange(len(there))
    assert torch.equal(moved, there if int(there.sum()) > 1 else torch.zeros_like(there))


def test_few_rows_say_nothing(tiny_run):
    told = tiny_run.folder.read("reliance.json")
    assert {one["verdict"] for one in told["tasks"]["label"]["inputs"].values() if one} <= {"too few rows", "used", "spare"}
    assert "match" not in told["tasks"]


def test_one_input_and_spaces_alone_have_nothing_to_audit(tiny_recipe):
    one = bench_of(
        tiny_recipe, "inputs={text: {prepare: {vocabulary: 300}}}", "tasks={label: {kind: classify, target: label}}", "fusion=single"
    )
    assert "two or more inputs" in reliance(one)["why_not"] and reliance(one)["tasks"] == {}
    space = bench_of(tiny_recipe, "tasks={match: {kind: contrast, between: [image, text]}}")
    assert "embeds each input alone" in reliance(space)["why_not"]


def test_rows_of_one_group_count_once(tmp_path):
    """Forty rows of four speakers are four things seen: too few to flag anything."""
    path = planted(tmp_path, 0.0, rows=240)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    text = [lines[0] + ",who", *(f"{line},{line.split(',')[-1]}{n % 4}" for n, line in enumerate(lines[1:]))]
    (tmp_path / "table.csv").write_text("\n".join(text))
    run = triptych.train(path, out=tmp_path / "run", set=["data.split.group=who"], quiet=True)
    assert verdicts(run)["weak"] == "too few rows"


@pytest.mark.slow
def test_numbers_and_labels_are_audited_too(tmp_path):
    path = planted(tmp_path, 0.0)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    draw = np.random.default_rng(0)
    values = [CLASSES.index(line.split(",")[-2]) * 3 + draw.normal() * 0.1 for line in lines[1:]]
    text = [lines[0] + ",number", *(f"{line},{value:.3f}" for line, value in zip(lines[1:], values, strict=True))]
    (tmp_path / "table.csv").write_text("\n".join(text))
    tasks = "tasks={number: {kind: regress, target: number}, many: {kind: multilabel, target: label}}"
    run = triptych.train(path, out=tmp_path / "run", set=[tasks], quiet=True)
    told = run.folder.read("reliance.json")["tasks"]
    for name in ("number", "many"):
        assert told[name]["inputs"]["strong"]["verdict"] == "used"
        assert told[name]["inputs"]["weak"]["verdict"] in FLAGGED, told[name]
