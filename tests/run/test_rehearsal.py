"""One batch learnt by heart before a long training: quiet where it can be, clear where it cannot, and it changes nothing."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from triptych.objective.chance import Bounds
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.monitors import Moment
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.run.rehearsal import Rehearsed, rehearse

QUIET = Voice(quiet=True)
DROPPING = ["fusion.dropout=0.2", "training.drop_inputs=0.2"]


def test_a_run_with_it_is_to_the_bit_the_run_without(tiny_recipe, tmp_path):
    runs = {
        asked: fit(read(str(tiny_recipe), [f"training.check_batch={asked}", *DROPPING]), tmp_path / asked, quiet=True)
        for asked in ("true", "false")
    }
    with_it, without = (runs[asked].read("run.json") for asked in ("true", "false"))
    models = [{name: value for name, value in about["files"].items() if name.startswith("model/")} for about in (with_it, without)]
    assert models[0] == models[1]
    choices = [next(c for c in about["choices"] if c["name"] == "one batch by heart") for about in (with_it, without)]
    assert "label" in choices[0]["value"]
    assert choices[1]["value"] == "not tried"


def test_it_leaves_weights_and_every_random_state_alone(tiny_recipe):
    recipe = read(str(tiny_recipe), DROPPING)
    bench = build(recipe, open_table(recipe, QUIET), QUIET)
    loader = bench.loader("train", shuffled=True)
    bench.model.train()
    before = {name: tensor.clone() for name, tensor in bench.model.state_dict().items()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    found = rehearse(bench.model, loader.batch(loader.order.batches(0)[0].tolist()), recipe, recipe.stages[0], "cpu")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(torch.equal(tensor, before[name]) for name, tensor in bench.model.state_dict().items())
    assert all(p.grad is None for p in bench.model.parameters())
    assert loader.epoch == 0
    assert found.failed() == []
    assert all(found.after[task] < found.before[task] for task in ("match", "label"))


def test_rows_that_all_look_alike_cannot_be_learnt_and_that_is_said(tiny_table, tiny_recipe, tmp_path):
    shutil.copytree(tiny_table.parent, tmp_path / "data")
    for path in (tmp_path / "data/pictures").glob("*.png"):
        Image.new("RGB", (16, 16)).save(path)
    sets = ["inputs={image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}}", "fusion={kind: single, width: 8}"]
    sets += ["tasks={label: {kind: classify, target: label}}", "training.check_batch=true", "data.max_rejected=1.0"]
    run = fit(read(str(tmp_path / "data" / tiny_recipe.name), sets), tmp_path / "run", quiet=True)
    found = [one for one in run.read("run.json")["monitors"]["said"] if one["monitor"] == "one batch"]
    assert len(found) == 1
    assert "could not learn one batch of 12 rows by heart in 50 steps: label" in found[0]["text"]
    assert "check that targets belong to their rows and inputs are not empty" in found[0]["fix"]


@pytest.mark.parametrize(
    ("rate", "after", "rates"), [(1e-3, 0.69, "lr=0.01, or a hundredth of that;"), (1e-3, 20.3, "lr=0.0001;"), (10.0, 0.69, "lr=1;")]
)
def test_a_loss_that_rose_or_a_high_rate_asks_for_a_lower_one_alone(rate, after, rates):
    (told,) = Rehearsed(12, 50, {"label": 0.7}, {"label": after}, {"label": Bounds(0.69, 0.0)}).notices(Moment(rate=rate))
    assert f"--set stages.0.{rates}" in told.fix
