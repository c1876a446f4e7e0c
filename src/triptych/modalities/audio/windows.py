"""Several windows of one recording, each encoded by itself and then brought together in one row.

A batch has `windows_P`: how many windows each row has. All windows of one row are equally long. What goes in has them as a
second dimension (P, N, ...), filled up; tokens that come out lie one window after the other.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from triptych.contract.values import Encoded, Packed

COUNT = "windows_P"
TOKENS = "_PTD"


def spread(packed: Packed) -> tuple[Packed, Tensor]:
    """A batch of P rows -> one of their R windows, as if each were a row; and how many each row has."""
    count_P = packed.tensors[COUNT]
    rows = {name: tensor for name, tensor in packed.tensors.items() if name != COUNT}
    if any(name.endswith(TOKENS) for name in rows):
        return _apart(rows, packed.mask_PT, count_P), count_P
    real_PN = torch.arange(int(count_P.max()), device=count_P.device) < count_P[:, None]
    mask_RT = None if packed.mask_PT is None else packed.mask_PT.repeat_interleave(count_P, 0)
    return Packed({name: tensor[real_PN] for name, tensor in rows.items()}, mask_RT), count_P


def _apart(rows: dict[str, Tensor], mask_PT: Tensor | None, count_P: Tensor) -> Packed:
    """Tokens in sequence -> each window's by themselves; what a row has once, each of its windows has."""
    assert mask_PT is not None
    length_R = (mask_PT.sum(1) // count_P).repeat_interleave(count_P)
    mask_RT = torch.arange(int(length_R.max()), device=length_R.device) < length_R[:, None]
    return Packed(
        {
            name: _moved(tensor, mask_PT, mask_RT) if name.endswith(TOKENS) else tensor.repeat_interleave(count_P, 0)
            for name, tensor in rows.items()
        },
        mask_RT,
    )


def gathered(packed: Packed, count_P: Tensor) -> Packed:
    """The other way, for what a tower gives when it is cut: tokens in sequence, the mean of vectors, anything else once a row."""
    first_P = count_P.cumsum(0) - count_P
    some_RTD = next(tensor for name, tensor in packed.tensors.items() if name.endswith(TOKENS))
    mask_RT = _mask(some_RTD, packed.mask_PT)
    mask_PT = _joined_mask(mask_RT, count_P)
    tensors = {
        name: _moved(tensor, mask_RT, mask_PT) if name.endswith(TOKENS) else _mean(tensor, count_P) if tensor.ndim > 1 else tensor[first_P]
        for name, tensor in packed.tensors.items()
    }
    return Packed({**tensors, COUNT: count_P}, mask_PT)


def joined(encoded: Encoded, count_P: Tensor) -> Encoded:
    """What a tower says of windows -> of rows: tokens in sequence, the mean of the vectors. `inner` stays by window."""
    mask_PT = _joined_mask(encoded.mask_BT, count_P)
    tokens_PTD = _moved(encoded.tokens_BTD, encoded.mask_BT, mask_PT)
    return replace(encoded, tokens_BTD=tokens_PTD, mask_BT=mask_PT, pooled_BD=_mean(encoded.pooled_BD, count_P))


def _mask(tokens_RTD: Tensor, mask_RT: Tensor | None) -> Tensor:
    return mask_RT if mask_RT is not None else tokens_RTD.new_ones(tokens_RTD.shape[:2], dtype=torch.bool)


def _joined_mask(mask_RT: Tensor, count_P: Tensor) -> Tensor:
    row_R = torch.arange(len(count_P), device=count_P.device).repeat_interleave(count_P)
    total_P = torch.zeros_like(count_P).index_add(0, row_R, mask_RT.sum(1))
    return torch.arange(int(total_P.max()), device=total_P.device) < total_P[:, None]


def _moved(tokens: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Real tokens into another arrangement of the same order."""
    made = tokens.new_zeros((*after.shape, tokens.shape[2]))
    made[after] = tokens[before]
    return made


def _mean(vectors_RD: Tensor, count_P: Tensor) -> Tensor:
    row_R = torch.arange(len(count_P), device=count_P.device).repeat_interleave(count_P)
    total_PD = vectors_RD.new_zeros((len(count_P), vectors_RD.shape[1])).index_add(0, row_R, vectors_RD)
    return total_PD / count_P[:, None]
