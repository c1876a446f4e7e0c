"""A pretrained encoder in a training: frozen to the bit, written once, gone on with after a stop, opened without the base."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from triptych.base.errors import InputError
from triptych.run.fit import fit, resume
from triptych.run.recipe import read
from triptych.run.state import read_state
from triptych.use.opened import open_run

WORDS = ["[PAD]", "[UNK]", "good", "fine", "bad", "poor", "day", "song", "night", "film"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of short texts, a tiny BERT, and a recipe of two stages."""
    folder = tmp_path_factory.mktemp("towers")
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "split"])
        for number in range(48):
            label = number % 2
            side = ("train", "train", "validation", "test")[number // 2 % 4]
            writer.writerow([f"{WORDS[2 + 2 * label + number // 8 % 2]} {WORDS[6 + number // 8 % 4]} {number}", "ab"[label], side])
    torch.manual_seed(0)
    words = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(**words, max_position_embeddings=16)).save_pretrained(folder / "bert")
    held = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=held, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16)
    fast.save_pretrained(folder / "bert")
    (folder / "recipe.yaml").write_text(
        """
data: {source: table.csv, split: {column: split}}
inputs: {text: {encoder: ./bert}}
tasks: {label: {kind: classify, target: label}}
stages:
  - {train: [label, fusion], epochs: 2, lr: 1.0e-4}
  - {train: [label, text.last(1)], epochs: 2, lr: {label: 1.0e-2, text: 1.0e-3}}
training: {batch_size: 8, threads: 1, save_seconds: 0, select: loss}
"""
    )
    return folder


@pytest.fixture(scope="module")
def run(made):
    return fit(read(str(made / "recipe.yaml")), made / "run", quiet=True)


def weights_of(run):
    return load_file(run.model / "encoders/text/weights.safetensors")


def test_only_what_was_trained_is_written(run):
    names = {name for name in weights_of(run)}
    assert names and all(name.startswith(("base.encoder.layer.2.", "base.pooler.")) for name in names)
    held = {name for name in read_state(run.state)["model"] if name.startswith("text/")}
    assert {name.removeprefix("text/") for name in held} == names


def test_the_run_says_how_large_all_of_it_is(run, made):
    base = transformers.BertModel.from_pretrained(made / "bert")
    about = run.read("run.json")
    assert about["parameters"]["text"] == sum(p.numel() for p in base.parameters())
    last = base.encoder.layer[-1], base.pooler
    assert about["stages"][1]["parameters"] == about["parameters"]["label"] + sum(p.numel() for part in last for p in part.parameters())


def test_a_run_needs_neither_base_nor_hub(run, made, tmp_path, monkeypatch):
    before = open_run(run.path).predict(text="good song")["label"]
    shutil.copytree(run.path, tmp_path / "run")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    (made / "bert").rename(made / "away")
    try:
        opened = open_run(tmp_path / "run")
        assert opened.predict(text="good song")["label"] == before
    finally:
        (made / "away").rename(made / "bert")
    model = open_run(run.path).model
    frozen = transformers.BertModel.from_pretrained(made / "bert").state_dict()
    trained = {name.removeprefix("base.") for name in weights_of(run)}
    model.parts()["text"].ready()
    for name, tensor in model.parts()["text"].base.state_dict().items():
        assert torch.equal(tensor, frozen[name]) == (name not in trained), name


def test_a_training_that_was_stopped_comes_to_the_same_weights(run, made, tmp_path, monkeypatch):
    from triptych.run import callbacks

    whole, epochs = callbacks.Keep.on_train_epoch_end, []

    def stopped(self, trainer, module):
        whole(self, trainer, module)
        epochs.append(1)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    recipe = read(str(made / "recipe.yaml"))
    monkeypatch.setattr(callbacks.Keep, "on_train_epoch_end", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "stopped", quiet=True)
    monkeypatch.setattr(callbacks.Keep, "on_train_epoch_end", whole)
    again = resume(tmp_path / "stopped", quiet=True)
    one, two = weights_of(run), weights_of(again)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert json.loads((again.path / "scores.json").read_text()) == json.loads((run.path / "scores.json").read_text())


def test_more_blocks_than_there_are(made, tmp_path):
    with pytest.raises(InputError, match=r"text.last\(99\) asks for more blocks than text has: it has 3 blocks"):
        fit(read(str(made / "recipe.yaml"), ["stages.1.train=[label, text.last(99)]"]), tmp_path / "run", quiet=True)


def test_attention_pooling_learns_while_the_base_does_not(made, tmp_path):
    changes = ["inputs.text.encoder={kind: pretrained, name: ./bert, pool: attention}", "stages=[{train: [label], epochs: 1, lr: 1.0e-2}]"]
    found = weights_of(fit(read(str(made / "recipe.yaml"), changes), tmp_path / "run", quiet=True))
    assert found and all(name.startswith("attention.") for name in found)
