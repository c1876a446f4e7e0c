"""What a recipe may say about an input of pictures. Checked before torch or Pillow is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, base_or_word
from triptych.contract.augment import Range, Ranged, Step, steps
from triptych.contract.modality import InputSettings
from triptych.contract.pretrained import Pretrained, refuse_clashes

Dropout = Annotated[float, Field(ge=0, lt=1)]


class Prepare(Settings):
    """From a picture of any shape to a square of numbers."""

    size: int = Field(default=64, ge=8, le=1024, description="side of the square the network sees, in pixels")
    channels: Literal[1, 3] = Field(default=3, description="3 for colour, 1 for grey; pictures are converted")
    fit: Literal["pad", "stretch", "crop"] = Field(
        default="pad",
        description="how a picture becomes square: pad keeps all of it and its shape and fills the rest with the colour of its border; "
        "stretch keeps all of it; crop keeps its shape and the middle square",
    )
    normalize: Literal["data", "half", "none"] = Field(
        default="data",
        description="data: each channel to mean 0 and deviation 1 over training pictures; half: 0..1 to -1..1; none: 0..1 as it is",
    )


class Cnn(Settings):
    """Convolution and pooling, then flatten and a dense layer, as in VGG (Simonyan & Zisserman 2015)."""

    kind: Literal["cnn"] = "cnn"
    widths: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        default=(32, 64, 128), min_length=1, description="channels of each convolution; after each a pooling halves height and width"
    )
    width: int = Field(default=128, gt=0, description="width of the dense layer, and so of the answer")
    dropout: Dropout = Field(default=0.1, description="share of whole channels set to zero after each convolution, while training")
    places: Literal["own", "shared"] = Field(
        default="own",
        description="own: each place of the last map has a dense layer of its own, best for one answer about the whole; shared: one layer "
        "for all and a code of the place, so that a thing looks alike wherever it stands: for decoders. width: then a multiple of 4",
    )

    @model_validator(mode="after")
    def _has_codes(self) -> Cnn:
        if self.places == "shared" and self.width % 4:
            raise ValueError(f"places: shared needs a width that is a multiple of 4, not {self.width}")
        return self


class Vit(Settings):
    """Vision Transformer (Dosovitskiy et al. 2021), plain and small: sine positions, mean over patches (Beyer et al. 2022)."""

    kind: Literal["vit"] = "vit"
    patch: int = Field(default=8, gt=0, le=256, description="side of a patch in pixels; must divide prepare.size")
    width: int = Field(default=192, gt=0, description="width of a patch's vector; a multiple of 4 and of heads")
    depth: int = Field(default=6, gt=0, description="number of transformer blocks")
    heads: int = Field(default=3, gt=0, description="attention heads of a block; must divide width")
    dropout: Dropout = Field(default=0.1, description="dropout in attention and both branches of a block, while training")
    patch_dropout: Dropout = Field(
        default=0.0, description="share of each picture's patches that training does not see, and need not compute (FLIP, Li et al. 2022)"
    )

    @model_validator(mode="after")
    def _divides(self) -> Vit:
        """Heads share the width evenly; the sine positions take a quarter each for sine and cosine, across and down."""
        step = math.lcm(4, self.heads)
        if self.width % step:
            clash = f"width {self.width} of the vit is not a multiple of 4 and of its heads {self.heads}"
            raise ValueError(f"{clash}: set width to {step * max(1, round(self.width / step))}, or heads to another number")
        return self


class MobileNet(Settings):
    """MobileNetV2 (Sandler et al. 2018): few weights, made for phones; halves less often where pictures are small."""

    kind: Literal["mobilenet"] = "mobilenet"
    multiplier: float = Field(default=0.5, gt=0, le=4, description="scales the channels of every block, rounded to multiples of 8")
    width: int = Field(default=256, gt=0, description="channels of the last layer, and so width of the answer")
    dropout: Dropout = Field(default=0.1, description="share of whole channels of the last layer set to zero, while training")


class Flip(Step):
    """Mirrored; not for writing, or where left and right matter."""

    moves: ClassVar[bool] = True
    kind: Literal["flip"] = "flip"
    direction: Literal["horizontal", "vertical"] = Field("horizontal", description="horizontal: left and right change places")


class Crop(Ranged):
    """A part of the picture, as a photographer who stood nearer would have taken it (Szegedy et al. 2015)."""

    moves: ClassVar[bool] = True
    kind: Literal["crop"] = "crop"
    area: Range = Field((0.6, 1.0), description="share of the picture's area that is kept")
    shape: Range = Field((0.75, 1.3333), description="width by height of the part, in proportion to the picture's own")

    @model_validator(mode="after")
    def _possible(self) -> Crop:
        return _shares(self, "area") if self.shape[0] > 0 else _refused("shape must be above 0")


class Colour(Step):
    """Brighter or darker, more or less contrast, more or less colour."""

    kind: Literal["colour"] = "colour"
    brightness: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times as bright")
    contrast: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times the distance from mean grey")
    saturation: float = Field(0.2, ge=0, le=1, description="0.2: from 0.8 to 1.2 times the distance from grey; a grey picture stays grey")


class Rotate(Ranged):
    """Turned around its middle; corners that open are filled with the colour of the border."""

    moves: ClassVar[bool] = True
    kind: Literal["rotate"] = "rotate"
    degrees: Range = Field((-15.0, 15.0), description="by how much, against the clock")

    @model_validator(mode="after")
    def _possible(self) -> Rotate:
        return self if self.degrees[0] >= -360 and self.degrees[1] <= 360 else _refused("degrees lie between -360 and 360")


class Erase(Ranged):
    """A rectangle anywhere in the picture is filled with the colour of the border (Zhong et al. 2020)."""

    kind: Literal["erase"] = "erase"
    area: Range = Field((0.02, 0.2), description="share of the picture's area that is hidden")

    @model_validator(mode="after")
    def _possible(self) -> Erase:
        return _shares(self, "area")


def _shares(step: Any, name: str) -> Any:
    low, high = getattr(step, name)
    return step if low > 0 and high <= 1 else _refused(f"{name} [{low:g}, {high:g}] is no share: it lies above 0 and is at most 1")


def _refused(why: str) -> Any:
    raise ValueError(why)


Augment = Annotated[Flip | Crop | Colour | Rotate | Erase, Field(discriminator="kind")]
EncoderSettings = Annotated[Cnn | Vit | MobileNet | Pretrained, Field(discriminator="kind")]


class Input(InputSettings):
    """An input of pictures."""

    modality: Literal["image"] = Field(default="image", description="pictures")
    prepare: Prepare = Field(default=Prepare(), description="how pictures become numbers")
    encoder: Annotated[EncoderSettings, BeforeValidator(base_or_word)] = Field(
        default=Cnn(), description="the network: cnn, vit, mobilenet, or a pretrained one: owner/name"
    )
    augment: Annotated[list[Augment], BeforeValidator(steps(Flip, Crop, Colour, Rotate, Erase))] = Field(
        default=[], description="what is done to training rows, in this order: flip, crop, colour, rotate, erase"
    )

    def placed(self, path: Callable[[str], str]) -> Input:
        """The same with the folder of a pretrained encoder from the recipe's. Raises InputError where it is not there."""
        return self.model_copy(update={"encoder": self.encoder.placed(path)}) if isinstance(self.encoder, Pretrained) else self

    @model_validator(mode="after")
    def _fits(self) -> Input:
        refuse_clashes(self.prepare, self.encoder, tuple(Prepare.model_fields), "whose own processor says how pictures become numbers")
        if clash := misfit(self.prepare.size, self.encoder):
            raise ValueError(": ".join(clash))
        return self


def misfit(size: int, encoder: Settings) -> tuple[str, str] | None:
    """Why `encoder` cannot look at pictures of `size`, naming both settings, and a way out; None where it can."""
    if isinstance(encoder, Vit) and size % encoder.patch:
        return f"encoder.patch {encoder.patch} does not divide prepare.size {size}", _way_out(size, encoder.patch)
    if isinstance(encoder, Cnn) and len(encoder.widths) > (most := size.bit_length() - 1):
        clash = f"encoder.widths has {len(encoder.widths)} convolutions that each halve the picture"
        return f"{clash}, but prepare.size {size} can be halved {most} times only", f"give encoder.widths {most} numbers or fewer"
    return None


def _way_out(size: int, patch: int) -> str:
    """The sizes this patch suits and the patch that suits this size, each the nearest there is."""
    near = max(math.ceil(8 / patch), round(size / patch)) * patch
    patches = [n for n in range(2, min(size // 2, 256) + 1) if size % n == 0]
    other = f", or encoder.patch to {min(patches, key=lambda n: abs(n - patch))}" if patches else ""
    return f"set prepare.size to {near}{other}"
