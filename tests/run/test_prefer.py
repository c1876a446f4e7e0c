"""Preferences: the better of two answers is made likelier, measured from what the decoder is without its additions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.measure import answer
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe, read

WORDS = ["red", "green", "blue", "old", "new"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a vocabulary of its own, as a folder of transformers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([" ".join(WORDS)], trainers.BpeTrainer(vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet))
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 48}
    config = LlamaConfig(vocab_size=len(made.get_vocab()), **sizes, eos_token_id=0, bos_token_id=None, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions with a better and a worse answer; the better one says `new`. One row lacks the worse one."""
    path = tmp_path_factory.mktemp("rows") / "pairs.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["note", "ask", "good", "bad"])
        for number in range(30):
            colour = WORDS[number % 3]
            out.writerow([f"note {number} {colour}", f"is it {colour} {number}", f"new {colour}", f"old {colour}" if number else ""])
    return path


def _recipe(base: Path, rows: Path, **more: object) -> Recipe:
    tree = {
        "data": {"source": str(rows), "split": {"validation": 0.2, "test": 0.2}},
        "inputs": {"note": {"modality": "text", "encoder": {"kind": "transformer", "width": 32, "depth": 1, "heads": 2}}},
        "tasks": {"better": {"kind": "prefer", "chosen": "good", "rejected": "bad", "template": "{note} {ask}", "beta": 0.5}},
        "decoder": {"kind": "pretrained", "name": str(base), "lora": {"rank": 4}},
        "stages": [{"train": ["decoder.lora"], "epochs": 3, "lr": 0.01}],
        "training": {"batch_size": 8, "device": "cpu", "precision": "float32"},
        **more,
    }
    return read(tree)


def test_the_loss_is_that_of_the_paper_and_nothing_is_told_apart_before_the_first_step(base: Path, rows: Path) -> None:
    recipe = _recipe(base, rows)
    bench = build(recipe, open_table(recipe, Voice(quiet=True)), Voice(quiet=True))
    batch = next(iter(bench.loader("train")))
    model = bench.model.eval()
    untouched = answer(recipe.tasks["better"], model(batch).outputs["better"])[batch.has_target["better"]]
    assert float(untouched.detach().abs().max()) < 1e-5
    decoder = model.decoder
    assert decoder is not None
    for name, parameter in decoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    passed = model(batch)
    has = batch.has_target["better"].nonzero()[:, 0]
    asked, fused = batch.asked["better"], passed.fused.rows(has.repeat_interleave(2))

    def likelihoods() -> torch.Tensor:
        return -decoder(asked, fused)["nll_B"].unflatten(0, (-1, 2))

    tuned = likelihoods()
    with decoder.plain():
        before = likelihoods()
    assert float((tuned - before).detach().abs().max()) > 0.01
    reference = -F.logsigmoid(0.5 * ((tuned[:, 0] - before[:, 0]) - (tuned[:, 1] - before[:, 1])))
    from triptych.objective.losses import terms

    found = terms(passed.outputs["better"], batch.targets["better"], batch.has_target["better"], recipe.tasks["better"], batch.present)
    torch.testing.assert_close(found[""].loss_P, reference.float(), atol=1e-4, rtol=1e-4)


def test_better_answers_become_likelier(base: Path, rows: Path, tmp_path: Path) -> None:
    run = fit(_recipe(base, rows), tmp_path / "run", quiet=True)
    scores = {score["name"]: score for score in run.read("scores.json")}
    assert scores["better.accuracy"]["untouched"] == 0.5
    assert scores["better.accuracy"]["trained"] == 1.0
    assert scores["better.margin"]["trained"] > 0
    margins = [entry["validation better.margin"] for entry in run.read_log()]
    assert len(margins) == 3


def test_a_decoder_without_additions_has_nothing_to_be_compared_with(base: Path, rows: Path) -> None:
    with pytest.raises(InputError, match="without its additions"):
        _recipe(base, rows, decoder={"kind": "pretrained", "name": str(base)}, stages=[{"train": ["fusion"], "epochs": 1}])
    with pytest.raises(InputError, match="not better than itself"):
        _recipe(base, rows, tasks={"better": {"kind": "prefer", "chosen": "good", "rejected": "good", "template": "{note}"}})
