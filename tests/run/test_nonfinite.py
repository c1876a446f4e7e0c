"""What is no number: found, named, kept, left out; too often, and training stops."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from triptych.base.errors import TriptychError
from triptych.data.inputs import InputColumn
from triptych.run import lit
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.nonfinite import first_place
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

QUIET = Voice(quiet=True)


@pytest.fixture
def planted(monkeypatch):
    """A NaN in what is prepared of one row's sound."""
    plain = InputColumn.items

    def items(self, indices):
        found = plain(self, indices)
        if self.column != "audio":
            return found
        bad = {index for index, row in enumerate(self.table.rows.ids()) if row == "row-8"}
        return [
            {name: torch.full_like(x, torch.nan) if x.is_floating_point() else x for name, x in item.items()} if index in bad else item
            for index, item in zip(indices, found, strict=True)
        ]

    monkeypatch.setattr(InputColumn, "items", items)


def test_a_nan_in_one_row_costs_its_step_and_the_row_is_named(planted, tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["training.batch_size=4", "stages.0.epochs=3"]), tmp_path / "run", quiet=True)
    monitors = run.read("run.json")["monitors"]
    found = [one for one in monitors["said"] if one["monitor"] == "not a number"]
    assert len(found) == 1
    assert found[0]["severity"] == "error"
    assert "first in input audio" in found[0]["text"]
    assert "row-8" in found[0]["text"]
    assert "look at these rows" in found[0]["fix"]
    assert monitors["left_out"].startswith("3 steps were left out")
    about = json.loads(next(path for path in sorted((run.path / "nan").glob("*.json"))).read_text())
    assert about["rows"] == ["row-8"]
    kept = load_file(run.path / "nan" / f"step-{about['step']}.safetensors")
    assert any(bool(tensor.isnan().any()) for name, tensor in kept.items() if name.startswith("input.audio."))
    assert len(about["ids"]) == len(kept["present.audio"])
    assert all(row["train loss"] == row["train loss"] for row in run.read_log())
    assert sum(entry["rows"] for entry in run.read_log("ledger.jsonl")) == 3 * 24 - 3 * 4


def test_a_gradient_that_is_no_number_leaves_the_weights_alone(tiny_recipe, tmp_path, monkeypatch):
    """The loss is a number, its gradient is not: every third step is left out and the others go on."""
    plain, count = lit.Lit.training_step, iter(range(1000))

    def training_step(self, batch, index):
        loss = plain(self, batch, index)
        if next(count) % 3 == 1:
            loss.register_hook(lambda gradient: gradient * torch.nan)
        return loss

    monkeypatch.setattr(lit.Lit, "training_step", training_step)
    run = fit(read(str(tiny_recipe), ["training.batch_size=4", "stages.0.epochs=2"]), tmp_path / "run", quiet=True)
    found = [one for one in run.read("run.json")["monitors"]["said"] if one["monitor"] == "not a number"]
    assert "the gradient is no number" in found[0]["text"]
    assert "first in the gradient of" in found[0]["text"]
    for path in run.model.rglob("*.safetensors"):
        assert all(bool(tensor.isfinite().all()) for tensor in load_file(path).values())


def test_too_many_in_a_row_stop_the_run(tiny_recipe, tmp_path, monkeypatch):
    plain = lit.task_loss
    monkeypatch.setattr(lit, "task_loss", lambda *words: plain(*words) * float("nan"))
    with pytest.raises(TriptychError, match="in 5 steps in a row, the last of them step 5") as caught:
        fit(read(str(tiny_recipe), ["training.batch_size=4"]), tmp_path / "run", quiet=True)
    assert "a lower rate: --set stages.0.lr=" in str(caught.value)
    assert len(list((tmp_path / "run" / "nan").glob("*.safetensors"))) == 3
    assert json.loads((tmp_path / "run" / "run.json").read_text())["monitors"]["said"]


@pytest.mark.parametrize("part", ["audio", "fusion", "label"])
def test_the_first_place_is_named(tiny_recipe, part):
    recipe = read(str(tiny_recipe))
    bench = build(recipe, open_table(recipe, QUIET), QUIET)
    loader = bench.loader("train")
    batch = loader.batch(loader.rows[:6])
    assert first_place(bench.model, batch).where == "the loss"
    with torch.no_grad():
        next(iter(bench.model.parts()[part].parameters())).fill_(torch.nan)
    assert first_place(bench.model, batch).where == f"the weights of {part}"
    next(iter(batch.inputs["image"].tensors.values()))[1] = torch.inf
    place = first_place(bench.model, batch)
    assert place.where.startswith("input image")
    assert place.rows == (batch.ids[int(batch.present["image"].nonzero()[1])],)
