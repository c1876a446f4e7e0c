"""Projectors: lengths, masks, and padding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.layers.projectors import PROJECTORS, projector, stacked

IN, OUT = 6, 8


PROJECTING = [kind for kind in PROJECTORS if kind != "none"]


@pytest.mark.parametrize("kind", PROJECTING)
@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4), shorten=st.integers(1, 4), wider=st.integers(0, 5))
def test_a_padded_row_gives_what_it_gives_alone(kind, lengths, shorten, wider):
    torch.manual_seed(0)
    made = projector(kind, IN, OUT, shorten, queries=3, layers=2)
    tokens = torch.randn(len(lengths), max([*lengths, 1]) + wider, IN) * 9  # what lies in the padding may be anything
    mask = torch.arange(tokens.shape[1]) < torch.tensor(lengths)[:, None]
    out, real = made(tokens, mask)
    assert out.shape[2] == OUT and out.shape[:2] == real.shape and not out[~real].any()
    for row, length in enumerate(lengths):
        assert real[row].sum() == (3 * (length > 0) if kind == "resampler" else -(-length // shorten))
        if length:
            alone, all_real = made(tokens[row : row + 1, :length], mask[row : row + 1, :length])
            assert all_real.all()
            torch.testing.assert_close(out[row][real[row]], alone[0], rtol=1e-4, atol=1e-5)


def test_neighbours_are_put_side_by_side():
    tokens, mask = stacked(torch.arange(5.0).view(1, 5, 1), torch.tensor([[True, True, True, True, False]]), 2)
    assert tokens.tolist() == [[[0, 1], [2, 3], [0, 0]]] and mask.tolist() == [[True, True, False]]


@pytest.mark.parametrize("kind", PROJECTING)
def test_every_weight_learns(kind):
    made = projector(kind, IN, OUT, 2)
    out, _ = made(torch.randn(2, 7, IN), torch.ones(2, 7, dtype=torch.bool))
    out.square().sum().backward()
    assert [name for name, weight in made.named_parameters() if weight.grad is None] == []


def test_the_mlp_is_llavas():
    """Two dense layers of the decoder's width, GELU between them; here after a norm, as every input's projection has one."""
    made, tokens = projector("mlp", IN, OUT), torch.randn(1, 3, IN)
    first, second = (layer for layer in made.dense if isinstance(layer, torch.nn.Linear))
    plain = second(torch.nn.functional.gelu(first(made.norm(tokens))))
    torch.testing.assert_close(made(tokens, torch.ones(1, 3, dtype=torch.bool))[0], plain)


def test_an_unknown_word_is_said_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resampler'"):
        projector("resampel", IN, OUT)


def test_none_leaves_what_is_real_as_it_is():
    tokens_BTD, mask_BT = torch.randn(2, 3, 4), torch.tensor([[True, True, True], [True, False, False]])
    made, mask = projector("none", 4, 4)(tokens_BTD, mask_BT)
    assert torch.equal(made, tokens_BTD * mask_BT[..., None]) and torch.equal(mask, mask_BT)
