"""Gated cross-attention between a decoder's own blocks (Flamingo, Alayrac et al. 2022): its tokens look at a context.

    looks = Looks(blocks=30, width=576, context_width=128, heads=9, every=4)
    looks.install(model)
    with looking(context_RSC, mask_RS):
        model(...)                       # or model.generate(...)

The gates begin at zero, so the decoder is unchanged until they learn; outside `looking` it always is. Row i of a batch looks at
row i of the context; so does row i of those laid end to end (`layers/rows.py`), and each of a row's beams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.layers.rows import lengths_laid, within

WORD = "triptych_looked"
"""Keyword by which the context goes to the blocks."""


@dataclass
class Looked:
    """What rows look at, and how long each is where they are laid end to end."""

    context_RSC: Tensor
    mask_RS: Tensor
    lengths: tuple[int, ...] | None = None
    kept: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values of each layer, while a text is written: they are the same at every step."""


_looked: ContextVar[Looked | None] = ContextVar("looked", default=None)


@contextmanager
def looking(context_RSC: Tensor, mask_RS: Tensor) -> Iterator[None]:
    """Within it, installed layers look at this context; a row whose mask is all false sees nothing."""
    before = _looked.set(Looked(context_RSC, mask_RS))
    try:
        yield
    finally:
        _looked.reset(before)


class GatedCross(nn.Module):
    """x + tanh(a) attention(norm(x), context), then + tanh(b) of a feed-forward layer; both gates begin at zero."""

    def __init__(self, width: int, context_width: int, heads: int) -> None:
        """`width` must be divisible by `heads`."""
        super().__init__()
        if width % heads:
            raise InputError(f"heads={heads} does not divide width={width}")
        self.heads = heads
        self.norm, self.norm_context, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(context_width), nn.LayerNorm(width)
        self.to_query, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.to_key_value = nn.Linear(context_width, 2 * width, bias=False)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False))
        self.gate_attend, self.gate_feed = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, x_BTD: Tensor, looked: Looked) -> Tensor:
        """(B, T, D) -> (B, T, D), with B = R, R times a number of beams, or 1 where R rows are laid end to end."""
        query = self._split(self.to_query(self.norm(x_BTD)))
        key, value = self._keys(looked)
        attend = self._batch if looked.lengths is None else self._laid
        found_BTD = self.out(attend(query, key, value, looked).flatten(2))
        x_BTD = x_BTD + (self.gate_attend.tanh() * found_BTD).to(x_BTD.dtype)
        return x_BTD + (self.gate_feed.tanh() * self.feed(self.norm_feed(x_BTD))).to(x_BTD.dtype)

    def _split(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _keys(self, looked: Looked) -> tuple[Tensor, Tensor]:
        """By heads (R, H, S, D / H)."""
        if id(self) in looked.kept and not torch.is_grad_enabled():
            return looked.kept[id(self)]
        key, value = self.to_key_value(self.norm_context(looked.context_RSC)).chunk(2, dim=-1)
        made = self._split(key), self._split(value)
        if not torch.is_grad_enabled():
            looked.kept[id(self)] = made
        return made

    def _batch(self, query_BHTD: Tensor, key: Tensor, value: Tensor, looked: Looked) -> Tensor:
        """(B, T, H, D / H)."""
        beams, rest = divmod(len(query_BHTD), len(key))
        if rest or not beams:
            raise InputError(f"{len(query_BHTD)} rows cannot look at the context of {len(key)}")
        mask_RS = looked.mask_RS
        if beams > 1:
            key, value, mask_RS = (x.repeat_interleave(beams, 0) for x in (key, value, mask_RS))
        return _attend(query_BHTD, key, value, mask_RS).transpose(1, 2)

    def _laid(self, query_1HND: Tensor, key: Tensor, value: Tensor, looked: Looked) -> Tensor:
        lengths = looked.lengths or ()
        if len(lengths) != len(key) or sum(lengths) != query_1HND.shape[2]:
            raise InputError(f"{len(lengths)} rows are laid, of {sum(lengths)} places, and the context is of {len(key)} rows")

        def attend(rows: Any, query: Tensor) -> Tensor:
            return _attend(query, key[rows], value[rows], looked.mask_RS[rows])

        return within(lengths, attend, query_1HND)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask_BS: Tensor) -> Tensor:
    """Over the context's real tokens (B, H, T, D); zeros for a row that has none."""
    if not key.shape[2]:
        return torch.zeros_like(query)
    some_B111 = mask_BS.any(1)[:, None, None, None]
    allowed = mask_BS[:, None, None, :] | ~some_B111  # softmax over nothing is not a number
    return F.scaled_dot_product_attention(query, key.to(query.dtype), value.to(query.dtype), allowed) * some_B111


class Looks(nn.Module):
    """Gated layers before every `every`-th block of a decoder of `blocks`; they belong to nobody until `install`."""

    def __init__(self, blocks: int, width: int, context_width: int, heads: int, every: int = 1) -> None:
        """See `GatedCross`.

        Raises:
            InputError: the decoder has fewer than `every` blocks.
        """
        super().__init__()
        if not 1 <= every <= blocks:
            raise InputError(f"every={every}: the decoder has {blocks} blocks", known=range(1, blocks + 1))
        self.every = every
        self.layers = nn.ModuleList(GatedCross(width, context_width, heads) for _ in range(blocks // every))

    def install(self, model: Any) -> None:
        """Put hooks around a decoder of transformers; its weights and their names stay as they are."""
        trunk, blocks = trunk_and_blocks(model)
        trunk.register_forward_pre_hook(_tell, with_kwargs=True)
        for number, block in enumerate(blocks, 1):
            layer = self.layers[number // self.every - 1] if number % self.every == 0 else None
            block.register_forward_pre_hook(_Before(layer), with_kwargs=True)


def trunk_and_blocks(model: Any) -> tuple[nn.Module, list[nn.Module]]:
    """The network of a decoder of transformers without its head, and its blocks from input to output.

    Raises:
        InputError: there is no list of as many modules as the config tells of blocks.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    count = model.config.get_text_config().num_hidden_layers
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return model.get_submodule(path.rpartition(".")[0]), list(module)
    raise InputError(f"{type(model).__name__} has no list of {count} blocks to put gated layers between")


def _tell(module: nn.Module, given: tuple[Any, ...], words: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Hand the context to the blocks as a word of the call, so that a block which is computed again on the way back has it still."""
    looked = _looked.get()
    if looked is not None:
        looked = Looked(looked.context_RSC, looked.mask_RS, lengths_laid(), looked.kept)
    return given, words if looked is None else {**words, WORD: looked}


class _Before:
    """Takes the word out of a block's call, and sends what enters the block through the layer."""

    def __init__(self, layer: nn.Module | None) -> None:
        self.layer = layer

    def __call__(self, module: nn.Module, given: tuple[Any, ...], words: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if _looked.get() is not None and WORD not in words:
            raise InputError(f"{type(module).__name__} is not given the words of its model's call, so it cannot look at a context")
        words = dict(words)
        looked = words.pop(WORD, None)
        if looked is None or self.layer is None:
            return given, words
        if given:
            return (self.layer(given[0], looked), *given[1:]), words
        return given, {**words, "hidden_states": self.layer(words["hidden_states"], looked)}
