"""A pretrained network that a part holds: read late, from its own files, frozen unless a stage trains it, and written down as what changed.

The weights are read when something needs them, and never where everything was remembered.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from triptych.base import hub
from triptych.contract.part import Part
from triptych.layers import adapter

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
BASE = "base"
"""Folder of the base's own files within a saved part, and name of its module."""


class Held(Part):
    """A part with a pretrained base. Facts say what it is (`blocks`, `parameters`, `digest`), so it need not be read.

    `folder` is where its files lie: set by the room that makes one, and by `load_weights`.
    """

    folder: Path
    here: Tensor

    def __init__(self, settings: Any, **facts: Any) -> None:
        """`settings` name the base, and its `lora`."""
        super().__init__(settings, **facts)
        self.register_buffer("here", torch.zeros(0), persistent=False)  # where the base is put once it is read
        self._trained: set[str] = set()

    @abstractmethod
    def opened(self) -> nn.Module:
        """The base with its weights, read anew from its files."""

    @abstractmethod
    def pieces(self, base: Any) -> list[nn.Module]:
        """The base's own blocks, in order."""

    def ends(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """What of the base goes with the first block, and with the last."""
        return [], []

    @property
    def made(self) -> bool:
        """Whether the base was read."""
        return BASE in self._modules

    def ready(self) -> None:
        """Read the base, once: frozen, in eval mode.

        Raises:
            InputError: files are missing or damaged, or the base is not what its config says.
        """
        if not self.made:
            self._modules[BASE] = self._read().to(device=self.here.device)  # add_module would ask for `base` first

    def rest(self) -> None:
        """Let go of a base that is as it was in its files; it is read again at the next need."""
        if self.made and not self._trained and self.settings.lora is None:
            del self._modules[BASE]

    @contextmanager
    def halved(self) -> Iterator[None]:
        """For a while, the weights of a frozen base lie in bf16, norms and statistics apart: autocast then casts none at each step.

        What follows a sum with a float32 weight (a table of places, a bias of attention) stays in bf16 too. A base that
        was changed since it was read keeps its weights and is cast at each step; any other is read again at the next need.
        """
        self.ready()
        if self._trained or self.settings.lora is not None:
            yield
            return
        for module in self.base.modules():
            if not isinstance(module, _NORMS):
                for name, parameter in module.named_parameters(recurse=False):  # new ones: a copy may share those that were
                    module._parameters[name] = nn.Parameter(parameter.detach().to(torch.bfloat16), requires_grad=False)
        try:
            yield
        finally:
            self.rest()

    @contextmanager
    def lean(self) -> Iterator[None]:
        """While a stage trains in bf16: weights of linear layers that it leaves alone lie in bf16, so no step casts them, nor keeps a copy.

        Vocabulary, norms and all that was ever trained stay as they are, and so does what flows between the blocks. Afterwards
        those weights are read again from the base's files: nothing is written down, or measured in full, that was halved.
        """
        halves = self._frozen_products()
        for module in halves.values():
            module._parameters["weight"] = nn.Parameter(module.weight.detach().to(torch.bfloat16), requires_grad=False)
        try:
            yield
        finally:
            if halves and self.made:
                with torch.random.fork_rng(devices=[]):
                    whole: Any = self.opened()
                for path, module in halves.items():
                    weight = whole.get_submodule(path.removesuffix(".base_layer")).weight.detach()
                    module._parameters["weight"] = nn.Parameter(weight.to(self.here.device), requires_grad=False)

    def _frozen_products(self) -> dict[str, Any]:
        """Linear layers of the base, by path, whose weight is as it was in the files and learns nothing now."""
        from transformers.pytorch_utils import Conv1D  # a linear layer with its weight on its side (GPT-2)

        if not self.made:
            return {}
        words = {id(module.weight) for module in self.base.modules() if isinstance(module, nn.Embedding)}
        return {
            path: module
            for path, module in self.base.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and adapter.MARK not in path and id(module.weight) not in words
            if not module.weight.requires_grad and f"{BASE}.{path}.weight" not in self._trained
        }

    def _read(self) -> nn.Module:
        base = self.opened()
        if self.settings.lora is not None:
            adapter.add(base, self.pieces(base), self.settings.lora, self.settings.name)
        return base.requires_grad_(False).eval()

    def size(self) -> int:
        """Of the base, known from its files."""
        return int(self.facts["parameters"])

    def depth(self) -> int:
        """Of the base, known from its config."""
        return int(self.facts["blocks"])

    def train(self, mode: bool = True) -> Self:
        """Blocks of the base that have nothing to learn stay in eval mode; those that learn are noted, for they must be kept."""
        super().train(mode)
        if mode and self.made:
            self._note()
            self._modules[BASE].eval()  # type: ignore[union-attr]
            for block in self.blocks():
                block.train(any(parameter.requires_grad for parameter in block.parameters()))
        return self

    def _note(self) -> None:
        """Remember which tensors of the base are not as they were: what is trained, and statistics of the blocks it is in.

        One that has two names, a vocabulary that is the head too, is known by the first of them.
        """
        learning = {id(p) for p in self.parameters() if p.requires_grad}
        moving = {id(b) for block in self.blocks() if any(p.requires_grad for p in block.parameters()) for b in block.buffers()}
        named = {id(tensor): name for name, tensor in reversed(self.state_dict(keep_vars=True).items())}
        self._trained |= {name for held, name in named.items() if held in learning | moving}

    def kept(self) -> dict[str, Tensor]:
        """What was ever trained of the base, and what was added to it."""
        if self.made:
            self._note()
        return {name: tensor for name, tensor in self.state_dict().items() if name in self._trained or not name.startswith(f"{BASE}.")}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `kept` gave: what was trained since then, and is not in it, is as it was in the base's files."""
        of_base = {name for name in tensors if name.startswith(f"{BASE}.")}
        if of_base or self.made:
            self.ready()
        if lost := self._trained - of_base:
            untouched = {f"{BASE}.{name}": tensor for name, tensor in self._read().state_dict().items()}
            tensors = {**{name: untouched[name] for name in lost if name in untouched}, **tensors}
        found = self.load_state_dict(dict(tensors), strict=False)
        missing = [name for name in found.missing_keys if not name.startswith(f"{BASE}.")]
        if missing or found.unexpected_keys:
            raise RuntimeError(f"missing: {', '.join(missing)}; unexpected: {', '.join(found.unexpected_keys)}")
        self._trained |= of_base

    def learnt(self) -> dict[str, Tensor]:
        """Copies of the base's tensors that were ever trained, and of what was added beside them."""
        return {name: tensor.detach().clone() for name, tensor in self.kept().items() if name.startswith(f"{BASE}.")}

    def origin(self, names: Iterable[str]) -> dict[str, Tensor]:
        """What those tensors were before; of an addition its first factor as it is, and zero for the second: it added nothing."""
        fresh = {f"{BASE}.{name}": tensor for name, tensor in self._read().state_dict().items()}
        here = self.state_dict()
        return {
            name: fresh[name] if adapter.MARK not in name else torch.zeros_like(here[name]) if adapter.SECOND in name else here[name]
            for name in names
        }

    def save(self, folder: Path) -> None:
        """The base's files beside what was trained: a run needs neither the Hub nor the folder that it came from."""
        super().save(folder)
        hub.carry(self.folder, folder / BASE)
        if self.settings.lora is not None and self.made:
            adapter.write(self.base, self.settings.lora, self.settings.name, folder / "adapter")

    def settle(self, folder: Path) -> None:
        """Read from there, and link to there, from here on."""
        self.folder = folder / BASE

    def load_weights(self, path: Path) -> None:
        """Take what was trained; the base, once it is needed, from the folder beside it."""
        self.settle(path.parent)
        hub.weights(self.folder)
        super().load_weights(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy that shares what is frozen: twice the memory of a large base for nothing."""
        shared = {id(p): p for p in self.parameters() if not p.requires_grad}
        memo.update(shared)
        made = self.__class__.__new__(self.__class__)
        memo[id(self)] = made
        made.__dict__.update({name: copy.deepcopy(value, memo) for name, value in self.__dict__.items()})
        return made

    @property
    def base(self) -> Any:
        """The model of transformers."""
        self.ready()
        return self._modules[BASE]

    def layers(self) -> list[nn.Module]:
        """The base's own blocks, in order."""
        return self.pieces(self.base)

    def blocks(self) -> list[nn.Module]:
        """The base's blocks; what comes before them goes with the first, what comes after with the last."""
        grouped = [[layer] for layer in self.layers()]
        first, last = self.ends(self.base)
        grouped[0][:0] = first
        grouped[-1] += [*last, *self.fresh()]
        return [parts[0] if len(parts) == 1 else nn.ModuleList(parts) for parts in grouped]
