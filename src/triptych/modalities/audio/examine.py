"""One look at a recording that is to be learnt from: length, rate, whether anything is heard in it, and a sketch of it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Any

import numpy as np

from triptych.contract.examined import Examined, Fault
from triptych.modalities.audio.mel import MelSpec, mel_bank
from triptych.modalities.audio.read import Recording

BANDS = PARTS = 16  # of the sketch: 256 bytes
FRAMES = 6  # of 20 ms, at most, looked at in each of its parts; of a longer recording they are spread evenly
HIGHEST = 3_800  # Hz: what is heard at telephone rate too, so that a resampled copy has the same sketch
RANGE = 60  # dB below the loudest that the sketch still sees
QUIET = 1e-3  # peak of a recording in which nothing is heard (60 dB below full scale)
FULL = 0.98  # of full scale: two samples in a row above it are cut off at the top
CLIPPED = 0.005  # share of such samples from which it is heard
LOUD = 4.0  # times full scale: peaks between samples of a mastered recording reach 1.5, integers saved as floats thousands
SHORT = 0.05  # seconds in which no word and no tone fits

SILENT = Fault("silent", "nothing is heard in them", "remove these rows, or record them again")
OVERDRIVEN = Fault(
    "clipped", "clipped: too loud when they were recorded or saved", "record or export them at a lower level", "warning", 0.05
)
OUTSIDE = Fault(
    "out of range",
    f"samples far outside -1 to 1 ({LOUD:g} times and more): each was divided by its own loudest sample, so none is louder than another",
    "divide them by one number for all, such as 32768 of 16-bit numbers, or find what wrote them",
)
BRIEF = Fault("short", f"shorter than {SHORT:g} s", "check where they were cut")


def examine(recording: Recording, settings: Any) -> Examined:
    """The sketch is a log-mel spectrogram of 16 bands up to 3.8 kHz and 16 equal parts of the recording, 60 dB deep.

    So it survives another level, rate, format and bit rate, and a little noise or silence at an end. It does not survive
    another speed or pitch, a cut of more than some hundredths of the whole, another recording of the same words.
    """
    samples_N, rate = recording.samples_N, recording.rate
    peak = max(float(samples_N.max()), -float(samples_N.min()))
    return Examined(
        content=int.from_bytes(sha1(samples_N.data, usedforsecurity=False).digest()[:8], "little"),
        sketch=sketch(samples_N, rate) if peak >= QUIET and recording.seconds >= SHORT else b"",
        measures={"seconds": recording.seconds},
        traits={"rate": f"{rate:,} Hz"},
        faults=tuple(_faults(recording, peak, settings)),
        length=min(recording.seconds, settings.seconds),
    )


def _faults(recording: Recording, peak: float, settings: Any) -> list[Fault]:
    faults = []
    if recording.peak >= LOUD:
        faults.append(OUTSIDE)
    if peak < QUIET:
        faults.append(SILENT)
    elif peak >= FULL:
        full_N = np.abs(recording.samples_N) >= FULL
        if np.count_nonzero(full_N[1:] & full_N[:-1]) > CLIPPED * len(full_N):
            faults.append(OVERDRIVEN)
    if recording.seconds < SHORT:
        faults.append(BRIEF)
    if recording.rate < 0.9 * settings.rate:
        faults.append(_low(recording.rate, settings.rate, getattr(settings, "base", "")))
    return faults


@lru_cache
def _low(rate: int, wanted: int, base: str) -> Fault:
    if base:
        text = f"made at {rate:,} Hz and resampled to the {wanted:,} that {base} hears: there is nothing above {rate // 2:,} Hz in them"
        fix = "use richer recordings if there are any; else a base for this rate, if there is one, may hear more"
        return Fault("rate", text, fix, "warning")
    text = f"made at {rate:,} Hz and prepared at {wanted:,}: there is nothing above {rate // 2:,} Hz in them"
    return Fault("rate", text, f"prepare.rate: {rate} computes less and loses nothing, unless others are richer", "note")


_QUICK = sorted(2**a * 3**b * 5**c for a in range(4, 14) for b in range(3) for c in range(3))  # lengths with a fast Fourier transform


def sketch(samples_N: np.ndarray, rate: int) -> bytes:
    """256 bytes: the level of 16 bands in 16 parts, from 0 (`RANGE` dB below the loudest, or less) to 255."""
    size, window_N, bank_KF = _tables(rate)
    if len(samples_N) < size:
        samples_N = np.pad(samples_N, (0, size - len(samples_N)))
    last = len(samples_N) - size
    frames = min(FRAMES, max(1, round(last / size / PARTS / 1.5)))
    starts = np.linspace(0, last, PARTS * frames).astype(np.intp)
    frames_TN = np.lib.stride_tricks.as_strided(samples_N, (last + 1, size), samples_N.strides * 2, writeable=False)[starts]
    spectrum_TK = np.fft.rfft(frames_TN * window_N)[:, : len(bank_KF)]
    power_TK = spectrum_TK.real**2 + spectrum_TK.imag**2
    level_PF = power_TK.reshape(PARTS, frames, -1).sum(1) @ bank_KF  # so small that the BLAS stays in this thread
    level_PF /= level_PF.max() or 1.0
    decibels_PF = np.log10(np.maximum(level_PF, 10 ** (-RANGE / 10)))
    decibels_PF *= 255 * 10 / RANGE
    decibels_PF += 255.5
    return decibels_PF.astype(np.uint8).tobytes()


@lru_cache(maxsize=32)
def _tables(rate: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Samples of a window of 20 ms, the window, and the mel bands of its spectrum up to `HIGHEST`."""
    size = min(_QUICK, key=lambda size: abs(size - rate * 0.020))
    spec = MelSpec(rate=rate, n_fft=size, hop=size, bins=BANDS, f_min=60.0, f_max=float(min(HIGHEST, rate / 2)), area_norm=False)
    bank_KF = mel_bank(spec)
    heard = int(np.flatnonzero(bank_KF.any(1))[-1]) + 1
    return size, np.hanning(size).astype(np.float32), bank_KF[:heard].astype(np.float32)
