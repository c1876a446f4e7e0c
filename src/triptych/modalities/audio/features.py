"""Log-mel spectrograms and MFCC of many clips at once, equal to the feature extractors of pretrained towers.

Clips of different lengths are laid end to end, each with its own reflected edges, and cut into frames in one view: no
frame of padding is ever transformed. `clap_features` and `whisper_features` then fill in the frames that are known
without a transform, because they see nothing but zeros.

Shape letters: S frames of several clips in a row, T frames of one clip, F features a frame, K Fourier bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from triptych.modalities.audio.mel import CLAP, LOGS, WHISPER, MelSpec, cosines, tables

GROUP_SAMPLES = 1 << 20  # samples laid end to end at once: bounds the memory, and the next group finds it still mapped
CHUNK_FRAMES = 128  # frames transformed at once: they and their spectra stay in the processor's cache


def log_mel(waves: Sequence[Any], spec: MelSpec) -> list[Tensor]:
    """N-sample waves (arrays or tensors of one dimension, any lengths from 1) -> one (T, F) float32 tensor each.

    T is 1 + N // hop. The answer for a clip is that of the clip alone.

    Raises:
        ValueError: a wave without samples, or of more than one dimension.
    """
    made: dict[int, Tensor] = {}
    _log_mels(waves, spec, made.__setitem__)
    return [made[n] for n in range(len(waves))]


def mfcc(waves: Sequence[Any], spec: MelSpec, coefficients: int) -> list[Tensor]:
    """The first cosine coefficients of each frame's log-mel: one (T, coefficients) float32 tensor a wave.

    The transform is the orthonormal DCT-II, as in librosa, torchaudio and `scipy.fft.dct(norm="ortho")`.
    """
    basis_FC = cosines(spec.bins, coefficients)
    return [mel_TF @ basis_FC for mel_TF in log_mel(waves, spec)]


def clap_features(
    waves: Sequence[Any], spec: MelSpec = CLAP, seconds: float = 10, padding: Literal["repeatpad", "pad"] = "repeatpad"
) -> Tensor:
    """Waves at `spec.rate` -> (B, 1, T, F), equal to `ClapFeatureExtractor(truncation="rand_trunc")` for clips up to `seconds`.

    repeatpad: a shorter clip is repeated as often as it fits whole, then followed by zeros. Of a longer clip the middle is
    taken (the original draws a random part).
    """
    samples = round(seconds * spec.rate)
    cut = [middle(_wave(wave), samples) for wave in waves]
    out_B1TF = torch.empty(len(cut), 1, 1 + samples // spec.hop, spec.bins)

    def place(row: int, mel_TF: Tensor) -> None:
        out_B1TF[row, 0, : len(mel_TF)] = mel_TF
        out_B1TF[row, 0, len(mel_TF) :] = spec.silence

    _log_mels(cut, spec, place, padded=samples, repeat=padding == "repeatpad")
    return out_B1TF


def whisper_features(waves: Sequence[Any], spec: MelSpec = WHISPER, seconds: float = 30) -> Tensor:
    """Waves at `spec.rate` -> (B, F, T), equal to `WhisperFeatureExtractor`: the first `seconds`, padded with zeros to them."""
    out_BFT = torch.empty(len(waves), spec.bins, round(seconds * spec.rate) // spec.hop)
    for out_FT, (frames_TF, silence) in zip(out_BFT, whisper_frames(waves, spec, seconds), strict=True):
        out_FT[:, : len(frames_TF)] = frames_TF.T
        out_FT[:, len(frames_TF) :] = silence
    return out_BFT


def whisper_frames(waves: Sequence[Any], spec: MelSpec = WHISPER, seconds: float = 30) -> list[tuple[Tensor, float]]:
    """Of each wave the frames (T, F) that hear something, and what every later number is up to `seconds`, which is silence.

    Values are clamped to 8 (80 dB) below the clip's loudest and moved to about -1..1; the last frame of the whole is dropped.
    """
    samples = round(seconds * spec.rate)
    made: dict[int, tuple[Tensor, float]] = {}

    def place(row: int, mel_TF: Tensor) -> None:
        mel_TF = mel_TF[: samples // spec.hop]
        least = float(mel_TF.max()) - 8.0
        made[row] = mel_TF.clamp(min=least).add_(4.0).div_(4.0), (max(spec.silence, least) + 4.0) / 4.0

    _log_mels([_wave(wave)[:samples] for wave in waves], spec, place, padded=samples)
    return [made[row] for row in range(len(waves))]


def middle(wave_N: np.ndarray, samples: int) -> np.ndarray:
    """The middle part of a wave that is longer than `samples`, else the wave."""
    start = max(0, len(wave_N) - samples) // 2
    return wave_N[start : start + samples]


def _wave(wave: Any) -> np.ndarray:
    wave_N = np.asarray(wave)
    if wave_N.ndim != 1 or not len(wave_N):
        raise ValueError(f"a wave has one dimension and at least one sample, not the shape {wave_N.shape}")
    return wave_N


@dataclass(frozen=True)
class _Laid:
    """One clip of a group, by its number: the wave, `times` in a row, then zeros up to `size` samples; of it the first `frames` frames."""

    number: int
    wave_N: np.ndarray
    times: int
    size: int
    frames: int

    @staticmethod
    def of(number: int, wave_N: np.ndarray, spec: MelSpec, padded: int | None, repeat: bool) -> _Laid:
        size = padded or len(wave_N)
        times = size // len(wave_N) if repeat else 1
        # A frame that starts at or after the last sample hears nothing, nor does its reflection beyond the padded end.
        heard = 1 + (len(wave_N) * times + spec.n_fft // 2) // spec.hop
        return _Laid(number, wave_N, times, size, min(1 + size // spec.hop, heard))

    def slot(self, spec: MelSpec) -> int:
        """Hops from the start of this clip to that of the next."""
        return -(-((self.frames - 1) * spec.hop + spec.n_fft) // spec.hop)

    def put(self, room: np.ndarray, half: int) -> None:
        """Write the clip with its reflections at 0 and `size` into its place, which begins `half` samples before it."""
        heard = len(self.wave_N) * self.times
        if half + heard <= len(room):
            room[half : half + heard].reshape(self.times, -1)[:] = self.wave_N
        else:
            room[half:] = np.tile(self.wave_N, self.times)[: len(room) - half]
        room[:half] = self.mirrored(np.arange(-half, 0))
        if (beyond := len(room) - half - self.size) > 0:
            room[half + self.size :] = self.mirrored(np.arange(self.size, self.size + beyond))

    def mirrored(self, places: np.ndarray) -> np.ndarray:
        """Samples at places outside 0..size, reflected at both ends as often as it takes (`numpy.pad`, mode "reflect")."""
        period = max(1, 2 * (self.size - 1))
        inside = places % period
        inside = np.minimum(inside, period - inside) if self.size > 1 else inside
        return np.where(inside < len(self.wave_N) * self.times, self.wave_N[inside % len(self.wave_N)], 0)


Place = Callable[[int, Tensor], None]
"""Takes the number of a clip and its (T, F); called once a clip, from several threads."""


def _log_mels(waves: Sequence[Any], spec: MelSpec, place: Place, padded: int | None = None, repeat: bool = False) -> None:
    """Place (T, F) of each wave; where `padded`, of the wave followed by zeros up to that size, less the frames of zeros alone.

    Groups of clips go to threads that compute alone, a single group to nobody: to make a thread takes longer than a short clip.
    Letting torch split each small operation over its threads was as fast on an idle machine and 25 times slower where another
    process kept one of two cores busy: they wait for each other.
    """
    groups = list(_groups([_Laid.of(n, _wave(wave), spec, padded, repeat) for n, wave in enumerate(waves)], spec))
    threads = torch.get_num_threads()
    try:
        if threads == 1 or len(groups) <= 1:
            torch.set_num_threads(1)
            for group in groups:
                _compute(group, spec, place)
        else:
            with ThreadPoolExecutor(min(threads, len(groups)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(lambda group: _compute(group, spec, place), groups))
    finally:
        torch.set_num_threads(threads)  # each thread has its own count, but the last one set is that of threads to come


def _groups(clips: list[_Laid], spec: MelSpec) -> Iterator[list[_Laid]]:
    group: list[_Laid] = []
    size = 0
    for clip in clips:
        group.append(clip)
        size += clip.slot(spec) * spec.hop
        if size >= GROUP_SAMPLES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _compute(clips: list[_Laid], spec: MelSpec, place: Place) -> None:
    """Lay clips end to end, each on a multiple of the hop, so that one view with the hop as stride holds all their frames."""
    slots = [clip.slot(spec) for clip in clips]
    starts = [sum(slots[:n]) for n in range(len(slots))]
    end_to_end = np.zeros(sum(slots) * spec.hop + spec.n_fft, np.float64 if spec.double else np.float32)
    for clip, start in zip(clips, starts, strict=True):
        clip.put(end_to_end[start * spec.hop :][: (clip.frames - 1) * spec.hop + spec.n_fft], spec.n_fft // 2)
    mel_SF = _transformed(torch.from_numpy(end_to_end).unfold(0, spec.n_fft, spec.hop), spec)
    for clip, start in zip(clips, starts, strict=True):
        place(clip.number, mel_SF[start : start + clip.frames].clone())


def _transformed(frames_SN: Tensor, spec: MelSpec) -> Tensor:
    """Frames (S, n_fft) -> log-mel (S, F)."""
    window_N, bank_KF, first, last = tables(spec)
    mel_SF = torch.empty(len(frames_SN), spec.bins)
    for at in range(0, len(frames_SN), CHUNK_FRAMES):
        spectra_SK = torch.fft.rfft(frames_SN[at : at + CHUNK_FRAMES] * window_N)[:, first:last]
        power_SK = spectra_SK.real.square().addcmul_(spectra_SK.imag, spectra_SK.imag)
        torch.mm(power_SK.float(), bank_KF, out=mel_SF[at : at + CHUNK_FRAMES])
    return LOGS[spec.log](mel_SF.clamp_(min=spec.floor))
