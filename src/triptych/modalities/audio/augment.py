"""Variants of a recording (another pitch, tempo, loudness, noise) and of its prepared features (hidden stretches)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.contract.augment import Chain, Step
from triptych.contract.values import Item
from triptych.modalities.audio.features import middle
from triptych.modalities.audio.read import Recording
from triptych.modalities.audio.settings import Gain, Noise, PitchShift, Prepare, SpecAugment, TimeStretch

SEEDS = 2**31


def augmenter(settings: Any) -> Chain:
    """What an input's `augment` does.

    Raises:
        InputError: the package that changes pitch and tempo is not installed.
    """
    for step in settings.augment:
        if step.kind in ("pitch_shift", "time_stretch"):
            need("python_stretch", extra="augment", why=f"augment: {step.kind}")
    on_values: list[tuple[Step, Any]] = [(step, _CHANGES[step.kind]) for step in settings.augment if step.kind in _CHANGES]
    if on_values and (most := _most_seconds(settings)) is not None:
        on_values.insert(0, (Step(kind="middle", chance=1), lambda recording, step, rng: _shorter(recording, most)))
    return Chain(on_values, [(step, masked) for step in settings.augment if isinstance(step, SpecAugment)])


def _most_seconds(settings: Any) -> float | None:
    """How much of a recording's middle is enough, however it is stretched; None where all of it must be looked at."""
    prepare = settings.prepare
    if not isinstance(prepare, Prepare) or prepare.trim_silence:
        return None
    shrinks = np.prod([min(1.0, step.factor[0]) for step in settings.augment if isinstance(step, TimeStretch)])
    return float(prepare.seconds / shrinks)


def _shorter(recording: Recording, seconds: float) -> Recording:
    """What preparation would cut away is not worth changing: the same frames are left in the end, of an hour as of a minute."""
    most = max(1, round(seconds * recording.rate))
    return recording if len(recording.samples_N) <= most else replace(recording, samples_N=middle(recording.samples_N, most))


def pitch_shift(recording: Recording, step: PitchShift, rng: np.random.Generator) -> Recording:
    """As many samples, at another pitch."""
    semitones = rng.uniform(*step.semitones)
    made_N = _stretched(recording, rng, semitones=semitones)
    return replace(recording, samples_N=_fitted(made_N, len(recording.samples_N)))


def time_stretch(recording: Recording, step: TimeStretch, rng: np.random.Generator) -> Recording:
    """`factor` times as many samples, and at least one, at the same pitch."""
    factor = rng.uniform(*step.factor)
    made_N = _stretched(recording, rng, factor=factor)
    return replace(recording, samples_N=_fitted(made_N, max(1, round(factor * len(recording.samples_N)))))


def _stretched(recording: Recording, rng: np.random.Generator, semitones: float = 0.0, factor: float = 1.0) -> np.ndarray:
    """By Signalsmith Stretch, a phase vocoder that follows the peaks of the spectrum; phases it must invent come from the seed."""
    from python_stretch import Signalsmith

    engine = Signalsmith.Stretch(int(rng.integers(SEEDS)))
    engine.preset(1, recording.rate)
    engine.setTransposeSemitones(semitones)
    engine.setTimeFactor(1 / factor)
    made_N = np.asarray(engine.process(np.ascontiguousarray(recording.samples_N, np.float32)[None]), np.float32)[0]
    return _within(made_N) if np.isfinite(made_N).all() else recording.samples_N


def _fitted(samples_N: np.ndarray, count: int) -> np.ndarray:
    """So many samples: a few too many are cut off, a few too few are silent."""
    return np.pad(samples_N[:count], (0, max(0, count - len(samples_N))))


def noise(recording: Recording, step: Noise, rng: np.random.Generator) -> Recording:
    """With noise whose power is `snr` decibels below the recording's mean power."""
    samples_N = recording.samples_N
    snr, noise_N = rng.uniform(*step.snr), _NOISES[step.colour](len(samples_N), rng)
    power, own = float(np.mean(np.square(samples_N, dtype=np.float64))), float(np.mean(np.square(noise_N)))
    if not power or not own:
        return recording
    loud_N = noise_N * np.sqrt(power / own / 10 ** (snr / 10))
    return replace(recording, samples_N=_within((samples_N + loud_N).astype(np.float32)))


def _white(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(count)


def _pink(count: int, rng: np.random.Generator) -> np.ndarray:
    """White noise whose power falls with the frequency: 3 dB an octave."""
    spectrum_F = np.fft.rfft(rng.standard_normal(count))
    spectrum_F[1:] /= np.sqrt(np.arange(1, len(spectrum_F)))
    spectrum_F[0] = spectrum_F[0] if count == 1 else 0
    return np.fft.irfft(spectrum_F, count)


def gain(recording: Recording, step: Gain, rng: np.random.Generator) -> Recording:
    """Every sample times one number, at most so large that the loudest is 1."""
    factor = np.float32(10 ** (rng.uniform(*step.db) / 20))
    return replace(recording, samples_N=_within(recording.samples_N * factor))


def _within(samples_N: np.ndarray) -> np.ndarray:
    """Scaled down to -1..1 where it is louder."""
    peak = np.float32(np.abs(samples_N).max(initial=0))
    return samples_N / peak if peak > 1 else samples_N


def masked(item: Item, step: SpecAugment, rng: np.random.Generator) -> Item:
    """The features (..., T, F) with hidden frames and hidden bands; what is hidden is the item's own mean.

    Raises:
        InputError: the encoder hears the wave itself.
    """
    if "features" not in item:
        what = "spec_augment hides parts of a spectrogram, and this encoder hears the wave itself"
        raise InputError(what, fix="remove spec_augment; noise, gain, pitch_shift and time_stretch change the wave")
    features_TF = item["features"].clone()
    mean = features_TF.mean()
    for axis, share in ((-2, step.time), (-1, step.bands)):
        for start, stop in stretches(features_TF.shape[axis], share, step.masks, rng):
            features_TF.narrow(axis, start, stop - start).fill_(mean)
    return {**item, "features": features_TF}


def stretches(count: int, share: float, pieces: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Where up to `pieces` stretches lie that hide `share` of `count` places together; they never overlap, and never hide all."""
    hidden = min(round(share * count), count - 1)
    pieces = min(pieces, hidden)
    if hidden <= 0:
        return []
    sizes = [hidden // pieces + (number < hidden % pieces) for number in range(pieces)]
    gaps = np.sort(rng.integers(0, count - hidden + 1, pieces))
    starts = gaps + np.cumsum([0, *sizes[:-1]])
    return [(int(start), int(start) + size) for start, size in zip(starts, sizes, strict=True)]


_NOISES: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {"white": _white, "pink": _pink}
_CHANGES: dict[str, Any] = {"pitch_shift": pitch_shift, "time_stretch": time_stretch, "noise": noise, "gain": gain}
