"""The ledger: sums by hand, gradients against backward passes of their own, and what is said when one side takes all."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn import functional as F

from triptych.objective.losses import task_loss, terms
from triptych.run import gradients
from triptych.run.balance import marked, remarks
from triptych.run.building import build
from triptych.run.chunked import answers
from triptych.run.fit import fit
from triptych.run.ledger import Ledger
from triptych.run.monitors import Moment
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.report import write_report

QUIET = Voice(quiet=True)
WEIGHTS = {"match": 2.0, "label": 0.5}


@pytest.fixture(scope="module")
def bench(tiny_recipe):
    recipe = read(str(tiny_recipe))
    made = build(recipe, open_table(recipe, QUIET), QUIET)
    made.model.eval()  # the same answers each time
    return made


def passed(bench, rows=12):
    loader = bench.loader("train")
    batch = loader.batch(loader.rows[:rows])
    outputs = answers(bench.model, batch)
    tasks = bench.recipe.tasks
    found = {n: terms(outputs[n], batch.targets[n], batch.has_target[n], task, batch.present) for n, task in tasks.items()}
    return batch, outputs, found, {n: task_loss(outputs[n], found[n]) for n in tasks}


def filled(bench, source_of=None):
    batch, outputs, found, losses = passed(bench)
    labels = bench.targets["label"].facts["labels"]
    ledger = Ledger(list(bench.inputs), list(bench.recipe.tasks), {"label": labels}, source_of)
    ledger.add(batch, found, WEIGHTS)
    norms = gradients.by_task(losses, gradients.shared(bench.model))
    by_row = {name: gradients.by_row(loss, outputs[name]) for name, loss in losses.items()}
    ledger.look(batch, found, {name: WEIGHTS[name] * norm for name, norm in norms.items()}, by_row)
    return ledger, batch, outputs, losses


def test_losses_by_class_mixture_and_input_are_the_sums_by_hand(bench):
    ledger, batch, outputs, losses = filled(bench)
    entry = ledger.entry()
    loss_B = F.cross_entropy(outputs["label"]["logits_BC"], batch.targets["label"], reduction="none").detach().double()
    for number, name in enumerate(bench.targets["label"].facts["labels"]):
        of = batch.targets["label"] == number
        told = entry["classes"]["label"][name]
        assert told["rows"] == int(of.sum())
        assert told["loss"] == pytest.approx(float(loss_B[of].mean()), rel=1e-5)
        assert told["loss_share"] == pytest.approx(float(loss_B[of].sum() / loss_B.sum()), rel=1e-5)
    for name, present in batch.present.items():
        assert entry["inputs"]["label"][name]["rows"] == int(present.sum())
        assert entry["inputs"]["label"][name]["loss"] == pytest.approx(float(loss_B[present].mean()), rel=1e-5)
    for kind in ("classes", "mixtures"):
        for share in ("row_share", "loss_share", "gradient_share"):
            assert sum(of[share] for of in entry[kind]["label"].values()) == pytest.approx(1.0)
    assert entry["rows"] == entry["tasks"]["label"]["rows"] == 12
    weighted = {name: WEIGHTS[name] * entry["tasks"][name]["loss"] for name in WEIGHTS}
    assert entry["tasks"]["label"]["loss"] == pytest.approx(float(losses["label"].detach()), rel=1e-5)
    assert entry["tasks"]["match"]["loss_share"] == pytest.approx(weighted["match"] / sum(weighted.values()))


def test_gradients_by_task_are_those_of_backward_passes_of_their_own(bench):
    entry = filled(bench)[0].entry()
    norms = {}
    for name in WEIGHTS:
        losses = passed(bench)[3]
        bench.model.zero_grad()
        losses[name].backward()
        there = [p.grad.flatten() for p in bench.model.fusion.parameters() if p.grad is not None]
        norms[name] = WEIGHTS[name] * float(torch.cat(there).norm())
    bench.model.zero_grad()
    for name, norm in norms.items():
        assert entry["tasks"][name]["gradient_share"] == pytest.approx(norm / sum(norms.values()), rel=1e-4)


def test_gradients_by_row_are_softmax_less_the_truth(bench):
    batch, outputs, _, losses = passed(bench)
    pull_B = gradients.by_row(losses["label"], outputs["label"])
    logits = outputs["label"]["logits_BC"].detach()
    by_hand = (logits.softmax(1) - F.one_hot(batch.targets["label"], logits.shape[1])).norm(dim=1) / len(logits)
    torch.testing.assert_close(pull_B.float(), by_hand, rtol=1e-4, atol=1e-7)


def test_rows_of_several_sources_are_told_apart(bench):
    ids = passed(bench)[0].ids
    entry = filled(bench, {row: "ours" if place < 4 else "theirs" for place, row in enumerate(ids)})[0].entry()
    assert {name: of["rows"] for name, of in entry["sources"]["label"].items()} == {"ours": 4, "theirs": 8}


def test_it_is_taken_up_again_in_the_middle_of_an_epoch(bench):
    whole, once, again = filled(bench)[0], filled(bench)[0], filled(bench)[0]
    batch, _, found, _ = passed(bench, 8)
    whole.add(batch, found, WEIGHTS)
    again.clear()
    again.load_state_dict(once.state_dict())
    again.add(batch, found, WEIGHTS)
    assert again.entry() == whole.entry()
    json.dumps(whole.entry(), allow_nan=False)


def test_every_epoch_of_a_run_has_its_line_and_the_report_shows_one(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["stages.0.epochs=2"]), tmp_path / "run", quiet=True)
    entries = run.read_log("ledger.jsonl")
    assert [entry["epoch"] for entry in entries] == [1, 2]
    assert all(entry["rows"] == run.read("run.json")["rows"]["train"] for entry in entries)
    assert all(entry["measured"] == 2 for entry in entries)
    assert all(sum(of["gradient_share"] for of in entry["tasks"].values()) == pytest.approx(1.0) for entry in entries)
    assert set(entries[0]["encoders"]) == {"image", "audio", "text"}
    page = write_report(run).read_text()
    assert "What training was spent on" in page
    assert "label by class" in page
    assert "What reaches the encoders" in page


def test_a_stage_that_trains_a_head_alone_is_measured_on_that_head(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["stages=[{train: [label], epochs: 1}]", "training.select=loss"]), tmp_path / "run", quiet=True)
    entry = run.read_log("ledger.jsonl")[0]
    assert entry["tasks"]["label"]["gradient_share"] == 1.0
    assert entry["encoders"] == {}


def test_one_task_that_takes_all_is_said_once(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["tasks.match.weight=1000", "stages.0.epochs=3"]), tmp_path / "run", quiet=True)
    found = [one for one in run.read("run.json")["monitors"]["said"] if one["monitor"] == "balance"]
    assert [one["text"].split(":")[0] for one in found] == ["task match"]
    assert "training.weighting=gradient" in found[0]["fix"]


def test_remarks_of_sources_and_encoders_and_marks_of_groups():
    of = {"rows": 10, "row_share": 0.1, "loss": 9.0, "loss_share": 0.9, "gradient_share": 0.95}
    rest = {"rows": 90, "row_share": 0.9, "loss": 0.1, "loss_share": 0.1, "gradient_share": 0.05}
    entry = {
        "tasks": {"label": {"gradient_share": 1.0}},
        "sources": {"label": {"web": of, "studio": rest}},
        "inputs": {"label": {"a": {**rest, "row_share": 1.0}, "b": {**rest, "row_share": 1.0}}},
        "encoders": {"a": 0.995, "b": 0.005},
    }
    found = [notice.text for notice in remarks(entry, Moment(9, 1))]
    assert [text.split(":")[0] for text in found] == ["source web", "input b"]
    assert marked(of) == "more"
    assert marked(rest) == "less"
    assert marked({**rest, "gradient_share": 0.8}) == ""
