"""A layer of Swin over windows: what transformers' own layer gives, in two thirds of its time where nothing learns.

The original takes the whole batch from one step to the next, so every step reads it from memory and writes it back; it makes scores
and probabilities in full, and moves windows about with three copies each way. Here some windows at a time go through the whole
layer, while they lie in the processor's cache, and attention is one kernel. `first` is the first layer that learns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

TOKENS = 2048
"""At once: of 256 to 4,096 as good as any at the sizes of all four stages of a tiny Swin; there is little between 1,024 and 4,096."""


def learns(layer: Any, hidden_PTD: Tensor) -> bool:
    """Whether gradients are asked for, or tokens are dropped: what the layer itself is for."""
    if layer.training:
        return True
    return torch.is_grad_enabled() and (hidden_PTD.requires_grad or any(weight.requires_grad for weight in layer.parameters()))


def fits(layer: Any) -> bool:
    """Whether windows fill the map: one that would have to be padded is left to the layer itself."""
    layer.set_shift_and_window_size(layer.input_resolution)
    return all(side % int(layer.window_size) == 0 for side in layer.input_resolution)


def begins(layer: Any, hidden_PTD: Tensor) -> bool:
    """Whether learning begins in this layer, norm and all, over maps of one window: then `first` does what it does."""
    own, norm = layer.attention.self, layer.layernorm_before
    plain = all(type(made) is nn.Linear for made in (own.query, own.key, own.value))  # an addition (LoRA) is more than its weight
    whole = fits(layer) and layer.input_resolution == (layer.window_size, layer.window_size)
    return whole and plain and torch.is_grad_enabled() and not hidden_PTD.requires_grad and norm.weight.requires_grad


def first(layer: Any, hidden_PTD: Tensor) -> Tensor:
    """The first layer that learns, over maps of one window: a twelfth of its products is left out.

    What comes in needs no gradient, and norm and products after it are linear in it. So factor and offset of the norm go into the
    weights of those products, and their gradients come from the weights' own; nothing is gone back through to the tokens.
    """
    own, norm, (rows, size, width) = layer.attention.self, layer.layernorm_before, hidden_PTD.shape
    normed_PTD = layer_norm(hidden_PTD, norm.normalized_shape, eps=norm.eps)
    split = (rows, size, own.num_attention_heads, own.attention_head_size)
    query, key, value = (_after(norm, made, normed_PTD).view(split).transpose(1, 2) for made in (own.query, own.key, own.value))
    scores = (query * own.attention_head_size**-0.5) @ key.transpose(2, 3) + _bias(layer)
    seen_PTD = (own.dropout(scores.softmax(-1)) @ value).transpose(1, 2).reshape(rows, size, width)
    tokens_PTD = hidden_PTD + layer.drop_path(layer.attention.output(seen_PTD, hidden_PTD))
    return tokens_PTD + layer.output(layer.intermediate(layer.layernorm_after(tokens_PTD)))


def _after(norm: Any, made: Any, normed_PTD: Tensor) -> Tensor:
    """What a linear layer gives of normed tokens, which have neither factor nor offset yet."""
    offset = made.weight @ norm.bias
    return linear(normed_PTD, made.weight * norm.weight, offset if made.bias is None else offset + made.bias)


def through(layer: Any, hidden_PTD: Tensor) -> Tensor:
    """Tokens of square maps, row by row, through one layer (Liu et al. 2021, section 3.2)."""
    rows, _, width = hidden_PTD.shape
    flat_ND, made_ND = hidden_PTD.reshape(-1, width), torch.empty_like(hidden_PTD).view(-1, width)
    for at_N, bias_1HWW in _windows(layer, rows, hidden_PTD):
        made_ND[at_N] = _some(layer, flat_ND[at_N], bias_1HWW).to(made_ND.dtype)
    return made_ND.view(hidden_PTD.shape)


def _some(layer: Any, tokens_ND: Tensor, bias_1HWW: Tensor) -> Tensor:
    """Whole windows, one behind the other; all of them add the same to their scores."""
    own, size = layer.attention.self, bias_1HWW.shape[-1]
    normed_ND = layer.layernorm_before(tokens_ND)
    split = (-1, size, own.num_attention_heads, own.attention_head_size)
    query, key, value = (made(normed_ND).view(split).transpose(1, 2) for made in (own.query, own.key, own.value))
    bias = bias_1HWW.to(query.dtype).expand(len(query), -1, -1, -1)
    seen = scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).reshape(tokens_ND.shape)
    tokens_ND = tokens_ND + layer.attention.output(seen, tokens_ND)
    return tokens_ND + layer.output(layer.intermediate(layer.layernorm_after(tokens_ND)))


def _windows(layer: Any, rows: int, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Where the tokens of some windows lie in the batch, and what is added to the scores of each of these windows."""
    (height, width), window, shift = layer.input_resolution, int(layer.window_size), int(layer.shift_size)
    places_HW = torch.arange(height * width, device=like.device).view(height, width).roll((-shift, -shift), (0, 1))
    down, along = height // window, width // window
    at_WN = places_HW.view(down, window, along, window).transpose(1, 2).reshape(down * along, window**2)
    first_R11 = torch.arange(rows, device=like.device)[:, None, None] * (height * width)
    bias_1HWW, masks_WNN = _bias(layer), layer.get_attn_mask(height, width, like.dtype, like.device)
    for number_W in _alike(down, along, bool(shift)):
        at_N = (first_R11 + at_WN[number_W]).view(-1)
        bias = bias_1HWW if masks_WNN is None else bias_1HWW + masks_WNN[number_W[0]]
        for some_N in at_N.split(max(1, TOKENS // window**2) * window**2):
            yield some_N, bias


def _alike(down: int, along: int, shifted: bool) -> list[Tensor]:
    """Windows by number, those together that hide the same: in a shifted map the last row and the last column hide what came round."""
    number_DA = torch.arange(down * along).view(down, along)
    if not shifted:
        return [number_DA.reshape(-1)]
    parts = [number_DA[:-1, :-1], number_DA[:-1, -1:], number_DA[-1:, :-1], number_DA[-1:, -1:]]
    return [part.reshape(-1) for part in parts if part.numel()]


def _bias(layer: Any) -> Tensor:
    """What the distance between two tokens adds to each head's score: (1, heads, tokens, tokens)."""
    own = layer.attention.self
    size = int(layer.window_size) ** 2
    bias_NNH = own.relative_position_bias_table[own.relative_position_index.view(-1)].view(size, size, -1)
    return bias_NNH.permute(2, 0, 1)[None].contiguous()
