"""Features: equal to the extractors of transformers, to scipy, and to themselves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from transformers import ClapFeatureExtractor, WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from triptych.modalities.audio import features
from triptych.modalities.audio.features import clap_features, log_mel, mfcc, whisper_features
from triptych.modalities.audio.mel import CLAP, MelSpec, mel_bank

CLAP_LENGTHS = (600, 48_000, 100_001, 239_999, 240_000, 479_700, 479_999, 480_000)
WHISPER_LENGTHS = (1, 150, 201, 1600, 16_000, 123_457, 479_700, 479_950, 479_999, 480_000, 500_000)


def clips(lengths: tuple[int, ...], rate: int) -> list[np.ndarray]:
    """Tones with overtones that fade to digital silence and back, over next to no noise: 100 dB between bands."""
    rng = np.random.default_rng(0)
    made = []
    for length in lengths:
        t = np.arange(length) / rate
        tone = sum(np.sin(2 * np.pi * rng.uniform(80, 300) * k * t) / k for k in range(1, 12))
        made.append((0.2 * tone * np.clip(np.sin(5 * t + 1), 0, 1) + 1e-5 * rng.standard_normal(length) * (t < 3)).astype(np.float32))
    return made


@pytest.mark.parametrize("padding", ["repeatpad", "pad"])
def test_clap_equals_transformers(padding: str) -> None:
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding=padding)
    waves = clips(CLAP_LENGTHS, 48_000)
    wanted = extractor(waves, sampling_rate=48_000, return_tensors="pt")["input_features"]
    made = clap_features(waves, padding=padding)
    assert made.dtype == wanted.dtype
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bins", [80, 128])
def test_whisper_equals_transformers(bins: int) -> None:
    waves = [*clips(WHISPER_LENGTHS, 16_000), np.zeros(5000, np.float32)]
    wanted = WhisperFeatureExtractor(feature_size=bins)(waves, sampling_rate=16_000, return_tensors="pt")["input_features"]
    made = whisper_features(waves, MelSpec(rate=16_000, n_fft=400, hop=160, bins=bins, log="log10"))
    assert made.dtype == wanted.dtype
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-4)


def test_longer_than_clap_hears_takes_the_middle() -> None:
    long = clips((500_000,), 48_000)[0]
    torch.testing.assert_close(clap_features([long]), clap_features([long[10_000:490_000]]))


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize("length", [1, 2, 100, 513, 20_000])
def test_log_mel_equals_a_reference_frame_by_frame(scale: str, norm: str | None, length: int) -> None:
    wave = clips((length,), 22_050)[0]
    bands = {"f_min": 50, "f_max": 9_000, "scale": scale, "area_norm": bool(norm)}
    spec = MelSpec(rate=22_050, n_fft=512, hop=220, bins=40, window=500, double=True, **bands)
    bank = mel_filter_bank(257, 40, 50, 9_000, 22_050, norm=norm, mel_scale=scale)
    np.testing.assert_allclose(mel_bank(spec), bank, atol=1e-12)
    wanted = spectrogram(wave, window_function(500, "hann", frame_length=512), 512, 220, power=2.0, mel_filters=bank, log_mel="log")
    np.testing.assert_allclose(log_mel([wave], spec)[0].numpy(), wanted.T, atol=1e-4)


def test_mfcc_equals_scipy() -> None:
    spec = MelSpec(rate=16_000, n_fft=512, hop=160, bins=40)
    waves = clips((16_000, 3_000), 16_000)
    for made, mel in zip(mfcc(waves, spec, 13), log_mel(waves, spec), strict=True):
        np.testing.assert_allclose(made.numpy(), dct(mel.numpy(), type=2, norm="ortho", axis=1)[:, :13], atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_clips_equal_each_alone_on_any_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = MelSpec(rate=16_000, n_fft=512, hop=160, bins=40)
    waves = clips((1, 5, 160, 511, 512, 513, 16_000, 40_001), 16_000)
    alone = [log_mel([wave], spec)[0] for wave in waves]
    monkeypatch.setattr(features, "GROUP_SAMPLES", 10_000)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = log_mel(waves, spec)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other, wave in zip(alone, together, waves, strict=True):
        assert len(one) == 1 + len(wave) // 160
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_tensors_and_no_clips_and_no_samples() -> None:
    wave = clips((4800,), 48_000)[0]
    torch.testing.assert_close(clap_features([torch.from_numpy(wave)]), clap_features([wave]))
    assert log_mel([], CLAP) == []
    assert clap_features([]).shape == (0, 1, 1001, 64)
    for wrong in (np.zeros(0), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="one dimension and at least one sample"):
            log_mel([wrong], CLAP)
