"""Architectures that code of their own builds: they go through whole, by their own forward.

What learns by itself are the blocks that are plain to see; where none are, the whole is one. A room says under which names its
tensors go in; what comes out is read as models of transformers give it.
"""

from __future__ import annotations

import inspect
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from triptych.base import hub, trust
from triptych.base.errors import InputError
from triptych.contract.values import Packed
from triptych.layers.pool import masked_mean
from triptych.layers.tower import POOLED, Family, Flow, quiet

MASK = "attention_mask"
PROCESSOR = ("config.json", "preprocessor_config.json", "processor_config.json")
"""Files from which a processor is built again."""


class Own(Family):
    """Whatever a folder's code has for `AutoModel`. The vector is its `pooler_output`, where its file has what that takes; or the mean."""

    model = "AutoModel"
    whole = True
    asks: ClassVar[Mapping[str, tuple[str, ...]]]
    """Under which names what the room prepares may go in, the usual one first."""

    def opened(self, folder: Path) -> nn.Module:
        """Built by its own code, its weights from safetensors. Who calls has seen that the code may run."""
        return built(folder)[0]

    def pieces(self, base: Any) -> list[nn.Module]:
        """The blocks, where there is one list of them; else the whole."""
        found = plain_blocks(base)
        return [base] if found is None else list(found)

    def beside(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """What is made before the list of blocks, and after it."""
        found = plain_blocks(base)
        return ([], []) if found is None else _around(base, found)

    def asked(self, folder: Path) -> dict[str, Any]:
        """All its facts: its blocks, and from its answer to a sample its width and whether it has a vector of its own."""
        base, lacking = built(folder)
        with torch.no_grad(), quiet():
            flow = self.enter(base.eval(), self.sample(folder, base))
        width = flow.hidden.shape[-1]
        pooled = POOLED in flow.rows and flow.rows[POOLED].shape[-1] == width and not any("pool" in name for name in lacking)
        sizes = {"width": width, "blocks": len(self.pieces(base)), "parameters": sum(p.numel() for p in base.parameters())}
        return {**sizes, "pooling": "base" if pooled else "mean", **self.facts(base.config)}

    def facts(self, config: Any) -> dict[str, Any]:
        """What else the room wants to know."""
        return {}

    @abstractmethod
    def sample(self, folder: Path, base: Any) -> Packed:
        """Something to ask it once."""

    def enter(self, base: Any, packed: Packed) -> Flow:
        """From input to output."""
        taken = inspect.signature(base.forward).parameters
        words = {self._argument(base, name, taken): tensor for name, tensor in packed.tensors.items() if name in self.asks}
        if packed.mask_PT is not None and MASK in taken:
            words[MASK] = packed.mask_PT.long()
        try:
            tokens_PTD, pooled_PD = _read(base(**words))
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, IndexError) as error:
            what = f"code of its own fails: {type(base).__name__}.forward: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
            raise InputError(what, fix="see its repository for the versions it was written for") from error
        rows = {} if pooled_PD is None else {POOLED: pooled_PD}
        return Flow(tokens_PTD, shared_out(base, packed.mask_PT, tokens_PTD), rows)

    def _argument(self, base: Any, name: str, taken: Mapping[str, Any]) -> str:
        known = self.asks[name]
        found = next((one for one in known if one in taken), None)
        if found is None:
            what = f"{type(base).__name__} takes {', '.join(list(taken)[:4]) or 'nothing'}, and this input has {known[0]} for it"
            raise InputError(what, known=known, fix="give it to the input of its own kind")
        return found

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """Its answer as it is."""
        return flow.hidden

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """Its own vector."""
        return flow.rows[POOLED] if POOLED in flow.rows else masked_mean(tokens_PTD, mask_PT)


def class_of(folder: Path, file: str, auto: str) -> Any:
    """The class of a folder's own code for an `Auto...` class of transformers, as `file` says; None where it says nothing.

    It is taken by its name: asked for a model, transformers gives the code that it saw first for a config of the same code, which may
    have been other code.
    """
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    named = trust.mapped(folder, file).get(auto)
    several = [one for one in (named if isinstance(named, list | tuple) else [named]) if one]
    return get_class_from_dynamic_module(several[-1], folder, local_files_only=True) if several else None


def built(folder: Path) -> tuple[nn.Module, list[str]]:
    """The model that a folder's code builds, in float32, and the names of weights that its file lacks, all of them of a pooler.

    Raises:
        InputError: the code asks for a package that is not here, fails, or its weights are not those of the file.
    """
    import transformers

    words: dict[str, Any] = {"local_files_only": True}
    fix = "see its repository for what it needs and the versions it was written for"
    with quiet():
        try:
            kind = class_of(folder, hub.CONFIG, "AutoModel")
            if kind is None:
                raise ValueError(f"it has no AutoModel, only {', '.join(trust.mapped(folder))}")
            about = class_of(folder, hub.CONFIG, "AutoConfig")
            plain = about is None and transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **words)
            config = plain or about.from_pretrained(folder, **words)
            whole = {**words, "config": config, "use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
            base, told = kind.from_pretrained(folder, **whole)
        except ImportError as error:
            raise InputError(f"the model's own code cannot be loaded: {_first(error)}", where=str(folder), fix=fix) from error
        except Exception as error:  # code of strangers raises all kinds
            raise InputError(f"the model's own code fails: {_first(error)}", where=str(folder), fix=fix) from error
    lacking = sorted(told["missing_keys"])
    if missing := [name for name in lacking if "pool" not in name]:
        what = f"the weights lack {len(missing)} tensors of the {type(base).__name__} that its code builds, the first is {missing[0]}"
        raise InputError(what, where=str(folder), fix="copy or download it again")
    return base, lacking


def _first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def plain_blocks(base: nn.Module) -> nn.ModuleList | None:
    """The one list of alike blocks with weights that a model has, lists within its blocks apart; None where there are several, or none."""
    found = list(_lists(base))
    return found[0] if len(found) == 1 else None


def _lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    for child in module.children():
        if (
            isinstance(child, nn.ModuleList)
            and len(child) > 1
            and len({type(block) for block in child}) == 1
            and any(True for _ in child.parameters())
        ):
            yield child
        else:
            yield from _lists(child)


def _around(base: nn.Module, blocks: nn.ModuleList) -> tuple[list[nn.Module], list[nn.Module]]:
    """The largest modules without the list, as they were made before it or after it."""
    before: list[nn.Module] = []
    after: list[nn.Module] = []

    def walk(module: nn.Module, side: list[nn.Module]) -> list[nn.Module]:
        for child in module.children():
            if child is blocks:
                side = after
            elif any(inner is blocks for inner in child.modules()):
                side = walk(child, side)
            elif any(True for _ in child.parameters()):
                side.append(child)
        return side

    walk(base, before)
    return before, after


def _read(output: Any) -> tuple[Tensor, Tensor | None]:
    """Tokens (P, T, D) and the vector (P, D), if any, of a model's output: of transformers' form, a dictionary, a tuple or a tensor."""
    named = output if isinstance(output, Mapping) else {}
    held = [one for one in output if isinstance(one, Tensor)] if isinstance(output, tuple | list) else []
    tokens = named.get("last_hidden_state", output if isinstance(output, Tensor) else next((one for one in held if one.ndim > 2), None))
    pooled = named.get("pooler_output", next((one for one in held if one.ndim == 2), None))
    if tokens is None and pooled is None:
        known = ", ".join(named) or type(output).__name__
        raise InputError(f"the model's own code gives {known}, and neither last_hidden_state nor pooler_output")
    if pooled is not None:
        pooled = pooled.flatten(1)
    if tokens is None:
        assert pooled is not None
        return pooled[:, None], pooled
    if tokens.ndim == 2:
        return tokens[:, None], pooled if pooled is not None else tokens
    return (tokens.flatten(2).transpose(1, 2) if tokens.ndim == 4 else tokens), pooled


def shared_out(base: Any, mask_PT: Tensor | None, tokens_PTD: Tensor) -> Tensor | None:
    """Which tokens that come out are real: those that went in; where there are fewer, each stands for its share of the time.

    Where more come out than went in, all count: nobody knows which were added.
    """
    if mask_PT is None or mask_PT.shape[1] == tokens_PTD.shape[1]:
        return mask_PT
    given, made = mask_PT.shape[1], tokens_PTD.shape[1]
    if made > given:
        return None
    length_P = (mask_PT.sum(1) * made / given).ceil().long().clamp(min=1)
    return torch.arange(made, device=mask_PT.device) < length_P[:, None]


def keep_processor(folder: Path, out: Path) -> None:
    """Copy what a base's processor is built from, its code too, into a new folder."""
    out.mkdir(parents=True, exist_ok=True)
    for file in (folder / name for name in PROCESSOR):
        if file.exists():
            shutil.copyfile(file, out / file.name)
    hub.carry_code(folder, out)
