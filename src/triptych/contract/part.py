"""A piece of a model that can be made, saved, frozen and thawed by itself."""

from __future__ import annotations

import importlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from triptych.base import settings as base
from triptych.base.errors import InputError
from triptych.base.files import write_json, written_aside
from triptych.base.settings import parse, spelled_out
from triptych.contract.values import Encoded, Packed

WEIGHTS, ABOUT = "weights.safetensors", "part.json"


class Part(nn.Module):
    """An `nn.Module` made of `settings` (what the recipe says) and `facts` (what the data said: sizes, class counts).

    A subclass names its settings class as `Settings` and takes `(settings, **facts)`; facts are plain JSON values.
    """

    Settings: ClassVar[type[base.Settings]]

    def __init__(self, settings: base.Settings, **facts: Any) -> None:
        """Remember what the part is made of, so that it can save itself."""
        super().__init__()
        self.settings: Any = settings
        self.facts: Mapping[str, Any] = facts

    def blocks(self) -> list[nn.Module]:
        """The part's blocks from input to output: what `last(N)`, gradual unfreezing, LoRA and caching count."""
        return [self]

    def depth(self) -> int:
        """How many blocks there are, known without weights."""
        return len(self.blocks())

    @property
    def made(self) -> bool:
        """Whether its weights are in memory. A part that reads them late has no parameters before, and nothing of it learns."""
        return True

    def ready(self) -> None:
        """Have the weights in memory from here on."""

    def size(self) -> int:
        """How many numbers its weights are, in memory or not."""
        return sum(parameter.numel() for parameter in self.parameters())

    def fresh(self) -> list[nn.Module]:
        """What nobody has trained before in a part that comes trained: it learns in every stage, or it would stay chance."""
        return []

    def kept(self) -> dict[str, Tensor]:
        """The tensors that must be written down: all but those that lie unchanged in files of their own."""
        return dict(self.state_dict())

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `kept` gave. Raises RuntimeError where names or shapes do not fit."""
        self.load_state_dict(dict(tensors))

    def save(self, folder: Path) -> None:
        """Write `part.json` and `weights.safetensors` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        kind = type(self)
        about = {"class": f"{kind.__module__}:{kind.__qualname__}", "settings": spelled_out(self.settings), "facts": dict(self.facts)}
        write_json(folder / ABOUT, about)
        with written_aside(folder / WEIGHTS) as aside:
            save_file({name: tensor.contiguous() for name, tensor in self.kept().items()}, aside)

    def settle(self, folder: Path) -> None:
        """Know that `save` wrote into `folder` and that it will stay there."""

    @staticmethod
    def load(folder: Path) -> Part:
        """Make the part again from its folder, weights and all, in eval mode.

        Raises:
            InputError: a file is missing, damaged, or names something that is not a part of triptych.
        """
        about = read_about(folder / ABOUT)
        kind = _part_class(about["class"], folder / ABOUT)
        settings = parse(kind.Settings, about["settings"], str(folder / ABOUT))
        try:
            part = kind(settings, **about["facts"])
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
            what = f"the part's facts do not fit it: {error}"
            raise InputError(what, where=str(folder / ABOUT), fix="copy the run folder again, or train again") from error
        part.load_weights(folder / WEIGHTS)
        return part.eval()

    def load_weights(self, path: Path) -> None:
        """Take weights from a safetensors file; each name and shape must fit."""
        try:
            self.take(load_file(path))
        except FileNotFoundError as error:
            raise InputError("a weights file is missing", where=str(path), fix="copy the whole run folder, or train again") from error
        except (SafetensorError, RuntimeError, OSError) as error:
            reason = str(error).strip().splitlines()
            raise InputError(
                f"the weights do not fit or are damaged: {' '.join(reason[:3])}",
                where=str(path),
                fix="copy the run folder again, or train again",
            ) from error


class Encoder(Part):
    """A part that turns one prepared input into `Encoded` of width `width`."""

    width: int
    sequences: bool = True
    """Whether somebody reads the tokens that it gives. Where nobody does, it may give its vector as the one token."""

    @property
    def stride(self) -> int | None:
        """How many frames of what goes in one token stands for, where tokens follow each other in time; None where they do not."""
        return None

    @abstractmethod
    def forward(self, packed: Packed) -> Encoded:
        """(P rows of one input) -> tokens_PTD, mask_PT, pooled_PD, and every intermediate by name in `inner`.

        It takes what `cut` gave just as well, and goes on from there.
        """

    def cut(self, packed: Packed, last: int) -> Packed:
        """What enters the first of the last `last` blocks; with 0, what the whole encoder gives, before anything that is `fresh`.

        `forward(cut(packed, last))` equals `forward(packed)`. A tensor of it whose name ends in `_PTD` has T tokens, the real
        ones first as `mask_PT` marks them; every other has one value a row.

        Raises:
            InputError: the encoder has fewer blocks, or cannot be cut.
        """
        raise InputError(f"an encoder of this kind ({type(self).__name__}) cannot be cut between its blocks")

    def cuts(self, last: int) -> bool:
        """Whether `cut` can be had there."""
        return type(self).cut is not Encoder.cut


def read_about(path: Path) -> dict[str, Any]:
    """What stands in a part's `part.json`: class, settings, facts. Raises InputError where it is missing or damaged."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {"class": about["class"], "settings": about["settings"], "facts": about["facts"]}
    except FileNotFoundError as error:
        raise InputError("a part of the model is missing", where=str(path), fix="copy the whole run folder, or train again") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"the part's description is damaged: {error}", where=str(path), fix="copy the run folder again, or train again"
        ) from error


def _part_class(name: str, where: Path) -> type[Part]:
    """Only classes of this package are made from a run folder: opening a stranger's run must not run a stranger's code."""
    module, _, qualname = str(name).partition(":")
    found = None
    if module.split(".")[0] == __name__.split(".")[0]:
        try:
            found = getattr(importlib.import_module(module), qualname, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and issubclass(found, Part) and hasattr(found, "Settings")):
        raise InputError(
            f"{name!r} is not a part this version of triptych knows",
            where=str(where),
            fix="open the run with the version named in its run.json",
        )
    return found
