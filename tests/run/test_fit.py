"""Training from table to run folder: what is learnt, kept, and said when it cannot be."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import triptych
from triptych.base.errors import InputError, TriptychError
from triptych.contract.values import Batch
from triptych.model.assemble import Model
from triptych.run import lit
from triptych.run.bench import Bench
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.lit import freeze_all_but, parameter_groups, rate_factor
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import Stage, read

QUIET = Voice(quiet=True)


@pytest.fixture(scope="module")
def bench(tiny_recipe) -> Bench:
    recipe = read(str(tiny_recipe))
    return build(recipe, open_table(recipe, QUIET), QUIET)


def test_it_learns_and_keeps_the_best(tiny_recipe, tmp_path):
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=["stages.0.epochs=8", "training.select=label.accuracy"], quiet=True)
    scores = {score["name"]: score for score in run.scores}
    assert scores["label.accuracy"]["trained"] == 1.0
    assert scores["loss"]["trained"] < scores["loss"]["untouched"]
    about, log = run.folder.read("run.json"), run.folder.read_log()
    best = max(log, key=lambda row: (row["validation label.accuracy"], -row["validation loss"]))
    assert (about["best"]["epoch"], about["best"]["value"]) == (best["epoch"], best["validation label.accuracy"])
    assert [row["epoch"] for row in log if row["best"]][-1] == best["epoch"]


def test_the_same_seed_gives_the_same_weights(tiny_recipe, tmp_path):
    def weights(name, seed):
        run = triptych.train(tiny_recipe, out=tmp_path / name, set=[f"training.seed={seed}"], quiet=True)
        return {file: value for file, value in run.folder.read("run.json")["files"].items() if file.startswith("model/")}

    first = weights("a", 1)
    assert weights("b", 1) == first
    assert weights("c", 2) != first


def test_a_mixed_batch_equals_its_rows_alone(bench):
    """Requirement M11 through real encoders: pictures, sounds and texts of other lengths, rows that lack some."""
    loader = bench.loader("train")
    bench.model.eval()
    together = bench.model(loader.batch(loader.rows[:12]))
    for place, index in enumerate(loader.rows[:12]):
        alone = bench.model(loader.batch([index]))
        torch.testing.assert_close(alone.fused.pooled_BD[0], together.fused.pooled_BD[place], atol=1e-5, rtol=1e-5)
        logits = (passed.outputs["label"]["logits_BC"] for passed in (alone, together))
        torch.testing.assert_close(next(logits)[0], next(logits)[place], atol=1e-5, rtol=1e-5)


def test_training_on_rows_that_lack_any_input_has_finite_gradients(bench):
    loader = bench.loader("train", shuffled=True)
    bench.model.train()
    for batch in loader:
        passed = bench.model(batch)
        passed.outputs["label"]["logits_BC"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in bench.model.parameters() if p.grad is not None)


def test_a_forward_pass_returns_every_intermediate_by_name(bench):
    loader = bench.loader("train")
    passed = bench.model(loader.batch(loader.rows[:6]))
    assert set(passed.encoded) == {"image", "audio", "text"}
    assert all("block.0" in encoded.inner for encoded in passed.encoded.values())
    assert set(passed.fused.parts) == {"image", "audio", "text"}


@pytest.mark.parametrize(
    ("words", "moving"),
    [(["label"], {"label"}), (["fusion", "label"], {"fusion", "label"}), (["image.last(1)"], {"image"}), (["all"], None)],
)
def test_a_stage_trains_its_parts_and_nothing_else(bench, words, moving):
    stage = Stage(train=words, epochs=1)
    count = freeze_all_but(bench.model, stage)
    parts = bench.model.parts()
    learning = {name for name, part in parts.items() if any(p.requires_grad for p in part.parameters())}
    assert learning == (moving or set(parts))
    assert count == sum(p.numel() for p in bench.model.parameters() if p.requires_grad) > 0
    if words == ["image.last(1)"]:
        last = {id(p) for p in parts["image"].blocks()[-1].parameters()}
        assert {id(p) for p in parts["image"].parameters() if p.requires_grad} == last


def test_frozen_parts_stay_bit_identical(tiny_recipe, tmp_path):
    stages = "stages=[{train: [all], epochs: 1}, {train: [label], epochs: 2, lr: 0.1}]"
    one = triptych.train(tiny_recipe, out=tmp_path / "one", set=["stages=[{train: [all], epochs: 1}]", "training.select=loss"], quiet=True)
    two = triptych.train(tiny_recipe, out=tmp_path / "two", set=[stages, "training.select=loss"], quiet=True)
    files = [run.folder.read("run.json")["files"] for run in (one, two)]
    same = {name for name in files[0] if files[0][name] == files[1][name]}
    assert {name for name in files[0] if "/encoders/" in name or "/fusion/" in name} <= same


def test_rates_a_part_and_decay_for_matrices_only(bench):
    stage = Stage(train=["fusion", "label"], epochs=1, lr={"fusion": 1e-3, "label": 1e-2}, weight_decay=0.1)
    freeze_all_but(bench.model, stage)
    groups = parameter_groups(bench.model, stage)
    assert {(group["name"], group["lr"]) for group in groups} == {("fusion", 1e-3), ("label", 1e-2)}
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_the_rate_rises_then_falls_to_nothing():
    factor = rate_factor(Stage(epochs=1, warmup=0.2), 100)
    values = [factor(step) for step in range(101)]
    assert values[0] < values[10] < values[19] < 1.0
    assert max(values) == values[20] == 1.0
    assert values[60] == pytest.approx(0.5, abs=0.02)
    assert values[100] == pytest.approx(0.0, abs=1e-6)
    assert rate_factor(Stage(epochs=1, warmup=0, schedule="constant"), 10)(9) == 1.0


def test_early_stopping_stops_and_says_so(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["stages.0.epochs=30", "stages.0.patience=2", "stages.0.lr=1e-9"]), tmp_path / "run", quiet=True)
    stage = run.read("run.json")["stages"][0]
    assert stage["early"]
    assert stage["epochs"] < 30


def test_a_loss_that_is_not_a_number_is_a_message_not_a_model(tiny_recipe, tmp_path, monkeypatch):
    """Every epoch's loss is not a number, so there is no best one to keep."""
    plain = lit.task_loss
    monkeypatch.setattr(lit, "task_loss", lambda *words: plain(*words) * float("nan"))
    with pytest.raises(TriptychError, match=r"a lower rate: --set stages\.0\.lr=") as caught:
        fit(read(str(tiny_recipe), ["training.select=loss"]), tmp_path / "run", quiet=True)
    assert caught.value.exit_code == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_no_validation_rows_keeps_the_last_epoch(tiny_recipe, tmp_path):
    sets = ["data.split.column=null", "data.split.validation=0", "data.split.test=0.3"]
    run = fit(read(str(tiny_recipe), sets), tmp_path / "run", quiet=True)
    assert run.read("run.json")["best"]["epoch"] == 2
    assert "validation loss" not in run.read_log()[0]


def test_one_bad_file_costs_one_row_and_leaves_its_reason(tiny_table, tiny_recipe, tmp_path):
    shutil.copytree(tiny_table.parent, tmp_path / "data")
    (tmp_path / "data/pictures/4.png").write_bytes(b"this is text")
    (tmp_path / "data/sounds/5.wav").write_bytes(b"")
    (tmp_path / "data/pictures/8.png").unlink()
    run = fit(read(str(tmp_path / "data" / tiny_recipe.name)), tmp_path / "run", quiet=True)
    about = run.read("run.json")
    assert about["rejected"] == 3
    assert sum(about["rows"].values()) + about["rejected"] == 40
    rejects = (run.path / "rejects.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rejects] == ["id", "row-5", "row-6", "row-9"]
    assert "4.png" in rejects[1]


def test_a_batch_larger_than_the_data_is_cut_and_said(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["training.batch_size=1000"]), tmp_path / "run", quiet=True)
    choice = next(c for c in run.read("run.json")["choices"] if c["name"] == "batch size")
    assert choice["value"] == "24"
    assert "1000" in choice["reason"]


def test_an_input_that_no_training_row_has(tiny_table, tiny_recipe, tmp_path):
    shutil.copytree(tiny_table.parent, tmp_path / "data")
    text = (tmp_path / "data/table.csv").read_text().replace("image,", "image,video_frame,", 1)
    lines = text.splitlines()
    (tmp_path / "data/table.csv").write_text("\n".join([lines[0]] + [line.replace(",", ",,", 1) for line in lines[1:]]))
    recipe = read(str(tmp_path / "data" / tiny_recipe.name), ["inputs.frame={modality: image, column: video_frame}"])
    with pytest.raises(TriptychError, match="no training row has the input 'frame'"):
        fit(recipe, tmp_path / "run", quiet=True)


def test_a_full_out_folder_is_refused_before_any_work(tiny_recipe, tmp_path):
    (tmp_path / "precious.txt").write_text("keep me")
    with pytest.raises(InputError, match="is there already"):
        fit(read(str(tiny_recipe)), tmp_path, quiet=True)
    assert (tmp_path / "precious.txt").read_text() == "keep me"


@pytest.mark.parametrize("fusion", ["concat", "gated", "attention", "cross_attention", "joint"])
def test_every_fusion_trains_and_reopens(tiny_recipe, tmp_path, fusion):
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=[f"fusion={{kind: {fusion}, width: 8}}", "stages.0.epochs=1"], quiet=True)
    again = Model.load(run.folder.model)
    loader = build_loader(run)
    with torch.no_grad():
        ours, theirs = run.model(loader), again(loader)
    torch.testing.assert_close(ours.fused.pooled_BD, theirs.fused.pooled_BD)


def build_loader(run) -> Batch:
    return run._batch([{"text": "a deep dark tone"}, {"text": "a bright sharp whistle, once"}])


def test_bf16_trains_too(tiny_recipe, tmp_path):
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=["training.precision=bf16", "stages.0.epochs=1"], quiet=True)
    choice = next(c for c in run.folder.read("run.json")["choices"] if c["name"] == "precision")
    assert choice["value"] == "bf16"
    assert run.predict(text="a deep dark tone")["label"]["said"] in ("low", "high")


def test_the_cost_counts_all_processes(tiny_recipe, tmp_path, monkeypatch):
    from triptych.base.ranks import Ranks

    monkeypatch.setattr(
        Ranks, "gathered", lambda self, value: [value, value | {"cpu_seconds": 3600.0}] if isinstance(value, dict) else [value]
    )
    run = fit(read(str(tiny_recipe), ["stages.0.epochs=1"]), tmp_path / "run", quiet=True)
    assert run.read("run.json")["cost"]["watt_hours"] >= 10.0
