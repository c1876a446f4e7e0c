"""Recordings of any length, window by window."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
import transformers as t

from triptych.base.errors import BadValue
from triptych.base.settings import parse
from triptych.modalities import rooms
from triptych.modalities.audio.prepare import Features, wave
from triptych.modalities.audio.read import Recording, read
from triptych.modalities.audio.settings import Prepare
from triptych.modalities.audio.stream import windows


def write(path, seconds: float, rate: int = 8000, **words) -> np.ndarray:
    samples_N = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)
    soundfile.write(path, samples_N, rate, **words)
    return samples_N


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("seconds", [0.7, 2.0, 5.0, 5.3])
def test_windows_are_pieces_of_the_whole(tmp_path, name, seconds):
    path = tmp_path / name
    write(path, seconds)
    whole = read(path)
    found = list(windows(path, 2.0, 0.5))
    assert [start for start, _ in found] == [1.5 * n for n in range(len(found))]
    for start, piece in found:
        at = round(start * 8000)
        np.testing.assert_allclose(piece.samples_N, whole.samples_N[at : at + 16_000], atol=1e-6)
    last, piece = found[-1]
    assert abs(last + piece.seconds - whole.seconds) <= 0.02
    assert all(piece.seconds == 2.0 for _, piece in found[:-1])


def test_a_long_recording_takes_the_memory_of_a_window(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8000, 1) as file:  # twenty minutes: 38 MB of samples
        for _ in range(20):
            file.write(np.zeros(60 * 8000, np.float32))
    tracemalloc.start()
    count = sum(1 for _ in windows(path, 10.0, 2.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 150 and peak < 20 * 2**20


def test_what_is_wrong_is_said(tmp_path):
    path = tmp_path / "cut.flac"
    write(path, 5.0)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(BadValue, match=r"damaged or cut off") as problem:
        list(windows(path, 2.0, 0.5))
    assert problem.value.where == str(path)
    (tmp_path / "words.wav").write_text("these are words")
    with pytest.raises(BadValue, match="not a sound file"):
        list(windows(tmp_path / "words.wav", 2.0, 0.5))
    with pytest.raises(BadValue, match="no such file"):
        list(windows(tmp_path / "none.wav", 2.0, 0.5))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(BadValue, match="no samples"):
        list(windows(tmp_path / "empty.wav", 2.0, 0.5))


@pytest.mark.parametrize("trim", [False, True])
def test_a_preparation_knows_where_what_is_heard_begins(trim):
    quiet, loud = np.zeros(4000, np.float32), np.random.default_rng(1).uniform(0.1, 0.9, 24_000).astype(np.float32)
    recording = Recording(np.concatenate([quiet, loud]), 8000)
    prepare = Prepare(rate=8000, seconds=1.0, trim_silence=trim, bins=16)
    held = Features(prepare)
    heard_N = wave(recording, prepare)
    at = round(held.begins(recording) * 8000)
    np.testing.assert_array_equal(recording.samples_N[at : at + len(heard_N)], heard_N)
    assert held.pace() == 0.01


def speech_encoder(tmp_path, name: str):
    torch.manual_seed(0)
    if name == "whisper":
        sizes = {"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "max_source_positions": 100}
        others = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 9, "num_mel_bins": 8}
        tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
        parts = t.WhisperModel(t.WhisperConfig(**sizes, **others, **tokens)), t.WhisperFeatureExtractor(8, chunk_length=2)
    else:
        words = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "conv_dim": (4, 4, 4)}
        config = t.HubertConfig(
            **words, conv_kernel=(10, 3, 3), conv_stride=(5, 4, 4), num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2
        )
        parts = t.HubertModel(config), t.Wav2Vec2FeatureExtractor()
    for part in parts:
        part.save_pretrained(tmp_path / name)
    return {"kind": "pretrained", "name": str(tmp_path / name)}


@pytest.mark.parametrize(
    ("name", "frame"), [("cnn", 0.04), ("transformer", 0.03), ("whisper", 0.02), ("hubert", 0.005), ("bands", None), ("windows", None)]
)
def test_a_token_lasts_as_long_as_encoder_and_preparation_say(tmp_path, name, frame):
    encoder = {
        "cnn": {"kind": "cnn", "widths": [4, 4], "width": 8},
        "transformer": {"kind": "transformer", "patch_frames": 3, "width": 8, "heads": 2, "depth": 1},
        "bands": {"kind": "transformer", "patch_bins": 8, "width": 8, "heads": 2, "depth": 1},
    }
    room, base = rooms()["audio"], name in ("whisper", "hubert", "windows")
    prepare = {"windows": 3} if name == "windows" else {} if base else {"rate": 16_000, "bins": 16, "normalize": "clip"}
    chosen = speech_encoder(tmp_path, name if name != "windows" else "hubert") if base else encoder[name]
    settings = parse(room.Input, {"modality": "audio", "prepare": prepare, "encoder": chosen}, "test")
    preparation = room.preparation(settings)
    made = room.encoder(settings, preparation.facts()).eval()
    if frame is None:
        assert made.stride is None or preparation.pace() == 0
        return
    assert made.stride * preparation.pace() == pytest.approx(frame)
    sound = Recording(np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32), 16_000)
    with torch.no_grad():
        encoded = made(preparation.collate(preparation.prepare([sound])))
    assert abs(int(encoded.mask_BT.sum()) * frame - 1.0) < 0.06
