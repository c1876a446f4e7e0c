"""What frozen parts give is computed once, for all runs, and comes to what is computed anew."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

import triptych
from triptych.base.files import cache_root
from triptych.layers.tower import Tower
from triptych.run import baselines, memory
from triptych.run.folder import RunFolder
from triptych.run.memory import FOLDER, last_trained
from triptych.run.recipe import Stage, read
from triptych.run.resume import read_untouched


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many rows went through the base's first block."""
    rows: list[int] = []
    entered = Tower._entered

    def counting(self, packed):
        flow, start = entered(self, packed)
        if start == 0:
            rows.append(len(flow.hidden))
        return flow, start

    monkeypatch.setattr(Tower, "_entered", counting)
    return rows


def log(run) -> list[dict]:
    return [json.loads(line) for line in (Path(run.folder.path) / "log.jsonl").read_text().splitlines()]


def train(path, out, *changes):
    return triptych.train(path, set=list(changes), out=out, quiet=True)


def features() -> list[Path]:
    return sorted((cache_root() / FOLDER).glob("*/*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("train_words", ["fusion, label", "fusion, label, text.last(1)", "fusion, label, text.last(2)"])
@pytest.mark.parametrize("fusion", ["single", "cross_attention"])
def test_a_run_with_memory_is_one_without(base_recipe, tmp_path, train_words, fusion):
    path, change = base_recipe(train_words), f"fusion.kind={fusion}"
    still = [change, "inputs.text.encoder.pool=mean", "stages.0.lr=1e-3"]
    kept = train(path, tmp_path / "kept", *still)
    plain = train(path, tmp_path / "plain", *still, "training.remember=false")
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-4)
        assert one["validation loss"] == pytest.approx(other["validation loss"], abs=1e-4)
    assert kept.predict(text="a red dog")["label"]["probabilities"] == pytest.approx(
        plain.predict(text="a red dog")["label"]["probabilities"], abs=1e-3
    )


@pytest.mark.parametrize("train_words", ["fusion, label", "fusion, label, text.last(1)"])
def test_in_bf16_the_base_is_held_so_while_rows_are_remembered(base_recipe, tmp_path, monkeypatch, train_words):
    seen, entered = [], Tower._entered

    def looking(self, packed):
        seen.append(next(self.layers()[0].parameters()).dtype)
        return entered(self, packed)

    path = base_recipe(train_words)
    plain = train(path, tmp_path / "plain", "training.precision=bf16", "training.remember=false")
    monkeypatch.setattr(Tower, "_entered", looking)
    kept = train(path, tmp_path / "kept", "training.precision=bf16")
    assert seen[0] == torch.bfloat16
    assert ("last" in train_words) == (torch.float32 in seen), "blocks that learn do so in float32"
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=0.02)
    assert kept.predict(text="a red dog")["label"]["said"] == plain.predict(text="a red dog")["label"]["said"]


def test_the_second_run_computes_nothing(base_recipe, tmp_path, counted):
    first = train(base_recipe(), tmp_path / "one")
    with (tmp_path / "table.csv").open() as file:
        texts = {row["text"] for row in csv.DictReader(file)}
    assert sum(counted) == len(texts) < 40, "equal texts are computed once"
    counted.clear()
    again = train(base_recipe(), tmp_path / "two", "stages.0.lr=3e-3", "tasks.label.hidden=[8]", "training.seed=7")
    assert not counted
    assert train(base_recipe(), tmp_path / "three").scores == first.scores
    assert again.predict(text="a blue cat")["label"]["said"] in ("red", "blue")


def test_a_second_run_does_not_read_the_weights(base_recipe, tmp_path, monkeypatch):
    train(base_recipe(), tmp_path / "one")
    monkeypatch.setattr(Tower, "_read", lambda self: pytest.fail("the weights were read"))
    assert train(base_recipe(), tmp_path / "two", "stages.0.lr=3e-3").scores


@pytest.mark.slow
def test_a_second_run_reads_neither_transformers_nor_scikit_learn(base_recipe, tmp_path):
    path = base_recipe()
    train(path, tmp_path / "one")
    code = (
        "import sys, triptych; triptych.train(sys.argv[1], set=['stages.0.lr=3e-3'], out=sys.argv[2], quiet=True)\n"
        "print([name for name in ('transformers', 'sklearn', 'scipy.stats') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code, path, tmp_path / "two"], capture_output=True, text=True, timeout=250)
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == "[]"


def test_simple_models_are_fitted_once_for_the_same_features(base_recipe, tmp_path, monkeypatch):
    first = train(base_recipe(), tmp_path / "one")
    known = read_untouched(first.folder)[1]
    monkeypatch.setattr(baselines, "_linear", lambda *words: pytest.fail("it was fitted again"))
    again = train(base_recipe(), tmp_path / "two", "stages.0.lr=3e-3")
    assert read_untouched(again.folder)[1] == known and "logistic regression" in known["label"]
    with pytest.raises(pytest.fail.Exception, match="fitted again"):
        train(base_recipe(), tmp_path / "three", "inputs.text.prepare.max_tokens=4")


def test_a_frozen_base_is_let_go_once_its_vectors_are_kept_and_comes_back_when_it_is_asked(base_recipe, tmp_path):
    run = train(base_recipe(), tmp_path / "run")
    tower = run.model.encoders["text"]
    assert run.predict(text="a red dog")["label"]["said"] in ("red", "blue") and tower.made
    before = tower.base.state_dict()
    tower.rest()
    assert not tower.made
    assert all(torch.equal(before[name], tensor) for name, tensor in tower.base.state_dict().items())
    tower.requires_grad_(True)
    tower.train()
    tower.rest()
    assert tower.made, "what was trained is in no file"


def test_another_base_or_preparation_is_another_folder(base_recipe, tiny_base, tmp_path):
    train(base_recipe(), tmp_path / "one")
    assert len({path.parent for path in features()}) == 1
    train(base_recipe(), tmp_path / "two", "inputs.text.prepare.max_tokens=4")
    assert len({path.parent for path in features()}) == 2
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    model = transformers.BertModel.from_pretrained(other)
    torch.nn.init.normal_(model.encoder.layer[0].output.dense.weight)
    model.save_pretrained(other)
    train(base_recipe(), tmp_path / "three", f"inputs.text.encoder.name={other}")
    assert len({path.parent for path in features()}) == 3
    shutil.copytree(tiny_base, tmp_path / "moved")
    train(base_recipe(), tmp_path / "four", f"inputs.text.encoder.name={tmp_path / 'moved'}")
    assert len({path.parent for path in features()}) == 3, "the same base under another name is the same"


def test_frozen_weights_stay_as_they_were(base_recipe, tiny_base, tmp_path):
    run = train(base_recipe("fusion, label, text.last(1)"), tmp_path / "run")
    before = transformers.BertModel.from_pretrained(tiny_base).state_dict()
    after = run.model.encoders["text"].base.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("layer.2" in name or "pooler" in name for name in moved)


def test_stages_cut_deeper_one_after_the_other_and_resume_the_same(base_recipe, tmp_path):
    path = base_recipe()
    stages = [("fusion, label", 1e-2), ("fusion, label, text.last(2)", 1e-3), ("text.last(1)", 1e-3)]
    lines = [f"  - {{train: [{words}], epochs: 1, lr: {rate}}}\n" for words, rate in stages]
    path.write_text(path.read_text().split("  - {train")[0] + "".join(lines) + "training: {batch_size: 8, threads: 1, seed: 1}\n")
    kept, plain = train(path, tmp_path / "kept"), train(path, tmp_path / "plain", "training.remember=false")
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-4)
    assert {json.loads((p.parent / "about.json").read_text())["given"] for p in features()} == {"vectors", "what enters the last 2"}


def test_a_kill_while_it_is_computed_costs_no_more_than_a_part(base_recipe, tmp_path, forked):
    """What was written stays, and the next run takes it up."""
    script = (
        "import os, signal, sys\nimport triptych.run.memory as memory\nfrom triptych.data.kept import Kept\n"
        "memory.LEAST, memory.ROWS, memory.PART_SECONDS = 4, 4, 0.0\nadd = Kept.add\n"
        "def killed(self, keys, items):\n    add(self, keys, items)\n    killed.count += 1\n"
        "    killed.count == 2 and os.kill(os.getpid(), signal.SIGKILL)\nkilled.count = 0\nKept.add = killed\n"
        "import triptych\ntriptych.train(sys.argv[1], out=sys.argv[2], quiet=True)\n"
    )
    path = base_recipe()
    assert forked.run_code(script, path, tmp_path / "killed").returncode == -9
    assert len(features()) == 2
    run = train(path, tmp_path / "run")
    assert len(features()) == 3 and RunFolder(run.folder.path).read("run.json")["status"] == "done"


def test_what_is_damaged_or_of_another_version_is_said_and_computed_again(base_recipe, tmp_path, capsys, monkeypatch):
    first = train(base_recipe(), tmp_path / "one")
    path = features()[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(bytes(content))
    again = triptych.train(base_recipe(), out=tmp_path / "two")
    said = capsys.readouterr().err
    assert "damaged: 1 file of what was remembered of text" in said and "another version" not in said
    assert again.scores == first.scores
    monkeypatch.setattr(memory, "code_of", lambda package: f"other {package}")
    assert triptych.train(base_recipe(), out=tmp_path / "three").scores == first.scores
    assert "remembered of text was made by another version of triptych" in capsys.readouterr().err


def test_what_a_stage_trains_decides_where_it_is_cut():
    def stage(*words):
        return Stage(train=list(words), epochs=1)

    assert last_trained("text", [stage("fusion", "label")]) == 0
    assert last_trained("text", [stage("fusion"), stage("text.last(2)"), stage("text.last(1)")]) == 2
    assert last_trained("text", [stage("text.last(2)"), stage("text")]) is None
    assert last_trained("text", [stage("all")]) is None
    assert last_trained("text", [stage("texture.last(3)")]) == 0


def test_an_encoder_from_scratch_is_not_remembered(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    triptych.train(tiny_recipe, set=["stages.0.train=[fusion, label, match]"], out=tmp_path / "run", quiet=True)
    assert not features()
    assert read(tiny_recipe).training.remember


def test_variants_are_computed_once_and_come_to_what_is_computed_anew(base_recipe, tmp_path, counted):
    changes = ["inputs.text.augment=[drop, swap]", "training.variants=3", "stages.0.epochs=5"]
    kept = train(base_recipe(), tmp_path / "kept", *changes)
    counted.clear()
    train(base_recipe(), tmp_path / "again", *changes, "stages.0.lr=3e-3")
    assert not counted
    plain = train(base_recipe(), tmp_path / "plain", *changes, "training.remember=false")
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-4)
    counted.clear()
    train(base_recipe(), tmp_path / "more", *changes, "training.variants=4")
    assert 0 < sum(counted) <= 20, "the fourth of each of 20 rows alone"


def test_new_variants_in_every_epoch_go_through_the_whole_encoder(base_recipe, tmp_path, counted, capsys):
    triptych.train(base_recipe(), set=["inputs.text.augment=[drop]"], out=tmp_path / "run")
    assert "training.variants=4" in capsys.readouterr().err
    assert sum(counted) >= 2 * 20
