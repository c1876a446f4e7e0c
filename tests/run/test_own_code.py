"""Code that comes with weights: never unasked, pinned, noted; with it a model runs like any other, and its run asks again elsewhere."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
import transformers
from PIL import Image
from tests.hubs import SHA, serving
from tests.own import WIDTH, repository, write_own
from transformers import dynamic_module_utils

from triptych.base import trust
from triptych.base.errors import InputError
from triptych.run.fit import fit, resume
from triptych.run.recipe import read
from triptych.use.opened import open_run

RECIPE = """
data: {{source: table.csv, split: {{column: split}}}}
inputs: {{{name}: {{encoder: {{kind: pretrained, name: {base}, {more}}}}}}}
tasks: {{label: {{kind: classify, target: label}}}}
{stages}
training: {{batch_size: 8, threads: 1, save_seconds: 0, select: last}}
"""
HEAD = "stages: [{train: [label, fusion], epochs: 1, lr: 1.0e-2}]"
WORD = "trust_remote_code: true"


@pytest.fixture(autouse=True, scope="module")
def modules(tmp_path_factory):
    """Where transformers puts code before it runs: one folder, for Python finds the package of all of it once."""
    before = dynamic_module_utils.HF_MODULES_CACHE
    dynamic_module_utils.HF_MODULES_CACHE = str(tmp_path_factory.mktemp("modules"))
    yield
    dynamic_module_utils.HF_MODULES_CACHE = before


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """A person with settings, caches and memory of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(trust.VARIABLE, raising=False)
    stranger(monkeypatch)


def stranger(monkeypatch):
    """Nothing was said in this process."""
    monkeypatch.setattr(trust, "_said", set())
    monkeypatch.setattr(trust, "_ran", set())


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as made:
        made.files["owner/tiny"] = {"main": repository(write_own(tmp_path / "repository"))}
        yield made


def table(folder, cell=lambda number, label: f"{'good' if label else 'bad'} day {number % 7}", column="text"):
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column, "label", "split"])
        for number in range(24):
            writer.writerow([cell(number, number % 2), "ab"[number % 2], ("train", "train", "validation", "test")[number // 2 % 4]])
    return folder


def recipe(folder, base, more=WORD, stages=HEAD, name="text"):
    (folder / "recipe.yaml").write_text(RECIPE.format(base=base, more=more, stages=stages, name=name))
    return read(str(folder / "recipe.yaml"))


def trained(folder, base, out="run", **words):
    return fit(recipe(table(folder), base, **words), folder / out, quiet=True)


def test_without_the_word_no_code_is_even_downloaded(server, tmp_path):
    with pytest.raises(InputError) as caught:
        trained(tmp_path, "owner/tiny", more="revision: main")
    said = str(caught.value)
    assert "owner/tiny can be built by code of its own repository alone (configuration_tiny.py, modeling_tiny.py)" in said
    assert "trust_remote_code: true" in said and "THE_COMMIT_YOU_READ" in said
    assert not [path for _, path, *_ in server.asked if path.endswith(".py")]
    assert not trust.record().exists()


def test_with_the_word_it_runs_aloud_and_its_features_are_remembered(server, tmp_path, monkeypatch):
    with pytest.warns(trust.RemoteCode) as told:
        run = trained(tmp_path, "owner/tiny")
    (said,) = [str(one.message) for one in told]
    assert "code of owner/tiny runs now" in said and "configuration_tiny.py, modeling_tiny.py" in said
    assert f"commit {SHA['main']}" in said and f"pin it with revision: {SHA['main']}" in said
    about = json.loads((run.model / "encoders/text/part.json").read_text())
    assert about["facts"] | {"family": "own code", "width": WIDTH, "blocks": 2, "pooling": "mean"} == about["facts"]
    assert sorted(path.name for path in (run.model / "encoders/text/base").glob("*.py")) == ["configuration_tiny.py", "modeling_tiny.py"]

    # as its own code says it
    answer = open_run(run.path).model.encoders["text"]
    model = transformers.AutoModel.from_pretrained(tmp_path / "repository", trust_remote_code=True)
    ids, mask = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    hidden = model(ids, mask).last_hidden_state
    ours = answer(hub_packed(ids, mask.bool()))
    assert torch.equal(ours.tokens_BTD, hidden) and torch.allclose(ours.pooled_BD[1], hidden[1, :2].mean(0), atol=1e-6)

    with pytest.raises(InputError, match="nothing can be cut"):
        answer.cut(hub_packed(ids, mask.bool()), 1)
    again = fit(read(str(tmp_path / "recipe.yaml"), ["stages.0.lr=0.003"]), tmp_path / "again", quiet=True)
    assert again.read("scores.json") and len(list((tmp_path / "cache/features").iterdir())) == 1


def hub_packed(ids, mask):
    from triptych.contract.values import Packed

    return Packed({"ids": ids}, mask)


def test_changed_code_is_other_code(server, tmp_path, monkeypatch):
    with pytest.warns(trust.RemoteCode):
        trained(tmp_path, "owner/tiny")
    files = server.files["owner/tiny"]["main"]
    changed = files | {"modeling_tiny.py": files["modeling_tiny.py"].replace(b"SCALE = 1.0", b"SCALE = 3.0")}
    server.files["owner/tiny"]["v2"] = changed
    with pytest.warns(trust.RemoteCode, match="modeling_tiny.py"):
        other = trained(tmp_path, "owner/tiny", "other", more=f"revision: v2, {WORD}")
    assert len(list((tmp_path / "cache/features").iterdir())) == 2
    (tmp_path / "run").rename(tmp_path / "one")
    ids = torch.tensor([[5, 6, 7]])
    one, two = (open_run(path).model.encoders["text"](hub_packed(ids, None)).pooled_BD for path in (tmp_path / "one", other.path))
    torch.testing.assert_close(one * 3, two)


def test_a_run_opens_where_its_code_ran_and_asks_where_it_did_not(server, tmp_path, monkeypatch):
    from fastapi.testclient import TestClient

    from triptych.web.app import create_app
    from triptych.web.service import Service, open_runs

    with pytest.warns(trust.RemoteCode):
        run = trained(tmp_path, "owner/tiny")
    stranger(monkeypatch)
    service = Service(open_runs([run.path]))
    with TestClient(create_app(service, page=False)) as client:  # the same person: noted; and it is served as it is opened
        service.load()
        answer = client.post("/v1/predict", json={"inputs": {"text": "good day 3"}}).json()
    assert answer["tasks"]["label"] == open_run(run.path).predict(text="good day 3")["label"]

    stranger(monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody-else"))
    runs = dynamic_module_utils.get_class_in_module
    monkeypatch.setattr(dynamic_module_utils, "get_class_in_module", lambda *_, **__: pytest.fail("something ran"))
    word = trust.word(run.model / "encoders/text/base")
    refused = {"done": lambda: Service(open_runs([run.path])).load(), "interrupted": lambda: resume(run.path, quiet=True)}
    for status, use in refused.items():
        run.about({"status": status})
        with pytest.raises(InputError) as caught:
            use()
        assert f"{trust.VARIABLE}={word}" in str(caught.value) and "modeling_tiny.py" in str(caught.value)
    run.about({"status": "done"})

    monkeypatch.setenv(trust.VARIABLE, "0" * 32)
    with pytest.raises(InputError):
        open_run(run.path).predict(text="good")
    monkeypatch.setattr(dynamic_module_utils, "get_class_in_module", runs)
    monkeypatch.setenv(trust.VARIABLE, f"{'0' * 32},{word}")
    with pytest.warns(trust.RemoteCode, match="says so"):
        assert open_run(run.path).predict(text="good")["label"]["said"] in "ab"
    assert not trust.record().exists(), "the environment's word is for this time"


def test_the_recipe_within_a_run_is_nobodys_word(server, tmp_path, monkeypatch):
    with pytest.warns(trust.RemoteCode):
        run = trained(tmp_path, "owner/tiny")
    stranger(monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody-else"))
    read(str(run.path / "recipe.yaml"))
    assert not trust._said


def test_code_that_was_changed_in_a_run_folder_does_not_run(server, tmp_path, monkeypatch):
    with pytest.warns(trust.RemoteCode):
        run = trained(tmp_path, "owner/tiny")
    stranger(monkeypatch)
    code = run.model / "encoders/text/base/modeling_tiny.py"
    code.write_text(code.read_text() + "\nopen('/tmp/never', 'w')\n")
    about = run.read("run.json")
    about["files"].pop("model/encoders/text/base/modeling_tiny.py")  # whoever changed it mends the checksums too
    (run.path / "run.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="nobody has said on this machine"):
        open_run(run.path).predict(text="good")


def test_a_recipes_word_is_for_what_it_names_and_not_for_a_run(server, tmp_path, monkeypatch):
    with pytest.warns(trust.RemoteCode):
        run = trained(tmp_path, "owner/tiny")
    code = run.model / "encoders/text/base/modeling_tiny.py"
    code.write_text(code.read_text() + "\n")
    stranger(monkeypatch)
    read(str(tmp_path / "recipe.yaml"))
    assert trust._said == {("owner/tiny", "main")}
    with pytest.raises(InputError, match="nobody has said"):
        trust.let(code.parent, "owner/tiny")


def test_a_record_that_others_can_write_to_counts_for_nothing(tmp_path):
    folder = write_own(tmp_path / "own")
    trust.record().parent.mkdir(parents=True)
    trust.record().write_text(json.dumps({trust.word(folder): {}}))
    trust.record().chmod(0o666)
    with pytest.raises(InputError):
        trust.let(folder, "own")
    trust.record().chmod(0o644)
    trust.let(folder, "own")


def test_code_in_another_repository_or_that_is_not_there(tmp_path):
    folder = write_own(tmp_path / "own")
    about = json.loads((folder / "config.json").read_text())
    about["auto_map"]["AutoModel"] = "someone/else--modeling_tiny.TinyModel"
    (folder / "config.json").write_text(json.dumps(about))
    trust.say(str(folder), "main")
    with pytest.raises(InputError, match="another repository, someone/else"):
        trust.let(folder, "own", str(folder), "main")
    about["auto_map"]["AutoModel"] = "gone.TinyModel"
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"gone\.py is missing"):
        trust.let(folder, "own", str(folder), "main")
    (tmp_path / "outside.py").write_text("")
    about["auto_map"]["AutoModel"] = f"{tmp_path / 'outside'}.TinyModel"  # transformers would run it
    (folder / "config.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"outside\.py is missing"):
        trust.let(folder, "own", str(folder), "main")


def test_its_blocks_learn_and_it_is_exported_with_its_code(tmp_path):
    write_own(tmp_path / "tiny")
    stages = "approach: {kind: last, blocks: 1, epochs: 1, base_epochs: 1, base_lr: 1.0e-2}"
    with pytest.warns(trust.RemoteCode):
        run = trained(tmp_path, "./tiny", stages=stages)
    from safetensors.torch import load_file

    from triptych.use.export import export_base

    assert sorted(load_file(run.model / "encoders/text/weights.safetensors")) == [
        *(f"base.blocks.1.{name}" for name in ("bias", "weight")), *(f"base.norm.{name}" for name in ("bias", "weight"))
    ]  # fmt: skip
    told = export_base(open_run(run.path), tmp_path / "out")
    assert told["trained"] == 4 and told["tensors"] == 7 and (tmp_path / "out/modeling_tiny.py").exists()
    with pytest.raises(InputError, match=r"2 blocks|last\(99\)"):
        trained(tmp_path, "./tiny", "far", stages="stages: [{train: [label, 'text.last(99)'], epochs: 1, lr: 1.0e-2}]")


def test_a_tokenizer_of_its_own(tmp_path, monkeypatch):
    write_own(tmp_path / "tiny", speller=True)
    with pytest.warns(trust.RemoteCode, match="spelling_tiny.py"):
        run = trained(tmp_path, "./tiny")
    stranger(monkeypatch)
    shutil.rmtree(tmp_path / "tiny")
    opened = open_run(run.path)
    (item,) = opened.inputs["text"][1].prepare(["Cab!"])
    assert item["ids"].tolist() == [4, 2, 3, 1]
    assert opened.predict(text="good")["label"]["said"] in "ab"


def test_pictures_and_sounds(tmp_path):
    for kind, suffix in (("image", "png"), ("audio", "wav")):
        folder = tmp_path / kind
        write_own(folder / "tiny", kind)

        def cell(number, label, folder=folder, suffix=suffix):
            noise = np.random.default_rng(number)
            if suffix == "png":
                Image.fromarray(noise.integers(0, 80 + 150 * label, (9, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")
            else:
                soundfile.write(
                    folder / f"{number}.wav", noise.normal(0, 0.1, 800 + 80 * number) * np.linspace(label, 1, 800 + 80 * number), 8000
                )
            return f"{number}.{suffix}"

        table(folder, cell, kind)
        with pytest.warns(trust.RemoteCode):
            run = fit(recipe(folder, "./tiny", name=kind), folder / "run", quiet=True)
        shutil.rmtree(folder / "tiny")
        assert open_run(run.path).predict(**{kind: folder / f"3.{suffix}"})["label"]["said"] in "ab"


def test_a_model_of_another_kind_says_what_it_takes(tmp_path):
    write_own(tmp_path / "tiny", "image")
    with (
        pytest.warns(trust.RemoteCode),
        pytest.raises(InputError, match="takes pixel_values, attention_mask, and this input has input_ids"),
    ):
        trained(tmp_path, "./tiny")


def test_code_that_wants_what_is_not_here(tmp_path):
    code = write_own(tmp_path / "tiny") / "modeling_tiny.py"
    code.write_text("import einops_of_long_ago\n" + code.read_text())
    with pytest.warns(trust.RemoteCode), pytest.raises(InputError, match=r"cannot be loaded(.|\n)*einops_of_long_ago"):
        trained(tmp_path, "./tiny")


def test_nobody_is_asked_at_the_keyboard(tmp_path, monkeypatch):
    """transformers asks on the terminal whether code may run, where it is told neither yes nor no."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    folder = write_own(tmp_path / "tiny", speller=True)
    words = {"vocab_size": 28, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    (folder / "config.json").unlink()
    transformers.BertModel(transformers.BertConfig(**words)).save_pretrained(folder)
    with pytest.raises(InputError, match=r"spelling_tiny\.py"):
        trained(tmp_path, "./tiny", more="revision: main")
