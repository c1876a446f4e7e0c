"""Rows of different lengths laid end to end in one sequence, so that nothing is computed for padding.

    model.set_attn_implementation(ROWS)                       # once; where nothing is laid it attends as ever
    with laid(lengths):
        model(inputs_embeds=end_to_end_1ND, position_ids=places(lengths), use_cache=False)

A decoder of transformers asks two registers by this name: one for its mask and one for its attention. While rows are laid, the
mask is the list of their lengths, which travels to the attention as masks do (so a block that is computed again on the way
back still has it). The attention looks within each row only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.base.errors import InputError

ROWS = "triptych_rows"
"""The attention's name, for `set_attn_implementation` of a model of transformers."""

_laid: ContextVar[tuple[int, ...] | None] = ContextVar("laid", default=None)


@contextmanager
def laid(lengths: Sequence[int]) -> Iterator[None]:
    """Within it, every sequence that passes a model with `ROWS` attention is rows of these lengths, end to end."""
    _register()
    before = _laid.set(tuple(int(length) for length in lengths))
    try:
        yield
    finally:
        _laid.reset(before)


def places(lengths: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """`position_ids` (1, N): in each row from 0."""
    return torch.cat([torch.arange(length) for length in lengths])[None].to(device)


def lengths_laid() -> tuple[int, ...] | None:
    """Those of the rows that are laid where this is asked, if any are."""
    return _laid.get()


def within(lengths: tuple[int, ...], attend: Callable[..., Tensor], *whole_1HND: Tensor) -> Tensor:
    """What `attend(rows, *parts)` gives to rows by themselves, end to end again: (1, N, H, D).

    Parts are of some rows side by side (R, H, T, D), filled up on the right; `rows` says which, as an index. On a CPU each row comes
    alone, as nothing is copied then (half the time of groups, seen for 16 rows of 10 to 300); a GPU, which waits for every
    call, takes rows of like length at once.
    """
    if not _grouped(whole_1HND[0].device):
        parts = zip(*(x.split(lengths, 2) for x in whole_1HND), strict=True)
        found = [attend(slice(row, row + 1), *part).transpose(1, 2) for row, part in enumerate(parts) if lengths[row]]
        return torch.cat(found, 1)
    sets, back = _groups(lengths, whole_1HND[0].device)
    found = [group.own(attend(group.rows, *(group.beside(x[0]) for x in whole_1HND))) for group in sets]
    return torch.cat(found).index_select(0, back)[None]


def _grouped(device: torch.device) -> bool:
    return device.type != "cpu"


class _Group(NamedTuple):
    """Rows of like length, side by side: their places in the whole sequence, filled up on the right."""

    place: Tensor
    """(rows x longest): where each token lies; where a row is shorter, its first place again, which no earlier token looks at."""
    real: Tensor
    """Which of them are the row's own."""
    rows: Tensor
    """Which rows."""

    def beside(self, x_HND: Tensor) -> Tensor:
        """Its rows of a whole sequence by heads, side by side (R, H, T, D)."""
        return x_HND.index_select(1, self.place).unflatten(1, (len(self.rows), -1)).transpose(0, 1)

    def own(self, x_RHTD: Tensor) -> Tensor:
        """Back to the tokens that are the rows' own, one after the other (n, H, D)."""
        return x_RHTD.transpose(1, 2).flatten(0, 1).index_select(0, self.real)


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is made while judging may be found again while training
def _groups(lengths: tuple[int, ...], device: torch.device) -> tuple[list[_Group], Tensor]:
    """Rows by length, none twice as long as another of its group; and where each place lies in the groups' tokens."""
    by_size: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        if length:
            by_size.setdefault((length - 1).bit_length(), []).append(row)
    starts = [0, *accumulate(lengths)]
    made, order = [], []
    for rows in by_size.values():
        length_R1, start_R1 = (torch.tensor([x[row] for row in rows])[:, None] for x in (lengths, starts))
        step_T = torch.arange(int(length_R1.max()))
        real_RT = step_T < length_R1
        place = torch.where(real_RT, start_R1 + step_T, start_R1).flatten()
        order.append(place[real_RT.flatten()])
        real = real_RT.flatten().nonzero().squeeze(1)
        made.append(_Group(place.to(device), real.to(device), torch.tensor(rows, device=device)))
    return made, torch.cat(order).argsort().to(device)


class _How(NamedTuple):
    """What is done to the scores of attention."""

    scale: float | None
    dropout: float
    softcap: float | None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, how: _How, causal: bool) -> Tensor:
    """Attention (R, H, T, D) by torch's own kernel; by hand where scores are capped (Gemma 2), which no kernel does."""
    repeat = query.shape[1] // key.shape[1]
    kernel = how.softcap is None and mask is None and (query.device.type == "cpu" or query.dtype != torch.float32)
    if repeat > 1 and not kernel:  # the others do not share keys between heads
        key, value = (x.repeat_interleave(repeat, 1) for x in (key, value))
    if how.softcap is None:
        return F.scaled_dot_product_attention(
            query, key, value, mask, how.dropout, causal, scale=how.scale, enable_gqa=repeat > 1 and kernel
        )
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if how.scale is None else how.scale)
    scores = how.softcap * torch.tanh(scores / how.softcap)
    if mask is None and causal:
        mask = _band(query.shape[-2], 0, query.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return F.dropout(scores.softmax(-1, dtype=torch.float32).to(value.dtype), how.dropout) @ value


def _band(length: int, window: int, device: torch.device) -> Tensor:
    """Which of the tokens up to itself a token looks at (T, T): all, or those of the last `window`."""
    whole = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return whole.triu(1 - window) if window else whole


def attend_rows(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **words: Any,
) -> tuple[Tensor, None]:
    """Queries (B, H, T, D) -> (B, T, H, D), as transformers' register of attentions asks for it."""
    how = _How(scaling, dropout, words.get("softcap"))
    strange = [word for word in ("position_bias", "s_aux") if words.get(word) is not None]
    if strange:
        raise InputError(f"{type(module).__name__} attends with {strange[0]!r}, which rows laid end to end cannot", fix="pad the rows")
    if attention_mask is None or attention_mask.ndim != 1:
        if attention_mask is None and _laid.get() is not None:
            raise InputError(f"{type(module).__name__} asks for no mask, so it cannot be told where rows begin", fix="pad the rows")
        return _as_ever(module, query, key, value, attention_mask, how, words)
    window, *lengths = attention_mask.tolist()
    if query.shape[0] != 1 or not sum(lengths) == query.shape[2] == key.shape[2]:
        raise InputError(f"rows of {sum(lengths)} places are laid, and {query.shape[0]} sequences of {query.shape[2]} came")

    def attend(rows: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        longest = query.shape[2]
        band = _band(longest, window, query.device) if 0 < window < longest else None
        return _attend(query, key, value, band, how, band is None)

    return within(tuple(lengths), attend, query, key, value), None


def _as_ever(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, how: _How, words: dict[str, Any]
) -> tuple[Tensor, None]:
    """No rows are laid: what `sdpa` does, and caps of scores besides."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if how.softcap is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, dropout=how.dropout, scaling=how.scale, **words
        )
        return found
    causal = query.shape[2] > 1 and getattr(module, "is_causal", True)
    return _attend(query, key, value, mask, how, causal).transpose(1, 2), None


def _mask_of_rows(*given: Any, **words: Any) -> Tensor | None:
    """The mask's register: (window or 0, lengths) while rows are laid, on the CPU; otherwise the mask of `sdpa`."""
    from transformers.masking_utils import sdpa_mask

    lengths = _laid.get()
    if lengths is None:
        made: Tensor | None = sdpa_mask(*given, **words)
        return made
    if words.get("use_vmap") or words.get("attention_mask") is not None:
        raise InputError("rows laid end to end take no mask besides their lengths", fix="pad the rows")
    return torch.tensor([words.get("local_size") or 0, *lengths])


def _register() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(ROWS, attend_rows)
    ALL_MASK_ATTENTION_FUNCTIONS.register(ROWS, _mask_of_rows)


SEES = {"full_attention", "sliding_attention"}
"""Kinds of layers that see a row as a row; a state that runs along a sequence (Mamba, convolutions) would run on into the next."""


def can_lay(model: Any) -> bool:
    """Whether this decoder gives laid rows what it gives each alone; if so, `ROWS` is its attention from now on.

    Judged by what the architecture says of itself, and then by trying: two short rows together and alone. Where it cannot,
    the model is as it was, and its rows have to be padded.
    """
    _register()
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or SEES)
    if not (getattr(model, "_supports_attention_backend", False) and kinds <= SEES and getattr(config, "is_causal", True)):
        return False
    before, training = config._attn_implementation, [module for module in model.modules() if module.training]
    try:
        model.set_attn_implementation(ROWS)
        model.eval()
        good = _same_as_alone(model)
    except Exception:  # whatever an architecture does not like: it is padded then
        good = False
    finally:
        for module in training:
            module.training = True
    if not good:
        model.set_attn_implementation(before)
    return good


@torch.no_grad()
def _same_as_alone(model: Any) -> bool:
    weight_VD = model.get_input_embeddings().weight
    lengths = (3, 5)
    hidden_1ND = weight_VD[torch.arange(sum(lengths), device=weight_VD.device) * 7 % len(weight_VD)][None]
    trunk = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model

    def through(part_1ND: Tensor, position_ids: Tensor) -> Tensor:
        made: Tensor = trunk(inputs_embeds=part_1ND, position_ids=position_ids, use_cache=False).last_hidden_state
        return made.float()

    with laid(lengths):
        together = through(hidden_1ND, places(lengths, weight_VD.device))
    alone = [through(part, places([part.shape[1]], weight_VD.device)) for part in hidden_1ND.split(lengths, 1)]
    apart = (together - torch.cat(alone, 1)).norm() / together.norm()
    return bool(apart < (1e-4 if weight_VD.dtype == torch.float32 else 3e-2))
