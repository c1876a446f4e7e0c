"""Variants of sound mean what they say: measured in hertz, seconds and decibels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.modalities.audio.augment import augmenter, masked, noise, stretches
from triptych.modalities.audio.read import Recording
from triptych.modalities.audio.settings import Gain, Input, Noise, PitchShift, SpecAugment


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float = 440.0, seconds: float = 1.0, rate: int = 16000) -> Recording:
    time_N = np.arange(round(seconds * rate)) / rate
    return Recording((0.3 * np.sin(2 * np.pi * hertz * time_N)).astype(np.float32), rate)


def peak(recording: Recording) -> float:
    count = 1 << 18
    spectrum = np.abs(np.fft.rfft(recording.samples_N * np.hanning(len(recording.samples_N)), count))
    return float(spectrum.argmax() * recording.rate / count)


def varied(recording: Recording, steps: list, seed: int = 0, **prepare) -> Recording:
    return augmenter(Input(augment=steps, prepare=prepare)).values([recording], [rng(seed)])[0]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("semitones", "hertz"), [(12, 880.0), (-12, 220.0), (0, 440.0), (7, 659.26)])
def test_a_tone_goes_up_by_so_many_semitones_and_stays_as_long(rate, semitones, hertz):
    given_tone = tone(rate=rate)
    made = varied(given_tone, [{"pitch_shift": {"semitones": semitones, "chance": 1}}])
    assert len(made.samples_N) == len(given_tone.samples_N) and made.rate == rate
    assert peak(made) == pytest.approx(hertz, rel=0.01)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_a_tone_is_stretched_by_the_factor_at_its_pitch(factor):
    made = varied(tone(seconds=0.7), [{"time_stretch": {"factor": factor, "chance": 1}}])
    assert made.seconds == pytest.approx(0.7 * factor, abs=1e-4)
    assert peak(made) == pytest.approx(440, rel=0.01)


def test_what_happens_when_stays_in_proportion():
    click_N = np.zeros(16000, np.float32)
    click_N[8000:8100] = 0.9
    made = varied(Recording(click_N, 16000), [{"time_stretch": {"factor": 1.25, "chance": 1}}])
    assert np.abs(made.samples_N).argmax() == pytest.approx(1.25 * 8050, abs=300)


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr", [0, 10, 30])
def test_noise_is_as_loud_as_asked(snr, colour):
    clean = tone()
    found = noise(clean, Noise(snr=snr, colour=colour), rng())
    left_N = found.samples_N.astype(np.float64)
    clean_N = clean.samples_N.astype(np.float64)
    share = left_N @ clean_N / (clean_N @ clean_N)  # what is louder than 1 was scaled down as a whole
    added_N = left_N / share - clean_N
    assert 10 * np.log10(np.mean(clean_N**2) / np.mean(added_N**2)) == pytest.approx(snr, abs=0.3)


def test_pink_noise_has_as_much_in_every_octave():
    quiet = Recording(np.full(1 << 16, 1e-3, np.float32), 16000)
    power = np.abs(np.fft.rfft(noise(quiet, Noise(snr=-60, colour="pink"), rng()).samples_N)) ** 2
    octaves = [power[1 << k : 2 << k].sum() for k in range(8, 14)]
    assert max(octaves) / min(octaves) < 1.5


def test_gain_is_in_decibels_and_never_clips():
    one = Recording(np.array([0.1, -0.2, 0.4], np.float32), 8000)
    softer = varied(one, [{"gain": {"db": -6, "chance": 1}}])
    assert softer.samples_N == pytest.approx(one.samples_N * 10 ** (-6 / 20))
    louder = varied(one, [{"gain": {"db": 40, "chance": 1}}])
    assert louder.samples_N == pytest.approx(one.samples_N / 0.4)


@pytest.mark.parametrize(("time", "bands", "masks"), [(0.2, 0.25, 2), (0.5, 0, 3), (0, 0.5, 1), (0.1, 0.1, 50)])
def test_the_share_asked_for_is_hidden(time, bands, masks):
    item = {"features": torch.randn(200, 40), "other": torch.ones(3)}
    before = item["features"].clone()
    made = masked(item, SpecAugment(time=time, bands=bands, masks=masks), rng(3))
    hidden = made["features"] == before.mean()
    assert hidden.all(1).float().mean() == pytest.approx(time, abs=1e-6)
    assert hidden.all(0).float().mean() == pytest.approx(bands, abs=1e-6)
    assert torch.equal(made["features"][~hidden], before[~hidden])
    assert torch.equal(item["features"], before) and made["other"] is item["other"]


@given(st.integers(1, 300), st.floats(0, 0.99), st.integers(1, 20), st.integers(0, 1000))
def test_stretches_never_overlap_and_never_hide_all(count, share, pieces, seed):
    found = stretches(count, share, pieces, rng(seed))
    hidden = {place for start, stop in found for place in range(start, stop)}
    assert len(hidden) == sum(stop - start for start, stop in found) == min(round(share * count), count - 1)
    assert not hidden or (min(hidden) >= 0 and max(hidden) < count)


ALL = [{name: {"chance": 1}} for name in ("pitch_shift", "time_stretch", "noise", "gain")]


@settings(max_examples=30)
@given(st.integers(0, 2000), st.sampled_from([0.0, 1e-6, 1.0]), st.sampled_from([8000, 48000]), st.integers(0, 10**6))
def test_any_sound_stays_a_sound_and_a_seed_decides(length, loud, rate, seed):
    samples_N = (loud * rng(seed).uniform(-1, 1, max(length, 1))).astype(np.float32)
    made, again = (varied(Recording(samples_N, rate, "a.wav"), ALL, seed) for _ in range(2))
    assert np.array_equal(made.samples_N, again.samples_N)
    assert made.samples_N.dtype == np.float32 and made.samples_N.ndim == 1 and len(made.samples_N) > 0
    assert np.isfinite(made.samples_N).all() and np.abs(made.samples_N).max() <= 1
    assert (made.rate, made.name) == (rate, "a.wav")
    assert loud or not made.samples_N.any()  # silence stays silent


def test_only_what_is_seen_of_an_hour_is_changed():
    hour = Recording(np.zeros(8000 * 600, np.float32), 8000)
    made = varied(hour, [{"time_stretch": {"factor": [0.5, 2], "chance": 1}}], seconds=2)
    assert made.seconds <= 2 / 0.5 * 2
    whole = varied(hour, [{"gain": {"chance": 1}}], trim_silence=True)  # what is at its ends is known only when all is looked at
    assert whole.seconds == hour.seconds


def test_a_chance_is_a_share_of_the_variants():
    many = [varied(tone(seconds=0.01), [{"gain": {"db": -6, "chance": 0.3}}], seed).samples_N.max() for seed in range(400)]
    assert np.mean(np.array(many) < 0.2) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("pich_shift", "pitch_shift"),
        ({"noise": {"snr": [30, 10]}}, "lower one"),
        ({"noise": 3}, "is a mapping"),
        ({"pitch_shift": {"semitones": 90}}, "three octaves"),
        ({"time_stretch": {"factor": 0}}, "quarter"),
        ({"noise": {"sn": 3}}, "snr"),
        ({"gain": {"chance": 2}}, "chance"),
        (3, "augment"),
    ],
)
def test_a_wrong_word_is_answered(words, says):
    with pytest.raises(InputError) as caught:
        parse(Input, {"augment": [words]}, "recipe.yaml")
    assert says in str(caught.value)


def test_short_forms_stand_for_long_ones():
    short = parse(Input, {"augment": ["gain", {"noise": {"snr": 5}, "pitch_shift": None}]}, "recipe.yaml")
    assert short.augment == [Gain(), Noise(snr=(5, 5)), PitchShift()]
    assert parse(Input, {"augment": "gain"}, "recipe.yaml").augment == [Gain()]
    assert parse(Input, short.model_dump(mode="json"), "again").augment == short.augment


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "python_stretch", None)
    augmenter(Input(augment=["gain"]))
    with pytest.raises(InputError, match=r"triptych\[augment\]"):
        augmenter(Input(augment=["pitch_shift"]))
