"""What the feature extractors of pretrained towers do, for many recordings at once, and always the same for the same sound.

Numbers are equal to those of transformers for recordings up to the longest piece of a base. Of a longer one the original of CLAP
takes parts at random; here they are the middle ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from triptych.contract.values import Item, Packed
from triptych.modalities.audio.features import clap_features, log_mel, middle, whisper_frames
from triptych.modalities.audio.kaldi import fbank
from triptych.modalities.audio.mel import MelSpec

SAMPLES = "samples"
"""Name of a sound that goes in as it is; one that goes in as a spectrogram is `features`."""
TAIL = 5
"""Tokens (a tenth of a second) of silence that Whisper hears after a recording that is not filled up.

With Whisper tiny on 360 spoken digits, each of six speakers held out of a linear model in turn: 0.978 of them right with
5 tokens, 0.978 filled up to 30 s, at 29 times the work; 0.950 with none; 0.964, 0.975 and 0.986 with 25, 50 and 100 (+-0.008).
"""


class Processor(ABC):
    """Waves at `rate` to items, and items to a batch."""

    rate: int
    fills: ClassVar[bool] = False
    """Whether recordings are filled up to one length only if that is asked for."""

    @property
    def longest(self) -> float:
        """Seconds that are heard at once; 0: no end."""
        return 0.0

    @property
    def pace(self) -> float:
        """Seconds from one frame, or sample, to the next; 0 where what comes out of a base does not lie in the order of time."""
        return 0.0

    @abstractmethod
    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """One item a wave."""

    @abstractmethod
    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """P items -> a batch; `fill`: up to the longest that the base hears, where there is a choice; `whole`: all of that counts."""


@dataclass(frozen=True)
class Clap(Processor):
    """`ClapFeatureExtractor`: shorter recordings are repeated; a fused base hears a longer one as a whole and in three parts.

    An item is `{"features": (1, T, F)}`, and of a fused base `(1 or 4, T, F)` and `longer`.
    """

    rate: int
    n_fft: int
    hop: int
    bins: int
    low: float
    high: float
    """Hz."""
    samples: int
    """In one piece."""
    padding: Literal["repeatpad", "repeat", "pad"]
    fused: bool

    @property
    def longest(self) -> float:
        """One piece; no end where parts are fused."""
        return 0.0 if self.fused else self.samples / self.rate

    @property
    def spec(self) -> MelSpec:
        """Fused bases have torchaudio's filters, others librosa's."""
        scale: Literal["htk", "slaney"] = "htk" if self.fused else "slaney"
        return MelSpec(
            rate=self.rate,
            n_fft=self.n_fft,
            hop=self.hop,
            bins=self.bins,
            f_min=self.low,
            f_max=self.high,
            scale=scale,
            area_norm=not self.fused,
            log="db",
            double=True,
        )

    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """See `Processor`."""
        if not self.fused:
            return [{"features": made_1TF} for made_1TF in self._piece(waves)]
        frames = 1 + self.samples // self.hop
        long = [number for number, wave_N in enumerate(waves) if len(wave_N) > self.samples and 1 + len(wave_N) // self.hop > frames]
        whole = dict(zip(long, log_mel([waves[number] for number in long], self.spec), strict=True))
        short = [number for number in range(len(waves)) if number not in whole]
        made = dict(zip(short, self._piece([waves[number] for number in short]), strict=True))
        made |= {number: fused(mel_TF, frames) for number, mel_TF in whole.items()}
        return [{"features": made[number], "longer": torch.tensor(number in whole)} for number in range(len(waves))]

    def _piece(self, waves: Sequence[np.ndarray]) -> list[Tensor]:
        if not waves:
            return []
        if self.padding == "repeat":
            waves = [np.tile(wave_N, -(-self.samples // len(wave_N)))[: self.samples] for wave_N in waves]
        padding: Literal["repeatpad", "pad"] = "repeatpad" if self.padding == "repeatpad" else "pad"
        return list(clap_features(waves, self.spec, self.samples / self.rate, padding).unbind())

    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """See `Processor`. All have one length, so there is no mask."""
        channels = max(item["features"].shape[-3] for item in items)
        features = torch.stack([_channels(item["features"], channels) for item in items])
        return Packed({"features": features, **({"longer": torch.stack([item["longer"] for item in items])} if self.fused else {})})


def _channels(features_CTF: Tensor, channels: int) -> Tensor:
    """A recording in one piece stands for all four where another of the batch has four."""
    return features_CTF.expand(*features_CTF.shape[:-3], channels, -1, -1)


def fused(mel_TF: Tensor, frames: int) -> Tensor:
    """The whole shrunk to `frames`, and the middle of its first, second and last third of places: (4, frames, F).

    The original draws the three places.
    """
    thirds = [part if len(part) else np.zeros(1, int) for part in np.array_split(np.arange(len(mel_TF) - frames + 1), 3)]
    places = [int(part[len(part) // 2]) for part in thirds]
    shrunk_TF = interpolate(mel_TF[None, None], size=[frames, mel_TF.shape[1]], mode="bilinear", align_corners=False)[0, 0]
    return torch.stack([shrunk_TF, *[mel_TF[place : place + frames] for place in places]])


@dataclass(frozen=True)
class Whisper(Processor):
    """`WhisperFeatureExtractor`: an item is `{"features": (T, F)}`, the frames that hear something and a little silence.

    `heard` counts the tokens of the first; `silence` is what a frame of nothing is, for filling up as the original does.
    """

    rate: int
    n_fft: int
    hop: int
    bins: int
    samples: int
    """In one piece."""
    fills: ClassVar[bool] = True

    @property
    def pace(self) -> float:
        """The hop."""
        return self.hop / self.rate

    @property
    def longest(self) -> float:
        """One piece."""
        return self.samples / self.rate

    @property
    def spec(self) -> MelSpec:
        """Slaney's bands up to 8 kHz."""
        return MelSpec(rate=self.rate, n_fft=self.n_fft, hop=self.hop, bins=self.bins, f_max=8000.0, log="log10")

    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """See `Processor`."""
        most = self.samples // self.hop
        made = []
        for frames_TF, silence in whisper_frames(waves, self.spec, self.longest):
            heard = -(-len(frames_TF) // 2)
            size = min(2 * (heard + TAIL), most)
            features_TF = pad(frames_TF, (0, 0, 0, size - len(frames_TF)), value=silence)
            made.append({"features": features_TF, "heard": torch.tensor(heard), "silence": torch.tensor(silence)})
        return made

    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """See `Processor`."""
        lengths = [item["features"].shape[-2] for item in items]
        size = self.samples // self.hop if fill else max(lengths)
        filled = [_filled(item, size) for item in items]
        mask_PT = torch.arange(size) < torch.tensor([size] * len(items) if fill else lengths)[:, None]
        heard_P = torch.stack([item["heard"] for item in items])
        if fill == "whole":
            heard_P = torch.full_like(heard_P, size // 2)
        return Packed({"features": torch.stack(filled), "heard_P": heard_P}, mask_PT)


def _filled(item: Item, size: int) -> Tensor:
    features_TF = item["features"]
    fresh_TF = item["silence"][..., None, None].expand(*features_TF.shape[:-2], size, features_TF.shape[-1]).clone()
    fresh_TF[..., : features_TF.shape[-2], :] = features_TF
    return fresh_TF


@dataclass(frozen=True)
class Samples(Processor):
    """`Wav2Vec2FeatureExtractor`: an item is `{"samples": (N,)}`, to mean 0 and deviation 1 where the base wants that."""

    rate: int
    normalize: bool
    least: int
    """Samples that give a token: a shorter recording gets zeros behind it."""

    @property
    def pace(self) -> float:
        """A sample."""
        return 1 / self.rate

    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """See `Processor`."""
        return [{SAMPLES: torch.from_numpy(np.pad(self._normed(wave_N), (0, max(0, self.least - len(wave_N)))))} for wave_N in waves]

    def _normed(self, wave_N: np.ndarray) -> np.ndarray:
        return (wave_N - wave_N.mean()) / np.sqrt(wave_N.var() + 1e-7) if self.normalize else wave_N

    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """See `Processor`."""
        lengths = [item[SAMPLES].shape[-1] for item in items]
        samples = torch.stack([pad(item[SAMPLES], (0, max(lengths) - length)) for item, length in zip(items, lengths, strict=True)])
        return Packed({SAMPLES: samples}, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


@dataclass(frozen=True)
class Kaldi(Processor):
    """`ASTFeatureExtractor`: an item is `{"features": (T, F)}`, filled up with zeros before it is normalised."""

    rate: int
    bins: int
    frames: int
    """In one piece."""
    mean: float
    std: float

    @property
    def longest(self) -> float:
        """One piece."""
        return ((self.frames - 1) * 160 + 400) / self.rate

    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """See `Processor`."""
        samples = (self.frames - 1) * 160 + 400
        made = fbank([middle(wave_N, samples) for wave_N in waves], self.rate, self.bins)
        grown = partial(pad, value=0.0)
        return [{"features": (grown(mel_TF, (0, 0, 0, self.frames - len(mel_TF))) - self.mean) / self.std} for mel_TF in made]

    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """See `Processor`. All have one length, so there is no mask."""
        return Packed({"features": torch.stack([item["features"] for item in items])})


PROCESSORS: dict[str, type[Processor]] = {
    "ClapFeatureExtractor": Clap,
    "WhisperFeatureExtractor": Whisper,
    "Wav2Vec2FeatureExtractor": Samples,
    "ASTFeatureExtractor": Kaldi,
}
"""By their names in transformers."""


def of_extractor(held: Any, fused_base: bool, least: int) -> dict[str, Any]:
    """An extractor of transformers -> the fields of ours, as plain values."""
    name = type(held).__name__
    if name == "ClapFeatureExtractor":
        sizes = {"n_fft": held.fft_window_size, "hop": held.hop_length, "bins": held.feature_size, "samples": int(held.nb_max_samples)}
        return {**sizes, "low": held.frequency_min, "high": held.frequency_max, "padding": held.padding, "fused": fused_base}
    if name == "WhisperFeatureExtractor":
        return {"n_fft": held.n_fft, "hop": held.hop_length, "bins": held.feature_size, "samples": int(held.n_samples)}
    if name == "Wav2Vec2FeatureExtractor":
        return {"normalize": bool(held.do_normalize), "least": least}
    mean, std = (held.mean, 2 * held.std) if held.do_normalize else (0.0, 1.0)
    return {"bins": held.num_mel_bins, "frames": held.max_length, "mean": mean, "std": std}
