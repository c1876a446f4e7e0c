"""What a recipe may say about a sound input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, base_or_word
from triptych.contract.augment import Range, Ranged, Step, steps
from triptych.contract.modality import InputSettings
from triptych.contract.pretrained import Pretrained, refuse_clashes

OF_THE_BASE = ("rate", "features", "bins", "coefficients", "window_ms", "hop_ms", "normalize")
"""Words of `prepare` that a pretrained encoder answers itself."""
FOR_A_BASE = ("windows", "fill")
"""Words that only a pretrained encoder has an answer to."""


class Prepare(Settings):
    """From a recording to a table of frames by features."""

    rate: int = Field(
        16_000, description="samples a second everything is resampled to; half of it is the highest pitch seen", ge=4_000, le=192_000
    )
    seconds: float = Field(10.0, description="longest sound seen; of a longer recording the middle part is kept", gt=0, le=3_600)
    features: Literal["log_mel", "mfcc"] = Field("log_mel", description="log_mel: a spectrogram in mel bands; mfcc: its cosine transform")
    bins: int = Field(64, description="mel bands", ge=2, le=512)
    coefficients: int | None = Field(
        None, description="how many cosine coefficients mfcc keeps, at most `bins`; by default 20; log_mel has none", ge=1, le=512
    )
    window_ms: float = Field(25.0, description="length of one analysis window in milliseconds", ge=1, le=1_000)
    hop_ms: float = Field(10.0, description="milliseconds from one frame to the next, at most `window_ms`", ge=1, le=1_000)
    normalize: Literal["data", "clip", "none"] = Field(
        "data",
        description=(
            "data: each feature to mean 0 and deviation 1 over the training rows; "
            "clip: each less its mean over the recording; none: as it is"
        ),
    )
    trim_silence: bool = Field(False, description="drop what is 50 dB or more below the loudest sample at both ends")
    windows: int = Field(
        1,
        description=(
            "pretrained encoders: of a recording longer than `seconds`, hear up to so many pieces of it, spread evenly from start to end; "
            "each is encoded by itself, and the mean of their vectors is the recording's"
        ),
        ge=1,
        le=1_000,
    )
    fill: bool | Literal["whole"] = Field(
        False,
        description=(
            "Whisper: hear every recording filled up with silence to the 30 s that it was trained on; "
            "by default a tenth of a second of silence follows, which costs a small part of the work; "
            "whole: what it makes of the silence counts too, as for Whisper's own decoder"
        ),
    )

    @property
    def size(self) -> int:
        """Features a frame, F; librosa's default of 20 for MFCC."""
        return (self.coefficients or 20) if self.features == "mfcc" else self.bins

    @property
    def window(self) -> int:
        """Samples in one analysis window."""
        return max(2, round(self.rate * self.window_ms / 1000))

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return max(1, round(self.rate * self.hop_ms / 1000))

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform: the window, filled up with zeros to a power of two."""
        return int(2 ** math.ceil(math.log2(self.window)))

    @model_validator(mode="after")
    def _possible(self) -> Prepare:
        if self.features == "log_mel" and self.coefficients is not None:
            raise ValueError("`coefficients` is for `features: mfcc`, and log_mel has none; remove it, or set `features: mfcc`")
        if self.features == "mfcc" and self.size > self.bins:
            raise ValueError(f"mfcc cannot keep {self.size} coefficients of {self.bins} mel bands; lower `coefficients` or raise `bins`")
        if self.hop_ms > self.window_ms:
            raise ValueError(
                f"`hop_ms` {self.hop_ms:g} is longer than `window_ms` {self.window_ms:g}: the sound between two windows would never be seen"
            )
        if self.bins > (most := self._most_bins()):
            raise ValueError(
                f"a window of {self.window_ms:g} ms at {self.rate} samples a second cannot tell {self.bins} mel bands apart;"
                f" use `bins` of {most} or fewer, or a longer `window_ms`"
            )
        return self

    def _most_bins(self) -> int:
        """The narrowest band (Slaney's scale: 200/3 Hz a mel below 1 kHz) must be wider than the Fourier bins are apart."""
        half = self.rate / 2
        mels = half * 3 / 200 if half < 1000 else 15 + math.log(half / 1000) * 27 / math.log(6.4)
        return int(2 * mels * (200 / 3) * self.n_fft / self.rate - 1)


class Cnn(Settings):
    """Convolutions over the spectrogram as over a picture: the one to start with, good from a few hundred rows on."""

    kind: Literal["cnn"] = "cnn"
    widths: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (32, 64, 128), description="channels of each block; every block halves time and frequency", min_length=1, max_length=8
    )
    width: int = Field(128, description="width of the tokens and of the pooled vector", ge=1, le=8192)
    dropout: float = Field(0.0, description="share of whole channels set to zero in training", ge=0, lt=1)


class Transformer(Settings):
    """A spectrogram transformer (AST: Gong et al. 2021) with fixed time positions, so that any length works."""

    kind: Literal["transformer"] = "transformer"
    patch_frames: int = Field(4, description="frames of one patch", ge=1, le=1_000)
    patch_bins: int | None = Field(
        None, description="features of one patch; none: a patch spans them all, one token a step of time", ge=1, le=512
    )
    width: int = Field(128, description="width of the tokens; even, and divisible by `heads`", ge=2, le=8192)
    depth: int = Field(4, description="transformer blocks", ge=1, le=64)
    heads: int = Field(4, description="attention heads", ge=1, le=128)
    dropout: float = Field(0.0, description="dropout in attention and after both branches of a block", ge=0, lt=1)
    patch_dropout: float = Field(
        0.0,
        description="share of each recording's patches that training does not see, and need not compute (PaSST, Koutini et al. 2022)",
        ge=0,
        lt=1,
    )

    @model_validator(mode="after")
    def _possible(self) -> Transformer:
        if self.width % self.heads:
            raise ValueError(f"`width` {self.width} is not divisible by `heads` {self.heads}")
        if self.width % 2:
            raise ValueError(f"`width` {self.width} is odd: its position code needs pairs of sine and cosine")
        return self


class PitchShift(Ranged):
    """Higher or lower at unchanged length."""

    kind: Literal["pitch_shift"] = "pitch_shift"
    semitones: Range = Field((-3.0, 3.0), description="by how many semitones; 12 are an octave up")

    @model_validator(mode="after")
    def _possible(self) -> PitchShift:
        if not (self.semitones[0] >= -36 and self.semitones[1] <= 36):
            raise ValueError(f"semitones {list(self.semitones)} leave three octaves down (-36) to three up (36)")
        return self


class TimeStretch(Ranged):
    """Slower or faster at unchanged pitch."""

    kind: Literal["time_stretch"] = "time_stretch"
    factor: Range = Field((0.8, 1.25), description="by how much the length grows: 1.25 is slower by a quarter, 0.5 twice as fast")

    @model_validator(mode="after")
    def _possible(self) -> TimeStretch:
        if not (self.factor[0] >= 0.25 and self.factor[1] <= 4):
            raise ValueError(f"factor {list(self.factor)} leaves a quarter (0.25) to four times the length (4)")
        return self


class Noise(Ranged):
    """Noise over the whole recording; silence stays silent, as nothing could be heard above the noise."""

    kind: Literal["noise"] = "noise"
    snr: Range = Field((10.0, 30.0), description="how many decibels the recording is louder than the noise")
    colour: Literal["white", "pink"] = Field(
        "white", description="white: as much in every Hz (hiss); pink: as much in every octave (rain, fans)"
    )


class Gain(Ranged):
    """Louder or softer; never so loud that it would be clipped."""

    kind: Literal["gain"] = "gain"
    db: Range = Field((-12.0, 6.0), description="by how many decibels")


class SpecAugment(Step):
    """Stretches of time and of frequency are hidden in the prepared features (SpecAugment: Park et al. 2019)."""

    kind: Literal["spec_augment"] = "spec_augment"
    chance: float = Field(1.0, gt=0, le=1, description="share of the variants that it is done to")
    time: float = Field(0.2, ge=0, lt=1, description="share of the frames that is hidden")
    bands: float = Field(0.2, ge=0, lt=1, description="share of the features of a frame that is hidden")
    masks: int = Field(2, ge=1, le=100, description="stretches that each share is divided into")


Augment = Annotated[PitchShift | TimeStretch | Noise | Gain | SpecAugment, Field(discriminator="kind")]


class Input(InputSettings):
    """A sound input of a recipe."""

    modality: Literal["audio"] = Field("audio", description="the room that reads this input")
    prepare: Prepare = Field(Prepare(), description="how a recording becomes features")
    encoder: Annotated[Cnn | Transformer | Pretrained, Field(discriminator="kind"), BeforeValidator(base_or_word)] = Field(
        Cnn(), description="how features become tokens and one vector: cnn, transformer, or a pretrained one: owner/name"
    )
    augment: Annotated[list[Augment], BeforeValidator(steps(PitchShift, TimeStretch, Noise, Gain, SpecAugment))] = Field(
        [], description="what is done to training rows, in this order: pitch_shift, time_stretch, noise, gain, spec_augment"
    )

    @model_validator(mode="after")
    def _fits(self) -> Input:
        refuse_clashes(self.prepare, self.encoder, OF_THE_BASE, "whose own feature extractor says how a recording becomes numbers")
        said = [name for name in FOR_A_BASE if getattr(self.prepare, name) != Prepare.model_fields[name].default]
        if said and not isinstance(self.encoder, Pretrained):
            raise ValueError(f"prepare.{said[0]} is for pretrained encoders, and {self.encoder.kind} is none: remove prepare.{said[0]}")
        return self

    def placed(self, path: Callable[[str], str]) -> Input:
        """The same with the folder of a pretrained encoder from the recipe's. Raises InputError where it is not there."""
        return self.model_copy(update={"encoder": self.encoder.placed(path)}) if isinstance(self.encoder, Pretrained) else self

    def examined(self) -> Settings:
        """With a pretrained encoder, the rate and the seconds that are heard are the base's.

        Raises:
            InputError: the base cannot be had, or is no sound model.
        """
        if not isinstance(self.encoder, Pretrained):
            return self.prepare
        from triptych.modalities.audio.pretrained import BasePreparation

        held = BasePreparation(self.prepare, self.encoder)
        return Heard(rate=held.processor.rate, seconds=held.seconds * self.prepare.windows, base=self.encoder.name)


class Heard(Settings):
    """What the doctor must know of a pretrained encoder; no part of a recipe."""

    rate: int
    seconds: float
    base: str
