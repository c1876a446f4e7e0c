"""Image encoders that code of their own builds, and processors that do what is not known here: those are asked themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.values import Item, Packed
from triptych.layers.own import Own, class_of, keep_processor
from triptych.layers.tower import quiet

FOLDER = "processor"


class OwnImage(Own):
    """Pixels go in; what comes out is tokens or a map."""

    asks: ClassVar[Mapping[str, tuple[str, ...]]] = {"pixels": ("pixel_values", "images", "x")}

    def sample(self, folder: Path, base: Any) -> Packed:
        """A grey picture, as the base's own processor makes it."""
        return Packed({"pixels": Asked(folder, code=True).pixels(Image.new("RGB", (64, 48), (128, 128, 128)))[None]})


class Asked:
    """An image processor of transformers, asked picture by picture."""

    def __init__(self, folder: Path, code: bool) -> None:
        """From the folder of a base, or what `save` wrote; with code of its own, if that may run.

        Raises:
            InputError: it cannot be read.
        """
        from transformers import AutoImageProcessor

        self.folder = folder
        with quiet():
            try:
                own = class_of(folder, "preprocessor_config.json", "AutoImageProcessor") if code else None
                plain = {"local_files_only": True, "trust_remote_code": False, "backend": "pil"}
                self.held: Any = own.from_pretrained(folder) if own else AutoImageProcessor.from_pretrained(folder, **plain)
            except Exception as error:  # transformers, and code of strangers, raise all kinds
                what = f"the processor of the pretrained model cannot be read: {(str(error).strip() or 'nothing is said').splitlines()[0]}"
                fix = "copy or download the processor's file too: preprocessor_config.json"
                raise InputError(what, where=str(folder), fix=fix) from error

    def pixels(self, value: Image.Image) -> Tensor:
        """A picture -> (C, H, W), float32.

        Raises:
            InputError: it gives no such numbers.
        """
        with quiet():
            made = torch.as_tensor(self.held(images=value.convert("RGB"), return_tensors="pt")["pixel_values"]).float()
        if made.ndim != 4 or len(made) != 1:
            what = f"the base's processor makes numbers of the form {tuple(made.shape)} of a picture, and not (1, C, H, W)"
            raise InputError(what, where=str(self.folder), fix="name a base that takes a picture in one piece")
        return made[0]

    def levels(self, name: str, nothing: float, channels: int) -> list[float]:
        """`mean` or `std` of each channel, as far as it says."""
        said = getattr(self.held, f"image_{name}", None) if getattr(self.held, "do_normalize", False) else None
        return [float(number) for number in (said if isinstance(said, list | tuple) else [said or nothing] * channels)]

    def save(self, folder: Path) -> None:
        """Its files and its code as they are."""
        keep_processor(self.folder, folder / FOLDER)


def stacked(items: Sequence[Item]) -> Packed:
    """P items of `pixels` (C, H, W), float32 -> pixels (P, C, H, W).

    Raises:
        InputError: the processor leaves pictures in sizes of their own.
    """
    sizes = {tuple(item["pixels"].shape) for item in items}
    if len(sizes) > 1:
        what = f"the base's processor leaves pictures in sizes of their own: {', '.join(str(size) for size in sorted(sizes)[:3])}"
        raise InputError(what, fix="name a base whose processor makes all pictures one size")
    return Packed({"pixels": torch.stack([item["pixels"] for item in items])})
