"""What holds for all tests of this floor, and a small pretrained text model with a recipe that tunes it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors


@pytest.fixture(autouse=True, scope="module")
def _no_reports(no_reports):
    """The page is looked at in tests/use; here it would take more than half of the time. A test that wants one writes it."""


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "dog", "cat", "runs", "sleeps", "today"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
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
def base_recipe(tiny_base, tmp_path, monkeypatch):
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
        path.write_text(RECIPE % (tiny_base, train))
        return path

    return made
