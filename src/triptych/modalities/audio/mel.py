"""Mel bands: how they are spaced, the matrices that make them, and the kinds that pretrained towers were trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

LOGS: dict[str, Callable[[Tensor], Tensor]] = {
    "ln": torch.Tensor.log_,
    "log10": torch.Tensor.log10_,
    "db": lambda power: power.log10_().mul_(10.0),
}


@dataclass(frozen=True)
class MelSpec:
    """How a log-mel spectrogram is computed: periodic Hann window, centred frames, edges reflected, power spectrum."""

    rate: int
    n_fft: int  # even
    hop: int
    bins: int
    window: int = 0  # samples, centred in n_fft; 0: n_fft
    f_min: float = 0.0  # Hz
    f_max: float = 0.0  # Hz; 0: half the rate
    scale: Literal["htk", "slaney"] = "slaney"
    area_norm: bool = True  # divide each band by its width in Hz, as Slaney's Auditory Toolbox does
    log: Literal["ln", "log10", "db"] = "ln"
    floor: float = 1e-10  # least power of a band
    double: bool = False  # Fourier transform in float64: exact to 1e-4 dB even 100 dB below the loudest band

    @property
    def silence(self) -> float:
        """The value of a band that hears nothing."""
        return float(LOGS[self.log](torch.tensor([self.floor], dtype=torch.float64)))


CLAP = MelSpec(rate=48_000, n_fft=1024, hop=480, bins=64, f_max=14_000, log="db", double=True)
"""What CLAP towers without fusion were trained on (Wu et al. 2023; librosa's filters)."""

WHISPER = MelSpec(rate=16_000, n_fft=400, hop=160, bins=80, log="log10")
"""What Whisper was trained on (Radford et al. 2022)."""


@lru_cache(maxsize=16)
def tables(spec: MelSpec) -> tuple[Tensor, Tensor, int, int]:
    """The window, and the mel bank cut to the Fourier bins it hears at all (from the first, before the last)."""
    bank_KF = mel_bank(spec)
    heard = np.flatnonzero(bank_KF.any(1))
    first, last = (int(heard[0]), int(heard[-1]) + 1) if len(heard) else (0, 1)
    size = spec.window or spec.n_fft
    window = torch.hann_window(size, periodic=True, dtype=torch.float64)
    before = (spec.n_fft - size) // 2
    window_N = torch.nn.functional.pad(window, (before, spec.n_fft - size - before))
    return window_N if spec.double else window_N.float(), torch.from_numpy(bank_KF[first:last]).float(), first, last


def mel_bank(spec: MelSpec) -> np.ndarray:
    """Triangular bands (K, F), evenly spaced on the mel scale (Davis and Mermelstein 1980), K = n_fft / 2 + 1."""
    ends = _mels(np.array([spec.f_min, spec.f_max or spec.rate / 2]), spec.scale)
    edges = _hertz(np.linspace(ends[0], ends[1], spec.bins + 2), spec.scale)
    bins = np.linspace(0, spec.rate // 2, spec.n_fft // 2 + 1)
    slopes = edges[None, :] - bins[:, None]
    rising, falling = -slopes[:, :-2] / np.diff(edges)[:-1], slopes[:, 2:] / np.diff(edges)[1:]
    bank_KF = np.maximum(0.0, np.minimum(rising, falling))
    return bank_KF * (2.0 / (edges[2:] - edges[:-2])) if spec.area_norm else bank_KF


def _mels(hertz: np.ndarray, scale: str) -> np.ndarray:
    """htk: O'Shaughnessy's formula; slaney: linear below 1 kHz, logarithmic above (Slaney 1998)."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    return np.where(hertz < 1000.0, hertz * 3 / 200, 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) * 27.0 / np.log(6.4))


def _hertz(mels: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    return np.where(mels < 15.0, mels * 200 / 3, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))


@lru_cache(maxsize=16)
def cosines(bins: int, coefficients: int) -> Tensor:
    """Orthonormal DCT-II as a matrix (F, C)."""
    angles = np.pi / bins * (np.arange(bins)[:, None] + 0.5) * np.arange(coefficients)[None, :]
    basis = np.cos(angles) * np.sqrt(2.0 / bins)
    basis[:, 0] /= np.sqrt(2.0)
    return torch.from_numpy(basis).float()
