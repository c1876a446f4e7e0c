"""Any row may lack any input: a mixed batch equals its groups apart, for every fusion."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from triptych.base.errors import InputError
from triptych.contract.values import Encoded
from triptych.model.assemble import hide
from triptych.model.fusion import FUSIONS, build_fusion

COLUMNS = {"a": 6, "b": 10, "c": 8}


def settings(kind, **words):
    return FUSIONS[kind].Settings(width=8, dropout=0.0, **words)


def encoded(present, seed=0):
    """Random sequences of random lengths for the present rows, spread over the batch."""
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for column, width in COLUMNS.items():
        lengths = torch.randint(1, 6, (len(present[column]),), generator=draw)
        mask = torch.arange(5)[None] < lengths[:, None]
        tokens = torch.randn(len(present[column]), 5, width, generator=draw) * mask[..., None]
        whole = Encoded(tokens, mask, torch.randn(len(mask), width, generator=draw))
        rows = present[column]
        if rows.any():
            part = Encoded(whole.tokens_BTD[rows], whole.mask_BT[rows], whole.pooled_BD[rows])
            made[column] = part.spread(rows)
    return made


def every_mixture():
    mixes = [mix for mix in product([True, False], repeat=3) if any(mix)]
    table = torch.tensor(mixes + mixes)
    return {column: table[:, m] for m, column in enumerate(COLUMNS)}


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_a_mixed_batch_equals_its_rows_one_at_a_time(kind):
    torch.manual_seed(1)
    fusion = build_fusion(settings(kind), COLUMNS).eval()
    present = every_mixture()
    whole = encoded(present)
    together = fusion(whole, present)
    for row in range(len(present["a"])):
        alone = {c: p[row : row + 1] for c, p in present.items()}
        inputs = {
            c: Encoded(e.tokens_BTD[row : row + 1], e.mask_BT[row : row + 1], e.pooled_BD[row : row + 1])
            for c, e in whole.items()
            if alone[c]
        }
        single = fusion(inputs, alone)
        torch.testing.assert_close(single.pooled_BD[0], together.pooled_BD[row], atol=1e-5, rtol=1e-5)
        for column in COLUMNS:
            if alone[column]:
                torch.testing.assert_close(single.parts[column][0], together.parts[column][row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_an_absent_input_changes_nothing_and_a_present_one_does(kind):
    torch.manual_seed(1)
    fusion = build_fusion(settings(kind), COLUMNS).eval()
    everyone = {column: torch.ones(4, dtype=torch.bool) for column in COLUMNS}
    without_c = {**everyone, "c": torch.zeros(4, dtype=torch.bool)}
    one, other = encoded(everyone, seed=1), encoded(everyone, seed=2)
    swapped = {**one, "c": other["c"]}
    torch.testing.assert_close(fusion(one, without_c).pooled_BD, fusion(swapped, without_c).pooled_BD)
    assert not torch.allclose(fusion(one, everyone).pooled_BD, fusion(swapped, everyone).pooled_BD, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_parts_do_not_see_the_other_inputs(kind):
    """A contrastive loss over parts that had been mixed would see its own answer."""
    fusion = build_fusion(settings(kind), COLUMNS).eval()
    everyone = {column: torch.ones(4, dtype=torch.bool) for column in COLUMNS}
    one, other = encoded(everyone, seed=1), encoded(everyone, seed=2)
    parts = fusion({**other, "a": one["a"]}, everyone).parts
    torch.testing.assert_close(parts["a"], fusion(one, everyone).parts["a"])


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_gradients_are_finite_with_rows_that_have_one_input(kind):
    fusion = build_fusion(settings(kind), COLUMNS)
    present = every_mixture()
    fusion(encoded(present), present).pooled_BD.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters() if p.grad is not None)


def test_single_passes_its_input_through_and_refuses_two():
    fusion = build_fusion(settings("single"), {"a": 6}).eval()
    present = {"a": torch.tensor([True, True])}
    made = {"a": Encoded(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 6))}
    fused = fusion(made, present)
    torch.testing.assert_close(fused.pooled_BD, fused.parts["a"])
    with pytest.raises(InputError, match="takes one input, there are 3: a, b, c"):
        build_fusion(settings("single"), COLUMNS)


def test_hiding_inputs_never_leaves_a_row_with_none():
    torch.manual_seed(0)
    present = {c: p.repeat(50) for c, p in every_mixture().items()}
    hidden = hide(present, 0.9)
    before, after = (torch.stack(list(x.values()), 1) for x in (present, hidden))
    assert after.any(1).all()
    assert not (after & ~before).any()
    several = before.sum(1) > 1
    assert after[several].float().mean() < before[several].float().mean() * 0.7
