"""What a recipe may say about an input of films. Checked before torch or PyAV is imported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, word
from triptych.contract.augment import Range, Ranged, Step, steps
from triptych.contract.modality import InputSettings

Widths = tuple[Annotated[int, Field(ge=1, le=4096)], ...]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Prepare(Settings):
    """From a film of any rate and shape to some square frames."""

    rate: float = Field(2.0, gt=0, le=120, description="frames a second that the network sees")
    frames: int = Field(16, ge=1, le=1024, description="most frames of one film; of a longer one so many are spread evenly over all of it")
    size: int = Field(64, ge=8, le=512, description="side of the square the network sees, in pixels")
    channels: Literal[1, 3] = Field(3, description="3 for colour, 1 for grey; frames are converted")
    fit: Literal["pad", "stretch", "crop"] = Field(
        "pad",
        description="how a frame becomes square: pad keeps all of it and its shape and fills the rest with black; stretch keeps all of it; "
        "crop keeps its shape and the middle square",
    )
    normalize: Literal["data", "half", "none"] = Field(
        "data",
        description="data: each channel to mean 0 and deviation 1 over training films; half: 0..1 to -1..1; none: 0..1 as it is",
    )


class _Frames(Settings):
    """What both encoders do with a frame: convolution and pooling, then a dense layer."""

    widths: Widths = Field(
        (16, 32, 64), min_length=1, max_length=8, description="channels of each convolution over a frame; after each it is halved"
    )
    width: int = Field(128, ge=2, le=8192, description="width of a frame's vector, and so of the answer; even, divisible by `heads`")


class Transformer(_Frames):
    """A small convolution network a frame, then a transformer over the frames (as ViViT's factorised encoder: Arnab et al. 2021)."""

    kind: Literal["transformer"] = "transformer"
    depth: int = Field(2, ge=1, le=64, description="transformer blocks over the frames")
    heads: int = Field(4, ge=1, le=128, description="attention heads of a block; must divide width")
    dropout: Dropout = Field(0.0, description="share of channels set to zero in convolutions, attention and blocks, while training")

    @model_validator(mode="after")
    def _possible(self) -> Transformer:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"`width` {self.width} must be even and divisible by `heads` {self.heads}")
        return self


class Gru(_Frames):
    """A small convolution network a frame, then a GRU that reads the frames in both directions (as LRCN: Donahue et al. 2015)."""

    kind: Literal["gru"] = "gru"
    depth: int = Field(1, ge=1, le=16, description="GRU layers over the frames")
    dropout: Dropout = Field(0.0, description="share of channels set to zero in convolutions and before each GRU layer, while training")

    @model_validator(mode="after")
    def _possible(self) -> Gru:
        if self.width % 2:
            raise ValueError(f"`width` {self.width} is odd, and each of the two directions takes half of it")
        return self


class Flip(Step):
    """Every frame mirrored, left and right; not where the direction of a movement matters."""

    kind: Literal["flip"] = "flip"


class Crop(Ranged):
    """The same part of every frame."""

    kind: Literal["crop"] = "crop"
    area: Range = Field((0.6, 1.0), description="share of a frame's area that is kept")

    @model_validator(mode="after")
    def _possible(self) -> Crop:
        if not (self.area[0] > 0 and self.area[1] <= 1):
            raise ValueError(f"area {list(self.area)} is no share: it lies above 0 and is at most 1")
        return self


class Colour(Step):
    """All frames brighter or darker, with more or less contrast and colour."""

    kind: Literal["colour"] = "colour"
    brightness: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times as bright")
    contrast: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times the distance from mean grey")
    saturation: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times the distance from grey; a grey film stays grey")


class Input(InputSettings):
    """An input of films: their pictures. The sound of the same files is an `audio` input of the same column."""

    modality: Literal["video"] = Field("video", description="films: their moving pictures")
    prepare: Prepare = Field(Prepare(), description="how a film becomes numbers")
    encoder: Annotated[Transformer | Gru, Field(discriminator="kind"), BeforeValidator(word)] = Field(
        Transformer(), description="the network: transformer or gru"
    )
    augment: Annotated[list[Annotated[Flip | Crop | Colour, Field(discriminator="kind")]], BeforeValidator(steps(Flip, Crop, Colour))] = (
        Field([], description="what is done to training rows, in this order: flip, crop, colour")
    )

    @model_validator(mode="after")
    def _fits(self) -> Input:
        if len(self.encoder.widths) > (most := self.prepare.size.bit_length() - 1):
            raise ValueError(
                f"encoder.widths has {len(self.encoder.widths)} convolutions that each halve the frame, "
                f"but prepare.size {self.prepare.size} can be halved {most} times only: give encoder.widths {most} numbers or fewer"
            )
        return self
