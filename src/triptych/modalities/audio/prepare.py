"""Recordings -> log-mel or MFCC features, many at once, always the same for the same sound."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.base.files import write_json
from triptych.contract.modality import Limit
from triptych.contract.values import Item, Packed
from triptych.modalities.audio.features import log_mel, mfcc, middle
from triptych.modalities.audio.mel import MelSpec
from triptych.modalities.audio.read import Recording
from triptych.modalities.audio.settings import Prepare

ABOUT = "prepare.json"
GROUP = 64  # recordings looked at together while fitting
FLOOR = 1e-8  # least power of a band: some 90 dB below speech at full scale, so that digital silence is no outlier
SILENCE = 10 ** (-50 / 20)  # of the peak
LEAST_DEVIATION = 1e-3  # a feature that never changes is not blown up
TIDY_SECONDS = (0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)


class Features:
    """Implements `contract.modality.Preparation` for sound. Item: {"features": (T, F) float32}, T frames of F features."""

    def __init__(self, settings: Prepare) -> None:
        """Not fitted yet; where `settings.normalize` is not "data" there is nothing to fit."""
        self.settings = settings
        self.mean_F: Tensor | None = None
        self.std_F: Tensor | None = None

    def fit(self, values: Iterable[Recording]) -> None:
        """Learn each feature's mean and deviation over all frames of the training rows.

        Raises:
            InputError: there are no training rows to learn from.
        """
        if self.settings.normalize != "data":
            return
        count = 0
        total_F, squares_F = (torch.zeros(self.settings.size, dtype=torch.float64) for _ in range(2))
        for group in _groups(values):
            for features_TF in self._computed(group):
                exact_TF = features_TF.double()
                count, total_F, squares_F = count + len(exact_TF), total_F + exact_TF.sum(0), squares_F + exact_TF.square().sum(0)
        if not count:
            fix = "check the column and the split, or set normalize: clip"
            raise InputError("no training row has a sound, so its mean cannot be learnt", fix=fix)
        mean_F = total_F / count
        deviation_F = (squares_F / count - mean_F.square()).clamp(min=0).sqrt()
        self.mean_F, self.std_F = mean_F.float(), deviation_F.clamp(min=LEAST_DEVIATION).float()

    def prepare(self, values: Sequence[Recording]) -> list[Item]:
        """Recordings -> items; clips of any lengths together, no frame of padding is computed."""
        return [{"features": self._normalized(features_TF)} for features_TF in self._computed(values)]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> {"features": (P, T, F)}, padded with zeros to the longest, and the mask of real frames."""
        lengths_P = torch.tensor([len(item["features"]) for item in items])
        features_PTF = torch.nn.utils.rnn.pad_sequence([item["features"] for item in items], batch_first=True)
        return Packed({"features": features_PTF}, torch.arange(features_PTF.shape[1])[None, :] < lengths_P[:, None])

    def pace(self) -> float:
        """The hop."""
        return self.settings.hop / self.settings.rate

    def begins(self, value: Recording) -> float:
        """What is cut off in front."""
        return begin(value, self.settings, self.settings.seconds)

    def limit(self) -> Limit:
        """`seconds`."""
        return Limit("seconds", "seconds", self.settings.seconds, 0.1, learnt=False)

    def lengths(self, values: Iterable[Recording]) -> list[float]:
        """Seconds of each recording, without the silent ends that are dropped."""
        trim = self.settings.trim_silence
        return [len(trimmed(value.samples_N) if trim else value.samples_N) / value.rate for value in values]

    def facts(self) -> dict[str, int]:
        """`features`: numbers a frame."""
        return {"features": self.settings.size}

    def save(self, folder: Path) -> None:
        """Write `prepare.json`."""
        learnt = {"mean": _listed(self.mean_F), "std": _listed(self.std_F)}
        write_json(folder / ABOUT, {"features": self.settings.size, **learnt})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or of another number of features.
        """
        path = folder / ABOUT
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self.mean_F, self.std_F = (_tensor(about[name], self.settings.size) for name in ("mean", "std"))
        except FileNotFoundError as error:
            fix = "copy the whole run folder, or train again"
            raise InputError("what the preparation of the sound learnt is missing", where=str(path), fix=fix) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            fix = "copy the run folder again, or train again"
            raise InputError(f"the preparation of the sound is damaged: {error}", where=str(path), fix=fix) from error

    @property
    def spec(self) -> MelSpec:
        """How the mel bands are computed."""
        s = self.settings
        return MelSpec(rate=s.rate, n_fft=s.n_fft, hop=s.hop, bins=s.bins, window=s.window, floor=FLOOR)

    def _computed(self, values: Sequence[Recording]) -> list[Tensor]:
        waves = [wave(value, self.settings) for value in values]
        if self.settings.features == "mfcc":
            return mfcc(waves, self.spec, self.settings.size)
        return log_mel(waves, self.spec)

    def _normalized(self, features_TF: Tensor) -> Tensor:
        if self.settings.normalize == "none":
            return features_TF
        if self.settings.normalize == "clip":
            return features_TF - features_TF.mean(0)
        if self.mean_F is None or self.std_F is None:
            fix = "call fit with the training rows, or load, first"
            raise InputError("the preparation of the sound has not learnt its mean yet", fix=fix)
        return (features_TF - self.mean_F) / self.std_F


def wave(recording: Recording, settings: Prepare) -> np.ndarray:
    """The samples that are looked at: without silent ends, no longer than allowed (the middle part), at the wanted rate."""
    samples_N = recording.samples_N
    if settings.trim_silence:
        samples_N = trimmed(samples_N)
    most = max(1, round(settings.seconds * recording.rate))
    return resampled(middle(samples_N, most), recording.rate, settings.rate)


def begin(recording: Recording, settings: Prepare, seconds: float) -> float:
    """Seconds of a recording that lie before what is heard of it: a silent start that is dropped, and what is before the middle."""
    samples_N, silent = recording.samples_N, 0
    if settings.trim_silence:
        loud = np.abs(samples_N)
        silent = int(np.argmax(loud > loud.max() * SILENCE))
        samples_N = trimmed(samples_N)
    return (silent + max(0, len(samples_N) - max(1, round(seconds * recording.rate))) // 2) / recording.rate


def trimmed(samples_N: np.ndarray) -> np.ndarray:
    """Without what is 50 dB or more below the peak at both ends; silence alone stays as it is."""
    loud = np.abs(samples_N)
    heard = np.flatnonzero(loud > loud.max() * SILENCE)
    return samples_N[heard[0] : heard[-1] + 1] if len(heard) else samples_N


def resampled(samples_N: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """The same sound at another rate (libsoxr, high quality), of at least one sample."""
    if rate == wanted:
        return samples_N
    import soxr

    made = np.asarray(soxr.resample(samples_N, rate, wanted, quality="HQ"))
    return made if len(made) else samples_N[:1]


def suggest(values: Sequence[Recording]) -> dict[str, Any]:
    """The most common rate, up to 16 kHz, and a length that 95 of 100 recordings keep whole, up to 30 s."""
    if not values:
        return {}
    rate = Counter(value.rate for value in values).most_common(1)[0][0]
    long = float(np.quantile([value.seconds for value in values], 0.95))
    seconds = next((tidy for tidy in TIDY_SECONDS if tidy >= long), TIDY_SECONDS[-1])
    return {"prepare": {"rate": max(4_000, min(rate, 16_000)), "seconds": float(seconds)}}


def _groups(values: Iterable[Recording]) -> Iterator[list[Recording]]:
    rest = iter(values)
    while group := list(islice(rest, GROUP)):
        yield group


def _listed(numbers: Tensor | None) -> list[float] | None:
    return None if numbers is None else [float(number) for number in numbers]


def _tensor(numbers: Any, size: int) -> Tensor | None:
    if numbers is None:
        return None
    tensor = torch.tensor(numbers, dtype=torch.float32)
    if tensor.shape != (size,) or not bool(tensor.isfinite().all()):
        raise ValueError(f"{size} finite numbers are needed, not {tuple(tensor.shape)}")
    return tensor
