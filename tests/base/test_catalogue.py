"""The built-in catalogue: whole, and its sizes are those of real networks."""

from __future__ import annotations

import pytest
import torch
import transformers

from triptych.base import catalogue
from triptych.base.errors import InputError
from triptych.use.models import families

TASKS = {"embed", "classify", "contrast", "generate"}


def test_every_entry_is_whole_and_its_own():
    entries = catalogue.entries()
    assert len(entries) >= 60 and len({entry.id for entry in entries}) == len(entries)
    known = families()
    for entry in entries:
        assert entry.id.count("/") == 1 and entry.good and entry.licence and entry.width
        assert entry.tasks and set(entry.tasks) <= TASKS and entry.towers and set(entry.towers) <= set(known)
        assert sum(tower.parameters for tower in entry.towers.values()) <= 1.01 * entry.parameters
        assert all(tower.macs > 0 for tower in entry.towers.values())
        assert (len(entry.towers) == 2) == ("contrast" in entry.tasks)
        assert all(len(language) in (2, 4) for language in entry.languages), entry.id  # de, many
        assert "text" not in entry.towers or entry.languages


@pytest.mark.parametrize("room", ["text", "image", "audio"])
def test_every_family_that_a_tower_knows_is_in_it(room):
    halves = {f"{name}_{half}_model" for name in ("clip", "siglip", "clap") for half in ("text", "vision", "audio")}
    there = {entry.family for entry in catalogue.entries() if room in entry.towers}
    assert families()[room] - halves <= there


SIZES = [
    ("google-bert/bert-base-uncased", "BertModel", {}),
    ("distilbert/distilbert-base-uncased", "DistilBertModel", {}),
    ("openai-community/gpt2", "GPT2Model", {}),
    ("google/vit-base-patch16-224", "ViTModel", {}),
    ("microsoft/resnet-50", "ResNetModel", {}),
    ("facebook/convnext-tiny-224", "ConvNextModel", {}),
    ("openai/clip-vit-base-patch32", "CLIPModel", {}),
    ("facebook/wav2vec2-base", "Wav2Vec2Model", {}),
    ("facebook/hubert-base-ls960", "HubertModel", {}),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "ASTModel", {}),
    ("openai/whisper-tiny", "WhisperModel", {"encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536}),
]


@pytest.mark.parametrize(("name", "kind", "words"), SIZES)
def test_sizes_are_those_of_the_architecture(name, kind, words):
    """transformers' own defaults are the sizes of these models."""
    model = getattr(transformers, kind)
    config = model.config_class(**words)
    if name.startswith("openai/whisper"):
        config.encoder_layers = config.decoder_layers = 4
        config.d_model, config.encoder_attention_heads, config.decoder_attention_heads = 384, 6, 6
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in model(config).parameters())
    assert catalogue.find(name).parameters == pytest.approx(parameters, rel=0.02)
    assert catalogue.find(name).family == config.model_type


@pytest.mark.parametrize(("text", "number"), [("500M", 500_000_000), ("1.5b", 1_500_000_000), (" 300k ", 300_000), ("12", 12)])
def test_sizes_as_people_write_them(text, number):
    assert catalogue.count(text) == number


@pytest.mark.parametrize("text", ["", "M", "big", "-3M", "nan", "inf", "1e99"])
def test_what_is_no_size(text):
    with pytest.raises(InputError, match="no number of parameters"):
        catalogue.count(text)
