"""A run whose training rows vary: the same again, resumed, and measured on rows that do not."""

from __future__ import annotations

import json

import pytest
import torch

from triptych.run.building import build
from triptych.run.fit import fit, resume
from triptych.run.lit import Lit
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.report import write_report

QUIET = Voice(quiet=True)
SETS = [
    "inputs.image.augment=[flip, {crop: {chance: 1}}, colour, rotate, erase]",
    "inputs.audio.augment=[pitch_shift, time_stretch, noise, gain, spec_augment]",
    "inputs.text.augment=[synonym, swap, drop]",
    "training.variants=2",
    "stages.0.epochs=3",
]


@pytest.fixture(scope="module")
def whole(tiny_recipe, tmp_path_factory):
    return fit(read(str(tiny_recipe), SETS), tmp_path_factory.mktemp("varied") / "run", quiet=True)


def weights(run):
    return {str(path.relative_to(run.path)): path.read_bytes() for path in sorted(run.model.rglob("*.safetensors"))}


def test_a_run_that_was_stopped_sees_the_variants_it_would_have_seen(tiny_recipe, whole, tmp_path, monkeypatch):
    recipe = read(str(tiny_recipe), [*SETS, "training.save_seconds=0"])
    stepping, steps = Lit.training_step, []

    def stopping(self, batch, index):
        steps.append(index)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return stepping(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Lit, "training_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, tmp_path / "run", quiet=True)
    again = resume(tmp_path / "run", quiet=True)
    assert len(weights(whole)) > 3 and weights(again) == weights(whole)


def test_variants_are_for_training_alone_and_the_report_shows_them(whole, tiny_recipe):
    recipe = read(str(tiny_recipe), SETS)
    bench = build(recipe, open_table(recipe, QUIET), QUIET)
    assert set(bench.varied) == {"image", "audio", "text"}
    assert not bench.loader("validation").varied and not bench.loader("train").varied
    batches = [next(iter(bench.loader("train", shuffled=True))) for _ in range(2)]
    pixels = [batch.inputs["image"].tensors["pixels"] for batch in batches]
    assert torch.equal(*pixels)
    plain = bench.loader("train", shuffled=True).batch([bench.loader("train").ids.index(row) for row in batches[0].ids])
    assert not torch.equal(plain.inputs["image"].tensors["pixels"], pixels[0])
    about = whole.read("run.json")
    assert {choice["name"] for choice in about["choices"]} >= {"augmented image", "augmented audio", "augmented text"}
    shown = json.loads((whole.path / "shown.json").read_text())["variants"]
    assert [piece["column"] for piece in shown] == ["image", "audio", "text"] and all(len(piece["variants"]) == 3 for piece in shown)
    assert "Variants" in write_report(whole).read_text()
