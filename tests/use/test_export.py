"""A trained base, written out: transformers' own model gives what the run's encoders give, and a recipe begins with it."""

from __future__ import annotations

import json

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

pytestmark = pytest.mark.usefixtures("no_charts")


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
