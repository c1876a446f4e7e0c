"""A pretrained network as an encoder, cut between its blocks.

A room says for each family of architectures how to reach its pieces (`Family`); the rest is the same for all of them.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from triptych.base import hub, trust
from triptych.base.errors import InputError
from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Packed
from triptych.layers.held import BASE, Held
from triptych.layers.pool import AttentionPool, masked_mean

TOKENS, POOLED, BLOCK = "tokens_PTD", "pooled_PD", "block."
OWN = "own code"
"""The family of those that code of their own builds."""


@dataclass(frozen=True)
class Flow:
    """What goes from block to block: tokens (P, T, D) or a map (P, C, H, W), which tokens are real, and what is kept a row."""

    hidden: Tensor
    mask_PT: Tensor | None = None
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors with one value a row, which the end needs: the place of a text's last token."""


class Family(ABC):
    """How to reach the pieces of one architecture. `base` is always the model of transformers that `model` names."""

    model: ClassVar[str]
    """Name of the class in transformers."""
    trunk: ClassVar[str] = ""
    """Where in it the network lies; nothing where it is the network itself."""
    layers: ClassVar[str] = "encoder.layer"
    """Where in the trunk the blocks lie; `pieces` where they lie otherwise."""
    first: ClassVar[tuple[str, ...]] = ("embeddings",)
    last: ClassVar[tuple[str, ...]] = ()
    """What of the trunk, and of the model, goes with the first block and with the last."""
    optional: ClassVar[tuple[str, ...]] = ()
    """What of it a checkpoint may lack: where it does, it is left out rather than made up."""

    lengths: ClassVar[bool] = True
    """Whether rows keep lengths of their own, so that what goes into a block has a mask."""
    whole: ClassVar[bool] = False
    """Whether it is one piece to us, which `enter` goes through from input to output. Then nothing can be cut."""

    scalars: ClassVar[Mapping[str, str]] = {}
    """Facts that lie in the file as one number, by the tensor's name; of a dual encoder the `scale` (as its logarithm) and `bias`."""

    def of(self, base: Any) -> Any:
        """The trunk."""
        return _at(base, self.trunk)

    def pieces(self, base: Any) -> list[nn.Module]:
        """The blocks, from input to output."""
        return list(_at(base, _path(self.trunk, self.layers)))

    def ends(self, base: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`first` and `last`, for architectures in which they depend on the config."""
        return self.first, self.last

    def beside(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """The modules that go with the first block, and with the last."""
        first, last = self.ends(base)
        return _there(base, self.trunk, first), _there(base, self.trunk, last)

    def opened(self, folder: Path) -> nn.Module:
        """The model with its weights. Raises InputError where it cannot be read."""
        return pretrained(folder, self)

    def trimmed(self, base: Any) -> None:  # noqa: B027 of most nothing is
        """Take out of a base what no way through it passes."""

    def facts(self, config: Any) -> dict[str, Any]:
        """`width` of a config of transformers, and whatever else the room wants to know of it."""
        return {"width": config.hidden_size}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """How `auto` pools: `base`, as `pool` does it; or mean, first, last. `names` are the tensors in the base's files."""
        return "base"

    def stride(self, config: Mapping[str, Any]) -> int | None:
        """How many frames of what goes in one token stands for, by the base's config; None where tokens do not lie in the order of time."""
        return None

    def asked(self, folder: Path) -> dict[str, Any]:
        """The facts of a base that only its own code knows; of a known architecture none."""
        return {}

    @abstractmethod
    def enter(self, base: Any, packed: Packed) -> Flow:
        """What enters the first block."""

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """What every block takes besides the tokens, as keyword arguments: made once a pass, wherever it begins."""
        return {}

    def step(self, block: Any, hidden: Tensor, around: dict[str, Any]) -> Tensor:
        """Through one block."""
        made = block(hidden, **around)
        return made[0] if isinstance(made, tuple) else made

    @abstractmethod
    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The base's answer to each token: tokens_PTD."""

    def real(self, flow: Flow) -> Tensor | None:
        """Which tokens count once all blocks are passed; some that the blocks looked at may not."""
        return flow.mask_PT

    def vector(self, base: Any, flow: Flow) -> Tensor | None:
        """The same as `pool` gives, where it can be had without an answer to each token; None where it cannot."""
        return None

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The base's own vector of a row: pooled_PD."""
        return masked_mean(tokens_PTD, mask_PT)


class Tower(Held, Encoder):
    """A pretrained encoder. Facts say what it is (`family`, `width`, `blocks`, `parameters`, `digest`), so it need not be read."""

    families: ClassVar[Mapping[str, Family]]
    own: ClassVar[Family]
    """For those that code of their own builds."""

    def __init__(self, settings: Any, *, family: str, width: int, blocks: int, parameters: int, digest: str, **more: Any) -> None:
        """`more` is what the room's families noted besides."""
        facts = {"family": family, "width": width, "blocks": blocks, "parameters": parameters, "digest": digest, **more}
        super().__init__(settings, **facts)
        self.width, self.family = width, self.own if family == OWN else self.families[family]
        self.pooling = more["pooling"] if settings.pool == "auto" else settings.pool
        if self.pooling not in ("base", "attention", *_POOLS):
            what = f"{settings.name} pools in a way that is not known here ({self.pooling})"
            raise InputError(what, known=("mean", "first", "attention"), fix="say how in the recipe: encoder: {pool: mean}")
        self.attention = AttentionPool(width, next(n for n in (8, 4, 2, 1) if width % n == 0)) if settings.pool == "attention" else None

    @classmethod
    def named(cls, settings: Any, room: str) -> Self:
        """The tower that the settings name, for a room; its weights are not read yet."""
        folder = hub.located(settings.name, settings.revision, settings.trust_remote_code)
        tower = cls(settings, **described(folder, cls.families, room, cls.own, settings))
        tower.folder = folder
        return tower

    def size(self) -> int:
        """Of the base, known from its files, and of what was added to it."""
        return int(self.facts["parameters"]) + (sum(p.numel() for p in self.attention.parameters()) if self.attention else 0)

    @property
    def stride(self) -> int | None:
        """See `Encoder`."""
        return self.family.stride(hub.config(self.folder))

    def fresh(self) -> list[nn.Module]:
        """The learnt pooling."""
        return [self.attention] if self.attention is not None else []

    def opened(self) -> nn.Module:
        """See `Held`."""
        if self.family.whole:
            trust.let(self.folder, self.settings.name)  # what the recipe names was let when it was described
        return self.family.opened(self.folder)

    def pieces(self, base: Any) -> list[nn.Module]:
        """See `Held`."""
        return self.family.pieces(base)

    def ends(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """See `Held`."""
        return self.family.beside(base)

    def save(self, folder: Path) -> None:
        """See `Held`. Code of its own travels with it."""
        super().save(folder)
        if self.family.whole:
            hub.carry_code(self.folder, folder / BASE)

    def load_weights(self, path: Path) -> None:
        """See `Held`. Whether code of its own may run is asked now, not when the first row comes."""
        if self.family.whole:
            trust.let(path.parent / BASE, self.settings.name)
        super().load_weights(path)

    @contextmanager
    def halved(self) -> Iterator[None]:
        """See `Held`; what code of its own does with weights in bf16 nobody knows, so there they stay as they are."""
        with nullcontext() if self.family.whole else super().halved():
            yield

    @contextmanager
    def lean(self) -> Iterator[None]:
        """See `Held`, and `halved`."""
        with nullcontext() if self.family.whole else super().lean():
            yield

    def cuts(self, last: int) -> bool:
        """See `Encoder`."""
        return last == 0 or not self.family.whole

    # the way through

    def forward(self, packed: Packed) -> Encoded:
        """See `Encoder`. `inner` holds each block's output (`block.0` ...)."""
        if TOKENS in packed.tensors:
            own_PD = packed.tensors.get(POOLED)
            return self._pooled(_full(packed.tensors[TOKENS]), packed.mask_PT, None if own_PD is None else _full(own_PD), {})
        inner: dict[str, Tensor] = {}
        flow = self._through(packed, self.facts["blocks"], inner)
        tokens_PTD, mask_PT, pooled_PD = self._left(flow)
        return self._pooled(tokens_PTD, mask_PT, pooled_PD, inner)

    def cut(self, packed: Packed, last: int) -> Packed:
        """See `Encoder`."""
        there = self.facts["blocks"]
        if not 0 <= last <= there:
            raise InputError(f"the last {last} blocks are asked for, and {self.settings.name} has {there}", fix=f"last({there}) or fewer")
        if not self.cuts(last):
            raise InputError(f"{self.settings.name} is built by code of its own, and nothing can be cut between its blocks")
        if last == 0:
            if TOKENS in packed.tensors:
                return packed
            tokens_PTD, mask_PT, pooled_PD = self._left(self._through(packed, there))
            own = {} if pooled_PD is None else {POOLED: pooled_PD}
            return Packed({TOKENS: tokens_PTD, **own}, mask_PT)
        flow = self._through(packed, there - last)
        shape = "PTD" if flow.hidden.ndim == 3 else "PCHW"
        return Packed({f"{BLOCK}{there - last}_{shape}": flow.hidden, **flow.rows}, flow.mask_PT)

    def _through(self, packed: Packed, stop: int, inner: dict[str, Tensor] | None = None) -> Flow:
        """From a batch, or from where it was cut, to what enters block `stop`; what each block gives is held only where `inner` is."""
        flow, start = self._entered(packed)
        if self.family.whole:
            return flow
        if start > stop:
            raise ValueError(f"the rows were cut before block {start}, and what enters block {stop} is asked for")
        hidden, around = flow.hidden, self.family.around(self.base, flow)
        for number, layer in enumerate(self.layers()[start:stop], start=start):
            hidden = self.family.step(layer, hidden, around)
            if inner is not None:
                inner[f"{BLOCK}{number}"] = hidden
        return Flow(hidden, flow.mask_PT, flow.rows)

    def _entered(self, packed: Packed) -> tuple[Flow, int]:
        cut = next((name for name in packed.tensors if name.startswith(BLOCK)), None)
        if cut is None:
            return self.family.enter(self.base, packed), 0
        rows = {name: tensor for name, tensor in packed.tensors.items() if name != cut}
        return Flow(_full(packed.tensors[cut]), packed.mask_PT, rows), int(cut.removeprefix(BLOCK).split("_")[0])

    def _left(self, flow: Flow) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, which of them are real, and the base's own vector; where nobody reads tokens, the vector is the one token."""
        if not self.sequences and self.pooling == "base" and (vector_PD := self.family.vector(self.base, flow)) is not None:
            return vector_PD[:, None], torch.ones(len(vector_PD), 1, dtype=torch.bool, device=vector_PD.device), vector_PD
        tokens_PTD = self.family.leave(self.base, flow)
        real_PT = self.family.real(flow)
        mask_PT = real_PT if real_PT is not None else tokens_PTD.new_ones(tokens_PTD.shape[:2], dtype=torch.bool)
        own = self.family.pool(self.base, flow, tokens_PTD, mask_PT) if self.pooling == "base" else None
        return tokens_PTD, mask_PT, own

    def _pooled(self, tokens_PTD: Tensor, mask_PT: Tensor | None, own_PD: Tensor | None, inner: dict[str, Tensor]) -> Encoded:
        mask_PT = mask_PT if mask_PT is not None else tokens_PTD.new_ones(tokens_PTD.shape[:2], dtype=torch.bool)
        if own_PD is not None:
            pooled_PD = own_PD
        elif self.attention is not None:
            pooled_PD, inner["looked_at_PT"] = self.attention(tokens_PTD, mask_PT)
        else:
            pooled_PD = _POOLS[self.pooling](tokens_PTD, mask_PT)
        return Encoded(tokens_PTD, mask_PT, pooled_PD, inner)


def _full(tensor: Tensor) -> Tensor:
    """What was kept in bf16, in float32 where nothing else would bring it together with float32 weights."""
    return tensor if torch.is_autocast_enabled(tensor.device.type) else tensor.float()


def vectors_alone(pooled_PD: Tensor) -> Packed:
    """What a tower goes on from where only its vectors were kept: one token a row, the vector itself."""
    return Packed({TOKENS: pooled_PD[:, None], POOLED: pooled_PD})


def first_token(tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
    """The first token, which many bases have for this."""
    return tokens_PTD[:, 0]


def last_token(tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
    """The last real token: the only one that a causal network lets see all."""
    return picked(tokens_PTD, mask_PT.sum(1).clamp(min=1) - 1)


def picked(tokens_PTD: Tensor, at_P: Tensor) -> Tensor:
    """One token of each row, by its place."""
    return tokens_PTD[torch.arange(len(tokens_PTD), device=tokens_PTD.device), at_P]


def attended(trunk: Any, flow: Flow, causal: bool = False) -> Tensor | None:
    """The mask over keys in the form that the trunk's attention wants; `causal`: a token sees those before it alone."""
    from transformers import masking_utils

    said = None if flow.mask_PT is None else flow.mask_PT.long()
    words = {"config": trunk.config, "inputs_embeds": flow.hidden, "attention_mask": said}
    mask: Tensor | None = (
        masking_utils.create_causal_mask(**words, cache=None) if causal else masking_utils.create_bidirectional_mask(**words)
    )
    return mask


_POOLS = {"mean": masked_mean, "first": first_token, "last": last_token}


def described(folder: Path, families: Mapping[str, Family], room: str, own: Family | None = None, settings: Any = None) -> dict[str, Any]:
    """A base's facts, as its `Tower` takes them: found out once, and kept in the cache folder by the base's digest.

    Where the `settings` trust the base's own code and it has some, that is asked, through `own`.

    Raises:
        InputError: it is a base of another kind than the room's, or code of its own may not run.
    """
    if own is not None and settings.trust_remote_code and trust.mapped(folder):
        trust.let(folder, hub.called(folder), settings.name, settings.revision)
        word = hub.fingerprint(folder, code=True)
        return hub.kept(f"facts/{word[:32]}-{room}.json", lambda: {"family": OWN, **own.asked(folder), "digest": word})
    kind = hub.config(folder)["model_type"]
    if kind not in families:
        if trust.mapped(folder):
            raise trust.refuse_unsaid(folder, hub.called(folder))
        fix = f"name a model for {room}, or give {hub.called(folder)} to the input of its own kind"
        what = f"{hub.called(folder)} is a {kind} model, and no {room} tower is known in it"
        raise InputError(what, where=str(folder), known=families, fix=fix)
    word = hub.fingerprint(folder)
    return hub.kept(f"facts/{word[:32]}-{room}.json", lambda: {**_facts(folder, kind, families[kind]), "digest": word})


def _facts(folder: Path, kind: str, family: Family) -> dict[str, Any]:
    """Read from the config and the headers of the weights; no weight is."""
    import transformers

    model = getattr(transformers, family.model)
    names = hub.tensors(folder)
    with quiet(), torch.device("meta"):
        try:
            config = model.config_class.from_pretrained(folder, local_files_only=True)
            empty = model(config)
            family.trimmed(empty)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
            what = f"the config of the pretrained model fits no {family.model}: {str(error).strip().splitlines()[0]}"
            raise InputError(what, where=str(folder / hub.CONFIG), fix="copy or download it again") from error
    lacking = tuple(name for name in family.optional if not any(f".{name}." in f".{there}" for there in names))
    parameters = sum(p.numel() for name, p in empty.named_parameters() if not (lacking and name.startswith(lacking)))
    numbers = {fact: hub.scalar(folder, name) for fact, name in family.scalars.items() if name in names}
    if "scale" in numbers:
        numbers["scale"] = math.exp(numbers["scale"])
    own = {**family.facts(config), "blocks": len(family.pieces(empty)), "pooling": family.pooling(folder, names)}
    return {"family": kind, "parameters": parameters, **own, **numbers}


def pretrained(folder: Path, family: Family) -> nn.Module:
    """The base with its weights, in float32.

    Raises:
        InputError: the weights are not those of the architecture that the config names.
    """
    import transformers

    kind = getattr(transformers, family.model)
    with quiet():
        try:
            base, told = kind.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            what = f"the pretrained model cannot be read: {str(error).strip().splitlines()[0]}"
            raise InputError(what, where=str(folder), fix="copy or download it again") from error
    missing = [name for name in told["missing_keys"] if not name.startswith(family.optional)]
    for name in {name.split(".")[0] for name in told["missing_keys"]} & set(family.optional):
        setattr(base, name, None)
    family.trimmed(base)
    if missing:
        what = f"the weights lack {len(missing)} tensors of a {family.model}, the first is {missing[0]}"
        raise InputError(what, where=str(folder), fix="copy or download it again; or name a model of the architecture that its config says")
    return base


class quiet(warnings.catch_warnings):
    """Nothing of what transformers says while it reads: bars, advice, lists of weights that are left out."""

    def __enter__(self) -> None:
        """Remember how loud it was."""
        from transformers.utils import logging

        super().__enter__()
        warnings.simplefilter("ignore")
        self.before, self.bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *problem: Any) -> None:
        """As loud as before."""
        from transformers.utils import logging

        logging.set_verbosity(self.before)
        if self.bar:
            logging.enable_progress_bar()
        super().__exit__(*problem)


def _path(*steps: str) -> str:
    return ".".join(step for step in steps if step)


def _at(module: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), module) if path else module


def _there(base: Any, trunk: str, names: tuple[str, ...]) -> list[nn.Module]:
    """Modules by name, in the trunk or beside it; those that this base does not have are left out."""
    found = []
    for name in names:
        for root in dict.fromkeys((_at(base, trunk), base)):
            try:
                module = _at(root, name)
            except AttributeError:
                continue
            if isinstance(module, nn.Module):
                found.append(module)
                break
    return found
