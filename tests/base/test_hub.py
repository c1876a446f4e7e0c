"""The Hub, against a small server of our own that speaks its protocol; and folders that are not whole."""

from __future__ import annotations

import json
import re

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from tests.hubs import serving

from triptych.base import hub
from triptych.base.errors import InputError


def base(folder, value=1.0):
    """Files of a base: a config, and weights of a few kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file({"a": torch.full((4096,), value)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    with serving(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def files(tmp_path):
    folder = base(tmp_path / "made")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(name, revision="main") -> str:
    with pytest.raises(InputError) as caught:
        hub.located(name, revision)
    return str(caught.value)


def test_a_name_is_downloaded_once_and_then_found(server, files):
    server.files["owner/small"] = {"main": {**files, "pytorch_model.bin": b"pickle", "onnx/model.safetensors": b"x", "README.md": b"#"}}
    folder = hub.located("owner/small")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    server.asked.clear()
    hub._downloaded.cache_clear()
    assert hub.located("owner/small") == folder
    assert not [path for command, path, *_ in server.asked if command == "GET" and "/resolve/" in path]


def test_a_revision_is_its_own(server, files, tmp_path):
    other = {path.name: path.read_bytes() for path in base(tmp_path / "other", 2.0).iterdir()}
    server.files["owner/two"] = {"main": files, "v2": other}
    one, two = hub.located("owner/two"), hub.located("owner/two", "v2")
    assert one != two and hub.fingerprint(one) != hub.fingerprint(two)
    said = refused("owner/two", "v3")
    assert "no revision 'v3'" in said and "main, v2" in said


def test_a_download_that_breaks_off_is_gone_on_with(server, files, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    server.files["owner/broken"] = {"main": files}
    server.rules["break"] = True
    folder = hub.located("owner/broken")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    ranges = [start for command, path, start, _ in server.asked if command == "GET" and path.endswith(".safetensors") and start]
    assert ranges and int(re.search(r"\d+", ranges[-1])[0]) > 0


def test_a_private_one_needs_a_token(server, files, monkeypatch):
    server.files["owner/private"] = {"main": files}
    server.rules["private"] = "owner/private"
    assert "that you may read" in (said := refused("owner/private")) and "HF_TOKEN" in said
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert hub.located("owner/private").is_dir()


def test_a_gated_one_says_where_its_terms_are(server, files):
    server.files["owner/gated"] = {"main": files}
    server.rules["gated"] = "owner/gated"
    said = refused("owner/gated")
    assert "gated" in said and "/owner/gated" in said and "HF_TOKEN" in said


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("openai/clip-vit-base-patch23", "openai/clip-vit-base-patch32"), ("laion/clap-htsat-unfusd", "laion/clap-htsat-unfused")],
)
def test_a_typo_is_answered_with_the_nearest_name(server, typo, meant):
    assert f"did you mean {meant}" in refused(typo)


def test_pickles_alone_are_refused_and_why(server, files):
    server.files["owner/old"] = {"main": {"config.json": files["config.json"], "pytorch_model.bin": b"pickle"}}
    said = refused("owner/old")
    assert "pytorch_model.bin" in said and "can run any code" in said and "save_pretrained" in said


def test_without_a_network_the_cache_is_used(server, files, monkeypatch):
    server.files["owner/kept"] = {"main": files}
    folder = hub.located("owner/kept")
    hub._downloaded.cache_clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub.located("owner/kept") == folder
    assert "cannot be reached, and nothing of it is in the cache: owner/never" in (said := refused("owner/never")) and "./FOLDER" in said
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub._downloaded.cache_clear()
    assert hub.located("owner/kept") == folder
    assert "HF_HUB_OFFLINE is set" in refused("owner/never")
    (folder / "model.safetensors").unlink()
    hub._downloaded.cache_clear()
    assert "only a part of it is in the cache" in refused("owner/kept")


@pytest.mark.parametrize("name", ["a b/c", "one/two/three", "owner/", "owner/na me"])
def test_what_is_no_name(server, name):
    assert "neither a folder nor a name" in refused(name)


def test_of_a_config_alone_no_weights_are_asked_for(server, files, monkeypatch):
    server.files["owner/small"] = {"main": files}
    assert hub.config_of("owner/small") == {"model_type": "bert"}
    assert not [path for _, path, *_ in server.asked if path.endswith(".safetensors")]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub.config_of("owner/small") == {"model_type": "bert"}, "it is in the cache"
    with pytest.raises(InputError, match="did you mean openai/clip-vit-base-patch32"):
        hub.config_of("openai/clip-vit-base-patch23")
    with pytest.raises(InputError, match="cannot be reached, and nothing"):
        hub.config_of("owner/never")


# folders


def test_a_whole_folder(tmp_path):
    folder = base(tmp_path / "b")
    assert hub.located(str(folder)) == folder and hub.tensors(folder) == {"a": [4096]}


@pytest.mark.parametrize("left", [0, 7, 40, 5000, -1])
def test_cut_weights_say_how_much_is_there(tmp_path, left):
    folder = base(tmp_path / "b")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:left])
    said = refused(str(folder))
    assert "model.safetensors of the pretrained model is" in said and ("cut" in said or "damaged" in said) and "do that again" in said


def test_a_missing_shard_is_named(tmp_path):
    folder = base(tmp_path / "b")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "lacks model-00002-of-00002.safetensors" in refused(str(folder))
    (folder / "model.safetensors.index.json").write_text("{")
    assert "list of weight files is damaged" in refused(str(folder))


def test_other_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refused(str(tmp_path / "empty"))
    assert "there is no folder" in refused("./nowhere-at-all")
    folder = base(tmp_path / "b")
    (folder / "config.json").write_text("[]")
    assert "config of the pretrained model is damaged" in refused(str(folder))
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin only, which is not read" in refused(str(folder))


def test_the_fingerprint_is_of_weights_config_and_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    folder = base(tmp_path / "b")
    words = {hub.fingerprint(folder)}
    assert hub.fingerprint(folder) in words
    (folder / "README.md").write_text("no part of it")
    assert hub.fingerprint(folder) in words
    (folder / "preprocessor_config.json").write_text("{}")
    words.add(hub.fingerprint(folder))
    save_file({"a": torch.full((4096,), 3.0)}, folder / "model.safetensors")
    words.add(hub.fingerprint(folder))
    assert len(words) == 3


def test_a_carried_base_does_not_change_with_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    folder = base(tmp_path / "b")
    hub.carry(folder, tmp_path / "run/base")
    hub.carry(folder, tmp_path / "run2/base")
    before = (folder / "model.safetensors").read_bytes()
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"\0" * 100)
    assert (tmp_path / "run/base/model.safetensors").read_bytes() == before
    assert (tmp_path / "run/base/model.safetensors").stat().st_ino == (tmp_path / "run2/base/model.safetensors").stat().st_ino
