"""Sound encoders that code of their own builds, and feature extractors that do what is not known here: those are asked themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from triptych.base.errors import InputError
from triptych.contract.values import Item, Packed
from triptych.layers.own import Own, class_of, keep_processor
from triptych.layers.tower import quiet
from triptych.modalities.audio.processors import SAMPLES, Processor

FOLDER = "processor"
FEATURES = "features"


class OwnSound(Own):
    """Samples or a spectrogram go in, whichever the base's own feature extractor makes."""

    asks: ClassVar[Mapping[str, tuple[str, ...]]] = {
        SAMPLES: ("input_values", "input_features", "x"),
        FEATURES: ("input_features", "input_values", "features", "x"),
    }
    lengths: ClassVar[bool] = True

    def sample(self, folder: Path, base: Any) -> Packed:
        """A second of a tone."""
        asked = Asked(folder, code=True)
        wave_N = np.sin(np.arange(asked.rate) * 2 * np.pi * 440 / asked.rate).astype(np.float32)
        return asked.collate(asked.items([wave_N]), False)


class Asked(Processor):
    """A feature extractor of transformers, asked recording by recording: `samples` (N,) or `features` (T, F)."""

    def __init__(self, folder: Path, code: bool) -> None:
        """From the folder of a base, or what `save` wrote; with code of its own, if that may run.

        Raises:
            InputError: it cannot be read.
        """
        from transformers import AutoFeatureExtractor

        self.folder = folder
        with quiet():
            try:
                own = class_of(folder, "preprocessor_config.json", "AutoFeatureExtractor") if code else None
                plain = {"local_files_only": True, "trust_remote_code": False}
                self.held: Any = own.from_pretrained(folder) if own else AutoFeatureExtractor.from_pretrained(folder, **plain)
            except Exception as error:  # transformers, and code of strangers, raise all kinds
                said = (str(error).strip() or "nothing is said").splitlines()[0]
                what = f"the feature extractor of the pretrained model cannot be read: {said}"
                fix = "copy or download its file too: preprocessor_config.json"
                raise InputError(what, where=str(folder), fix=fix) from error
        self.rate = int(self.held.sampling_rate)

    def items(self, waves: Sequence[np.ndarray]) -> list[Item]:
        """See `Processor`."""
        return [self._item(wave_N) for wave_N in waves]

    def _item(self, wave_N: np.ndarray) -> Item:
        with quiet():
            made = self.held(wave_N, sampling_rate=self.rate, return_tensors="np")
        name = next((one for one in ("input_features", "input_values") if one in made), None)
        numbers = None if name is None else torch.from_numpy(np.asarray(made[name], np.float32))
        if numbers is None or not 2 <= numbers.ndim <= 3 or len(numbers) != 1:
            known = ", ".join(f"{one} {np.asarray(tensor).shape}" for one, tensor in made.items())
            what = f"the base's feature extractor makes {known} of a recording, and not (1, samples) or (1, frames, bands)"
            raise InputError(what, where=str(self.folder), fix="name a base that takes a recording in one piece")
        return {SAMPLES if numbers.ndim == 2 else FEATURES: numbers[0]}

    def collate(self, items: Sequence[Item], fill: bool | str) -> Packed:
        """See `Processor`."""
        name = next(iter(items[0]))
        along = -1 if name == SAMPLES else -2
        lengths = [item[name].shape[along] for item in items]
        made = torch.stack([_longer(item[name], max(lengths), along) for item in items])
        return Packed({name: made}, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])

    def save(self, folder: Path) -> None:
        """Its files and its code as they are."""
        keep_processor(self.folder, folder / FOLDER)


def _longer(tensor: Tensor, length: int, along: int) -> Tensor:
    return pad(tensor, (*(0, 0) * (-along - 1), 0, length - tensor.shape[along]))
