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
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import triptych
from triptych.base.files import cache_root
from triptych.layers.tower import Tower
from triptych.run.folder import RunFolder
from triptych.run.memory import FOLDER, last_trained
from triptych.run.recipe import Stage, read

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "dog", "cat", "runs", "sleeps", "today"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A BERT of three blocks with random weights."""
    folder = tmp_path_factory.mktemp("base") / "bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, max_position_embeddings=32
    )
    transformers.BertModel(config).save_pretrained(folder)
    held = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Whitespace()
    held.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=held, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=32
    ).save_pretrained(folder)
    return folder


RECIPE = """
data: {source: table.csv, split: {column: side}}
inputs:
  text: {encoder: %s}
tasks:
  label: {kind: classify, target: label}
fusion: {kind: single, width: 8, dropout: 0}
stages:
  - {train: [%s], epochs: 2, lr: 1.0e-2}
training: {batch_size: 8, threads: 1, seed: 1}
"""


@pytest.fixture
def recipe(base, tmp_path, monkeypatch):
    """A function: what a stage trains -> a recipe over 40 texts, in a cache of its own."""
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    with (tmp_path / "table.csv").open("w") as file:
        out = csv.writer(file)
        out.writerow(["text", "label", "side"])
        for n in range(40):
            colour, animal = ("red", "blue")[n % 2], ("dog", "cat")[n // 2 % 2]
            out.writerow([f"a {colour} {animal} {'runs today ' * (n % 3)}", colour, ["train", "train", "validation", "test"][n % 4]])

    def made(train: str = "fusion, label", name: str = "recipe") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(RECIPE % (base, train))
        return path

    return made


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


@pytest.mark.parametrize("train_words", ["fusion, label", "fusion, label, text.last(1)", "fusion, label, text.last(2)"])
@pytest.mark.parametrize("fusion", ["single", "cross_attention"])
def test_a_run_with_memory_is_one_without(recipe, tmp_path, train_words, fusion):
    path, change = recipe(train_words), f"fusion.kind={fusion}"
    still = [change, "inputs.text.encoder.pool=mean", "stages.0.lr=1e-3"]
    kept = train(path, tmp_path / "kept", *still)
    plain = train(path, tmp_path / "plain", *still, "training.remember=false")
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-4)
        assert one["validation loss"] == pytest.approx(other["validation loss"], abs=1e-4)
    assert kept.predict(text="a red dog")["label"]["probabilities"] == pytest.approx(
        plain.predict(text="a red dog")["label"]["probabilities"], abs=1e-3
    )


def test_the_second_run_computes_nothing(recipe, tmp_path, counted):
    first = train(recipe(), tmp_path / "one")
    texts = {row["text"] for row in csv.DictReader((tmp_path / "table.csv").open())}
    assert sum(counted) == len(texts) < 40, "equal texts are computed once"
    counted.clear()
    again = train(recipe(), tmp_path / "two", "stages.0.lr=3e-3", "tasks.label.hidden=[8]", "training.seed=7")
    assert not counted
    assert train(recipe(), tmp_path / "three").scores == first.scores
    assert again.predict(text="a blue cat")["label"]["said"] in ("red", "blue")


def test_a_second_run_does_not_read_the_weights(recipe, tmp_path, monkeypatch):
    train(recipe(), tmp_path / "one")
    monkeypatch.setattr(Tower, "_read", lambda self: pytest.fail("the weights were read"))
    train(recipe(), tmp_path / "two", "stages.0.lr=3e-3")


def test_another_base_or_preparation_is_another_folder(recipe, base, tmp_path):
    train(recipe(), tmp_path / "one")
    assert len({path.parent for path in features()}) == 1
    train(recipe(), tmp_path / "two", "inputs.text.prepare.max_tokens=4")
    assert len({path.parent for path in features()}) == 2
    other = tmp_path / "other"
    shutil.copytree(base, other)
    model = transformers.BertModel.from_pretrained(other)
    torch.nn.init.normal_(model.encoder.layer[0].output.dense.weight)
    model.save_pretrained(other)
    train(recipe(), tmp_path / "three", f"inputs.text.encoder.name={other}")
    assert len({path.parent for path in features()}) == 3
    shutil.copytree(base, tmp_path / "moved")
    train(recipe(), tmp_path / "four", f"inputs.text.encoder.name={tmp_path / 'moved'}")
    assert len({path.parent for path in features()}) == 3, "the same base under another name is the same"


def test_frozen_weights_stay_as_they_were(recipe, base, tmp_path):
    run = train(recipe("fusion, label, text.last(1)"), tmp_path / "run")
    before = transformers.BertModel.from_pretrained(base).state_dict()
    after = run.model.encoders["text"].base.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all("layer.2" in name or "pooler" in name for name in moved)


def test_stages_cut_deeper_one_after_the_other_and_resume_the_same(recipe, tmp_path):
    path = recipe()
    text = path.read_text().replace(
        "stages:\n",
        "stages:\n  - {train: [fusion, label], epochs: 1, lr: 1.0e-2}\n  - {train: [fusion, label, text.last(2)], epochs: 1, lr: 1.0e-3}\n",
    )
    path.write_text(
        text.replace("  - {train: [fusion, label], epochs: 2, lr: 1.0e-2}", "  - {train: [text.last(1)], epochs: 1, lr: 1.0e-3}")
    )
    kept, plain = train(path, tmp_path / "kept"), train(path, tmp_path / "plain", "training.remember=false")
    for one, other in zip(log(kept), log(plain), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-4)
    assert {json.loads((p.parent / "about.json").read_text())["given"] for p in features()} == {"vectors", "what enters the last 2"}


def test_a_kill_while_it_is_computed_costs_no_more_than_a_part(recipe, tmp_path):
    """What was written stays, and the next run takes it up."""
    script = (
        "import os, signal, sys\nimport triptych.run.memory as memory\nfrom triptych.data.kept import Kept\n"
        "memory.ROWS, memory.PART_SECONDS = 4, 0.0\nadd = Kept.add\n"
        "def killed(self, keys, items):\n    add(self, keys, items)\n    killed.count += 1\n"
        "    killed.count == 2 and os.kill(os.getpid(), signal.SIGKILL)\nkilled.count = 0\nKept.add = killed\n"
        "import triptych\ntriptych.train(sys.argv[1], out=sys.argv[2], quiet=True)\n"
    )
    path = recipe()
    assert subprocess.run([sys.executable, "-c", script, path, tmp_path / "killed"], timeout=250).returncode == -9
    assert len(features()) == 2
    run = train(path, tmp_path / "run")
    assert len(features()) == 3 and RunFolder(run.folder.path).read("run.json")["status"] == "done"


def test_a_damaged_part_is_said_and_computed_again(recipe, tmp_path, capsys):
    first = train(recipe(), tmp_path / "one")
    path = features()[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(bytes(content))
    again = triptych.train(recipe(), out=tmp_path / "two")
    assert "damaged" in capsys.readouterr().err
    assert again.scores == first.scores


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
