"""Pretrained sound encoders in a training, and Whisper's real weights on voices never heard."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from triptych.run.fit import fit
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.embed import embed_source
from triptych.use.opened import open_run
from triptych.use.report import write_report

RECIPE = """
data: {source: table.csv, split: {column: side}}
inputs: {audio: {encoder: ./base, prepare: {seconds: 0.1, windows: 2}}}
tasks: {label: {kind: classify, target: label}}
stages: [{train: [label, audio.last(1)], epochs: 2, lr: 1.0e-2}]
training: {batch_size: 8, threads: 1}
report: {rows: 2}
"""


def test_windows_of_recordings_train_and_the_run_stands_alone(tiny_table, tmp_path, monkeypatch):
    """Pieces of one recording through Wav2Vec2, its last block trained; then asked, embedded and reported without the base."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_table.parent, folder)
    torch.manual_seed(0)
    words = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    convs = {
        "conv_dim": (8, 8),
        "conv_kernel": (10, 8),
        "conv_stride": (5, 8),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    }
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**words, **convs)).save_pretrained(folder / "base")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder / "base")
    (folder / "recipe.yaml").write_text(RECIPE)
    run = fit(read(str(folder / "recipe.yaml")), tmp_path / "run", quiet=True)
    kept = load_file(run.model / "encoders/audio/weights.safetensors")
    assert kept and all(name.startswith("base.encoder.layers.1.") for name in kept)
    assert any("made at 8,000 Hz and resampled" in finding["text"] for finding in run.read("run.json")["findings"])
    sounds = sorted((folder / "sounds").glob("*.wav"))[:3]
    before = [open_run(run.path).predict(audio=str(path))["label"] for path in sounds]
    shutil.move(folder / "base", tmp_path / "away")
    shutil.move(run.path, tmp_path / "moved")
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    opened = open_run(tmp_path / "moved")
    assert [opened.predict(audio=str(path))["label"] for path in sounds] == before
    assert embed_source(opened, folder / "sounds", tmp_path / "vectors.parquet", Voice(quiet=True))
    assert "<audio" in write_report(opened.folder).read_text()


@pytest.mark.slow
def test_whisper_names_digits_of_a_voice_never_heard(real_weights, tmp_path):
    """Some 50 clips of each of five people to learn from; a network of one's own gets 0.84 from ten times as many."""
    shared = Path(__file__).parents[3] / "shared/data"
    if not shared.exists():
        pytest.skip(f"no recordings: {shared} is not there")
    lines = (shared / "digits_trimodal.csv").read_text().splitlines()
    few = [line for line in lines[1:] if int(line.split(",")[1].rsplit("_", 1)[1].removesuffix(".wav")) < 5]
    (tmp_path / "table.csv").write_text("\n".join([lines[0], *few]).replace(",fsdd/", f",{shared}/fsdd/"))
    (tmp_path / "recipe.yaml").write_text(
        f"""
data: {{source: table.csv, split: {{test_where: {{speaker: [jackson]}}}}}}
inputs: {{audio: {{encoder: {real_weights("whisper-tiny")}}}}}
tasks: {{digit: {{kind: classify, target: digit}}}}
stages: [{{train: [fusion, digit], epochs: 8, lr: 2.0e-3}}]
training: {{batch_size: 16}}
"""
    )
    run = fit(read(str(tmp_path / "recipe.yaml")), tmp_path / "run", quiet=True)
    (score,) = [score for score in run.read("scores.json") if score["name"] == "digit.accuracy"]
    assert score["trained"] > 0.9 > 0.4 > score["untouched"]
