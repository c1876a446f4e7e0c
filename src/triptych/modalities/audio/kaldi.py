"""Kaldi's filter banks of many clips at once, equal to what `ASTFeatureExtractor` computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from triptych.modalities.audio.features import CHUNK_FRAMES

WINDOW, HOP, N_FFT = 400, 160, 512  # samples: 25 and 10 ms at 16 kHz
LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97
FLOOR = 1.192092955078125e-07  # least power of a band: the smallest step of float32 at 1


def fbank(waves: Sequence[np.ndarray], rate: int, bins: int) -> list[Tensor]:
    """N-sample waves at `rate` -> one (T, F) float32 tensor each, T = 1 + (N - 400) // 160; a shorter wave is one frame.

    Each frame loses its mean, is pre-emphasised and windowed (Hann, symmetric); bands are triangles on the mel scale, from 20 Hz
    to half the rate. Frames of all clips are transformed together.
    """
    filled = [torch.from_numpy(np.pad(wave_N, (0, max(0, WINDOW - len(wave_N))))).double() for wave_N in waves]
    frames = [wave_N.unfold(0, WINDOW, HOP) for wave_N in filled]
    made_SF = torch.cat([_bands(part_SN, rate, bins) for part_SN in torch.cat(frames).split(CHUNK_FRAMES)])
    return list(made_SF.split([len(part_TN) for part_TN in frames]))


def _bands(frames_SN: Tensor, rate: int, bins: int) -> Tensor:
    window_N, bank_KF = _tables(rate, bins)
    level_SN = frames_SN - frames_SN.mean(1, keepdim=True)
    risen_SN = torch.cat([level_SN[:, :1] * (1 - PREEMPHASIS), level_SN[:, 1:] - PREEMPHASIS * level_SN[:, :-1]], 1)
    power_SK = torch.fft.rfft(risen_SN * window_N, n=N_FFT).abs().square()
    return (power_SK @ bank_KF).clamp_(min=FLOOR).log_().float()


@lru_cache(maxsize=4)
def _tables(rate: int, bins: int) -> tuple[Tensor, Tensor]:
    """The window, and triangular bands (K, F) whose sides are straight on Kaldi's mel scale."""
    ends = _mels(np.array([LOWEST, rate // 2]))
    edges = np.linspace(ends[0], ends[1], bins + 2)
    slopes = edges[None, :] - _mels(rate / N_FFT * np.arange(N_FFT // 2 + 1))[:, None]
    rising, falling = -slopes[:, :-2] / np.diff(edges)[:-1], slopes[:, 2:] / np.diff(edges)[1:]
    bank_KF = np.maximum(0.0, np.minimum(rising, falling))
    return torch.hann_window(WINDOW, periodic=False, dtype=torch.float64), torch.from_numpy(bank_KF)


def _mels(hertz: np.ndarray) -> np.ndarray:
    return np.asarray(1127.0 * np.log(1.0 + hertz / 700.0))
