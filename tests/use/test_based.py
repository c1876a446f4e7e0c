"""`init --base`: a recipe that begins with a pretrained model, and the answers where it cannot."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from triptych.base.errors import InputError
from triptych.run.recipe import read
from triptych.use import based
from triptych.use.start import propose

_spec = importlib.util.spec_from_file_location("makers", Path(__file__).parents[1] / "conftest.py")
makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(makers)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def songs(tmp_path) -> Path:
    for number in range(12):
        makers.write_tone(tmp_path / "songs" / ("happy", "sad")[number % 2] / f"{number}.wav", ("high", "low")[number % 2], number)
    return tmp_path / "songs"


@pytest.fixture
def captions(tmp_path) -> Path:
    lines = ["picture,caption,label"]
    for number in range(12):
        makers.write_picture(tmp_path / f"p/{number}.png", ("high", "low")[number % 2], number)
        lines.append(f"p/{number}.png,a quiet picture of a thing on a table number {number},{('x', 'y')[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    return tmp_path / "t.csv"


def folder(path: Path, kind: str) -> Path:
    """A base of which the config alone is there: nothing more is looked at."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": kind}))
    return path


def proposed(source: Path, base: str):
    out = source.parent / "mood.yaml"
    out.write_text(propose(source, out, base), encoding="utf-8")
    return read(str(out)), out.read_text(encoding="utf-8")


def test_a_base_of_the_catalogue_needs_no_network(songs):
    recipe, text = proposed(songs, "laion/clap-htsat-unfused")
    assert recipe.inputs["audio"].encoder.name == "laion/clap-htsat-unfused"
    assert [stage.train for stage in recipe.stages] == [["fusion", "label"]], "the base is frozen"
    assert recipe.tasks["label"].prompt == "This is {label}.", "the base's own space takes sentences"
    assert "approach: {kind: head, epochs: 60}" in text and recipe.training.batch_size == 8, "of few rows the head learns little an epoch"
    assert text.startswith("# triptych train mood.yaml")
    assert "rate" not in yaml.safe_load(text)["inputs"]["audio"].get("prepare", {}), "the base says at which rate it hears"


@pytest.mark.parametrize("kind", ["last", "gradual", "lora", "full"])
def test_each_alternative_in_the_comments_is_an_approach(songs, kind):
    text = proposed(songs, "laion/clap-htsat-unfused")[1]
    (line,) = [line for line in text.splitlines() if line.startswith("# approach: {kind: " + kind)]
    changed = text.replace(next(line for line in text.splitlines() if line.startswith("approach:")), line.removeprefix("# "), 1)
    (songs.parent / "other.yaml").write_text(changed, encoding="utf-8")
    assert any("audio" in word for stage in read(str(songs.parent / "other.yaml")).stages for word in stage.train)


def test_both_halves_of_a_dual_encoder_take_their_inputs(captions):
    recipe, text = proposed(captions, "openai/clip-vit-base-patch32")
    assert {name: settings.encoder.name for name, settings in recipe.inputs.items()} == dict.fromkeys(
        ("picture", "caption"), "openai/clip-vit-base-patch32"
    )
    assert recipe.tasks["label"].prompt == "This is {label}." and recipe.tasks["match"].kind == "contrast"
    assert "size" not in text.split("inputs:")[1].split("tasks:")[0]


def test_a_single_base_takes_what_fits_and_leaves_the_rest(captions):
    recipe, text = proposed(captions, "sentence-transformers/all-MiniLM-L6-v2")
    assert recipe.inputs["caption"].encoder.kind == "pretrained" and recipe.inputs["picture"].encoder.kind == "cnn"
    assert "prompt" not in text and recipe.inputs["picture"].prepare.size == 16


def test_a_prompt_that_the_recipe_does_not_take_is_left_out(songs, monkeypatch):
    monkeypatch.setattr(based, "families", lambda: {"audio": {"clap"}, "text": {"clap"}})
    monkeypatch.setattr("triptych.use.start.accepted", lambda text: "prompt" not in text)
    assert "prompt" not in proposed(songs, "laion/clap-htsat-unfused")[1]


def test_a_folder_is_seen_from_the_recipe(songs):
    folder(songs.parent / "my base", "whisper")
    recipe, text = proposed(songs, str(songs.parent / "my base"))
    assert 'encoder: "./my base"' in text and recipe.inputs["audio"].encoder.name == str(songs.parent / "my base")


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("openai/clip-vit-base-patch32", ["takes image and text", "have audio only", "triptych models --modality audio"]),
        ("microsoft/swin-tiny-patch4-window7-224", ["is a swin model", "no input can have", "whisper"]),
        ("laion/clap-htsat-unfusd", ["HF_HUB_OFFLINE is set", "did you mean laion/clap-htsat-unfused"]),
        ("./nowhere", ["there is no folder './nowhere'"]),
        ("a b/c", ["neither a folder nor a name"]),
    ],
)
def test_what_does_not_fit_is_answered(songs, base, says):
    with pytest.raises(InputError) as caught:
        propose(songs, songs.parent / "mood.yaml", base)
    assert all(word in str(caught.value) for word in says), str(caught.value)


def test_a_folder_of_another_kind(songs):
    folder(songs.parent / "strange", "hyena")
    with pytest.raises(InputError, match="is a hyena model"):
        propose(songs, songs.parent / "mood.yaml", str(songs.parent / "strange"))
    (songs.parent / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no config\.json"):
        propose(songs, songs.parent / "mood.yaml", str(songs.parent / "empty"))
