"""A trained base, written out: transformers' own model gives what the run's encoders give, and a recipe begins with it."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
import transformers
from torch.nn.functional import normalize

import triptych
from triptych.base import hub
from triptych.base.errors import InputError
from triptych.use.export import export_base

RECIPE = {
    "name": "tuned",
    "data": {"split": {"column": "side"}},
    "inputs": {"audio": {"encoder": "small:clap"}, "text": {"encoder": "small:clap"}},
    "tasks": {"match": {"kind": "contrast", "between": ["audio", "text"]}},
    "stages": [{"train": ["all"], "epochs": 1, "lr": 1e-3}],
    "training": {"batch_size": 16, "check_batch": False},
}

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tiny_table):
    tree = {**RECIPE, "data": {**RECIPE["data"], "source": str(tiny_table)}}
    return triptych.train(tree, out=tmp_path_factory.mktemp("export") / "run", quiet=True)


@pytest.fixture(scope="module")
def sound(tiny_table):
    return tiny_table.parent / "sounds/2.wav"


def encoded(run, column, value):
    """What the run's encoder gives, of unit length, and what it was given."""
    room, preparation = run.inputs[column]
    packed = preparation.collate(preparation.prepare([room.read(value)]))
    with torch.no_grad():
        return normalize(run.model.encoders[column](packed).pooled_BD, dim=-1), packed


def test_both_halves_are_one_model_again(tuned, sound, tmp_path):
    out = tmp_path / "base"
    told = export_base(tuned, out)
    assert told["inputs"] == ["audio", "text"] and 0 < told["trained"] <= told["tensors"]
    model = transformers.ClapModel.from_pretrained(out).eval()
    heard, given = encoded(tuned, "audio", sound)
    read, words = encoded(tuned, "text", "a bright sharp whistle")
    with torch.no_grad():
        own_heard = model.get_audio_features(input_features=given.tensors["features"]).pooler_output
        own_read = model.get_text_features(input_ids=words.tensors["ids"], attention_mask=words.mask_PT.long()).pooler_output
    torch.testing.assert_close(heard, normalize(own_heard, dim=-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read, normalize(own_read, dim=-1), atol=1e-5, rtol=1e-5)
    untouched = transformers.ClapModel.from_pretrained(hub.located("small:clap")).eval()
    assert not torch.allclose(untouched.get_audio_features(input_features=given.tensors["features"]).pooler_output, own_heard, atol=1e-3)
    assert {"config.json", "preprocessor_config.json", "tokenizer.json"} <= {path.name for path in out.iterdir()}


def test_a_recipe_begins_with_it(tuned, tiny_table, sound, tmp_path):
    out = tmp_path / "base"
    export_base(tuned, out)
    tree = {**RECIPE, "data": {**RECIPE["data"], "source": str(tiny_table)}, "inputs": {"audio": {"encoder": str(out)}}}
    tree["tasks"] = {"label": {"kind": "classify", "target": "label"}}
    tree["stages"] = [{"train": ["fusion", "label"], "epochs": 1, "lr": 1e-3}]
    run = triptych.train(tree, out=tmp_path / "run", quiet=True)
    torch.testing.assert_close(encoded(run, "audio", sound)[0], encoded(tuned, "audio", sound)[0], atol=1e-5, rtol=1e-5)


def test_what_cannot_be_written(tuned, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(InputError, match="is there already"):
        export_base(tuned, tmp_path / "full")
    with pytest.raises(InputError, match="input 'audoi' has no pretrained encoder"):
        export_base(tuned, tmp_path / "base", "audoi")
    assert export_base(tuned, tmp_path / "half", "text")["inputs"] == ["text"]
    assert json.loads((tmp_path / "half/config.json").read_text())["model_type"] == "clap"


def test_a_small_base_is_always_the_same(tmp_path, monkeypatch):
    first = hub.located("small:clap")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    assert hub.located("small:clap") != first and hub.fingerprint(hub.located("small:clap")) == hub.fingerprint(first)
    with pytest.raises(InputError, match="did you mean 'clap'"):
        hub.located("small:clip")


ASKS = {
    "name": "says",
    "data": {"split": {"column": "side"}},
    "inputs": {"text": {"prepare": {"vocabulary": 300}, "encoder": {"kind": "gru", "width": 8, "depth": 1}}},
    "fusion": {"kind": "prefix", "projector": "linear"},
    "tasks": {"say": {"kind": "generate", "target": "label", "template": "what is {text}", "longest": 4, "written": 2}},
    "training": {"batch_size": 16, "check_batch": False},
}


def write_llama(folder, words):
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    held = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    held.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens = transformers.PreTrainedTokenizerFast(tokenizer_object=held, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokens.chat_template = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} </s> {% endfor %}"
    tokens.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
    ids = {"vocab_size": len(known), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **ids)).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def speaker(tmp_path_factory, tiny_table):
    """A run whose decoder learnt by additions."""
    folder = write_llama(tmp_path_factory.mktemp("llama") / "base", ["what", "is", "user", "assistant", "low", "high", "a", "b"])
    decoder = {"kind": "pretrained", "name": str(folder), "lora": {"rank": 2}}
    stages = [{"train": ["fusion", "decoder.lora"], "epochs": 1, "lr": 3e-2}]
    tree = {**ASKS, "data": {**ASKS["data"], "source": str(tiny_table)}, "decoder": decoder, "stages": stages}
    return triptych.train(tree, out=tmp_path_factory.mktemp("says") / "run", quiet=True)


def same(model, run):
    """Logits and greedy words of a model against those of the run's decoder, without any input."""
    ids = torch.tensor([[3, 4, 5, 6]])
    ours, words = run.model.decoder.base.eval(), {"max_new_tokens": 6, "do_sample": False}
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(ids).logits, ours(ids).logits, atol=1e-4, rtol=1e-4)
        assert model.generate(ids, **words).tolist() == ours.generate(ids, **words).tolist()


def test_a_decoder_with_its_additions_added_in(speaker, tmp_path):
    told = export_base(speaker, tmp_path / "out")
    assert told["inputs"] == ["decoder"] and told["trained"] == 14
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    same(model, speaker)
    untouched = transformers.AutoModelForCausalLM.from_pretrained(speaker.model.decoder.folder, dtype=torch.float32)
    ids = torch.tensor([[3, 4, 5, 6]])
    assert not torch.allclose(untouched(ids).logits, model(ids).logits, atol=1e-2)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokens.apply_chat_template([{"role": "user", "content": "what is"}], tokenize=False) == "user what is </s> "
    assert transformers.GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == 1


def test_additions_alone(speaker, tmp_path):
    import peft

    told = export_base(speaker, tmp_path / "out", adapter=True)
    assert told["trained"] == 14 and not (tmp_path / "out/model.safetensors").exists()
    base = transformers.AutoModelForCausalLM.from_pretrained(speaker.model.decoder.folder, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in an old way
        model = peft.PeftModel.from_pretrained(base, tmp_path / "out")
    same(model, speaker)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "out").chat_template


def test_a_decoder_from_scratch_and_what_has_no_additions(tiny_table, tmp_path):
    small = {"kind": "small", "layers": 1, "width": 16, "heads": 2, "vocabulary": 300}
    stages = [{"train": ["all"], "epochs": 1, "lr": 1e-2}]
    tree = {**ASKS, "data": {**ASKS["data"], "source": str(tiny_table)}, "decoder": small, "stages": stages}
    run = triptych.train(tree, out=tmp_path / "run", quiet=True)
    with pytest.raises(InputError, match="decoder has no low-rank additions"):
        export_base(run, tmp_path / "none", adapter=True)
    export_base(run, tmp_path / "out")
    same(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out"), run)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokens("what is").input_ids == run.script.chat.tokenizer.encode("what is", add_special_tokens=False).ids
