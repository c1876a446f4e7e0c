"""Preparation and settings: same sound, same tensors; what is learnt is kept; what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from triptych.base.errors import InputError
from triptych.base.settings import parse, spelled_out
from triptych.modalities.audio import MODALITY
from triptych.modalities.audio.prepare import Features, wave
from triptych.modalities.audio.read import Recording


def recording(seconds: float, rate: int = 16_000, seed: int = 0) -> Recording:
    rng = np.random.default_rng(seed)
    n = max(1, round(seconds * rate))
    t = np.arange(n) / rate
    return Recording((0.3 * np.sin(2 * np.pi * (300 + 100 * seed) * t) + 0.01 * rng.standard_normal(n)).astype(np.float32), rate)


def recipe(**prepare: Any) -> Any:
    return parse(MODALITY.Input, {"modality": "audio", "prepare": prepare}, "recipe.yaml").prepare


LENGTHS = [(0.5, 16_000), (2.0, 44_100), (0.2, 8_000), (1e-9, 192_000), (12, 22_050), (0.7, 48_000)]
MIXED = [recording(seconds, rate, seed) for seed, (seconds, rate) in enumerate(LENGTHS)]


KINDS = [{}, {"features": "mfcc"}, {"normalize": "clip"}, {"normalize": "none", "trim_silence": True}, {"rate": 8_000, "hop_ms": 20}]


@pytest.mark.parametrize("prepare", KINDS)
def test_together_equals_alone_and_again(prepare: dict[str, Any]) -> None:
    made = Features(recipe(**prepare))
    made.fit(iter(MIXED))
    together = made.prepare(MIXED)
    for value, item in zip(MIXED, together, strict=True):
        assert item["features"].dtype == torch.float32
        assert item["features"].shape[1] == made.facts()["features"]
        torch.testing.assert_close(made.prepare([value])[0]["features"], item["features"], rtol=0, atol=1e-5)
    torch.testing.assert_close(made.prepare(MIXED)[2]["features"], together[2]["features"], rtol=0, atol=0)


def test_lengths_follow_the_sound_up_to_the_longest() -> None:
    made = Features(recipe(normalize="none", seconds=2, hop_ms=10))
    assert [len(item["features"]) for item in made.prepare([recording(0.5), recording(30), recording(1e-9, 192_000)])] == [51, 201, 1]


def test_of_a_long_recording_the_middle_is_seen() -> None:
    samples = np.concatenate([np.zeros(16_000), np.full(16_000, 0.5), np.zeros(16_000)]).astype(np.float32)
    np.testing.assert_array_equal(wave(Recording(samples, 16_000), recipe(seconds=1)), samples[16_000:32_000])


def test_silent_ends_are_trimmed_and_silence_is_not() -> None:
    sound = np.concatenate([np.zeros(4000), np.full(1000, 0.5), np.zeros(500), np.full(100, 0.3), np.full(4000, 1e-4)]).astype(np.float32)
    assert len(wave(Recording(sound, 16_000), recipe(trim_silence=True))) == 1600
    assert len(wave(Recording(np.zeros(777, np.float32), 16_000), recipe(trim_silence=True))) == 777


def test_data_normalization_gives_mean_zero_and_deviation_one() -> None:
    made = Features(recipe())
    rows = [recording(1, seed=n) for n in range(6)]
    made.fit(rows)
    frames = torch.cat([item["features"] for item in made.prepare(rows)])
    torch.testing.assert_close(frames.mean(0), torch.zeros(64), atol=1e-3, rtol=0)
    torch.testing.assert_close(frames.std(0), torch.ones(64), atol=1e-2, rtol=0)


def test_clip_normalization_removes_the_loudness() -> None:
    made = Features(recipe(normalize="clip"))
    one = recording(1)
    quiet = Recording(one.samples_N * np.float32(0.2), one.rate)
    first, second = (item["features"] for item in made.prepare([one, quiet]))
    torch.testing.assert_close(first, second, atol=1e-2, rtol=0)


def test_collate_pads_to_the_longest_of_the_batch() -> None:
    made = Features(recipe(normalize="none"))
    items = made.prepare([recording(0.2), recording(0.5)])
    packed = made.collate(items)
    assert packed.tensors["features"].shape == (2, 51, 64)
    assert packed.mask_PT is not None
    assert packed.mask_PT.sum(1).tolist() == [21, 51]
    assert not packed.tensors["features"][0, 21:].any()


def test_saved_and_loaded_prepares_the_same(tmp_path: Path) -> None:
    made, again = Features(recipe()), Features(recipe())
    made.fit(MIXED)
    made.save(tmp_path)
    again.load(tmp_path)
    for one, other in zip(made.prepare(MIXED), again.prepare(MIXED), strict=True):
        torch.testing.assert_close(one["features"], other["features"], rtol=0, atol=0)


def test_what_is_missing_or_damaged_is_said(tmp_path: Path) -> None:
    made = Features(recipe())
    with pytest.raises(InputError, match="not learnt its mean"):
        made.prepare([recording(0.1)])
    with pytest.raises(InputError, match="no training row has a sound"):
        made.fit([])
    with pytest.raises(InputError, match="missing"):
        made.load(tmp_path)
    for damaged in ("{", "[]", "{}", json.dumps({"mean": [1, 2], "std": None}), json.dumps({"mean": ["a"] * 64, "std": [1] * 64})):
        (tmp_path / "prepare.json").write_text(damaged)
        with pytest.raises(InputError, match="damaged"):
            made.load(tmp_path)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"prepare": {"bins": 400}}, "cannot tell 400 mel bands apart; use `bins` of 192 or fewer"),
        ({"prepare": {"features": "mfcc", "coefficients": 65}}, "cannot keep 65 coefficients of 64"),
        ({"prepare": {"hop_ms": 50}}, "would never be seen"),
        ({"prepare": {"rate": 100}}, "greater than or equal to 4000"),
        ({"prepare": {"feature": "mfcc"}}, "unknown field 'feature'"),
        ({"encoder": "cnnn"}, "unknown encoder 'cnnn'"),
        ({"encoder": {"kind": "transformer", "heads": 3}}, "`width` 128 is not divisible by `heads` 3"),
        ({"encoder": {"kind": "transformer", "width": 9, "heads": 3}}, "odd"),
        ({"encoder": {"kind": "cnn", "widths": []}}, "at least 1"),
        ({"encoder": {"kind": "cnn", "widths": [0]}}, "greater than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(tree: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        parse(MODALITY.Input, {"modality": "audio", **tree}, "recipe.yaml")


def test_as_many_bins_as_allowed_all_hear_something() -> None:
    for rate, window in ((16_000, 25), (8_000, 25), (4_000, 25), (48_000, 10)):
        most = recipe(rate=rate, window_ms=window, hop_ms=10, bins=20)._most_bins()
        made = Features(recipe(rate=rate, window_ms=window, hop_ms=10, bins=min(512, most), normalize="none"))
        noise = Recording(np.random.default_rng(0).uniform(-1, 1, rate).astype(np.float32), rate)
        assert float(made.prepare([noise])[0]["features"].amax(0).min()) > -15


def test_settings_come_back_from_what_is_spelled_out() -> None:
    for encoder in ("cnn", "transformer", {"kind": "transformer", "patch_bins": 16}):
        first = parse(MODALITY.Input, {"modality": "audio", "encoder": encoder}, "a")
        assert parse(MODALITY.Input, spelled_out(first), "b") == first


def test_suggestions() -> None:
    assert MODALITY.suggest([]) == {}
    assert MODALITY.suggest([recording(0.8)] * 30 + [recording(20, 44_100)]) == {"prepare": {"rate": 16_000, "seconds": 1.0}}
    assert MODALITY.suggest([recording(7, 8_000)]) == {"prepare": {"rate": 8_000, "seconds": 8.0}}
    assert MODALITY.suggest([recording(40, 4_000)]) == {"prepare": {"rate": 4_000, "seconds": 30.0}}
    assert parse(MODALITY.Input, MODALITY.suggest([recording(1, 2_000)]), "a").prepare.rate == 4_000
