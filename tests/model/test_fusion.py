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


def fusion_of(kind):
    return build_fusion(settings(kind), COLUMNS, into=12 if kind == "prefix" else None)


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
    fusion = fusion_of(kind).eval()
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
        for column, values in single.prefix.items():
            assert len(values[0]) == len(together.prefix[column][row]) == alone[column]
            for mine, theirs in zip(values[0], together.prefix[column][row], strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_an_absent_input_changes_nothing_and_a_present_one_does(kind):
    torch.manual_seed(1)
    fusion = fusion_of(kind).eval()
    everyone = {column: torch.ones(4, dtype=torch.bool) for column in COLUMNS}
    without_c = {**everyone, "c": torch.zeros(4, dtype=torch.bool)}
    one, other = encoded(everyone, seed=1), encoded(everyone, seed=2)
    swapped = {**one, "c": other["c"]}
    torch.testing.assert_close(fusion(one, without_c).pooled_BD, fusion(swapped, without_c).pooled_BD)
    assert not torch.allclose(fusion(one, everyone).pooled_BD, fusion(swapped, everyone).pooled_BD, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_parts_do_not_see_the_other_inputs(kind):
    """A contrastive loss over parts that had been mixed would see its own answer."""
    fusion = fusion_of(kind).eval()
    everyone = {column: torch.ones(4, dtype=torch.bool) for column in COLUMNS}
    one, other = encoded(everyone, seed=1), encoded(everyone, seed=2)
    parts = fusion({**other, "a": one["a"]}, everyone).parts
    torch.testing.assert_close(parts["a"], fusion(one, everyone).parts["a"])


@pytest.mark.parametrize("kind", [kind for kind in FUSIONS if kind != "single"])
def test_gradients_are_finite_with_rows_that_have_one_input(kind):
    fusion = fusion_of(kind)
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


def test_prefix_gives_each_value_its_own_sequence_in_the_width_of_the_decoder():
    """Of several values of a row each is projected by itself, whatever the other rows of the batch have."""
    torch.manual_seed(0)
    for words, lengths in (({}, (2, 3)), ({"shorten": {"a": 2}}, (1, 2)), ({"projector": "resampler", "queries": 4, "layers": 1}, (4, 4))):
        fusion = build_fusion(settings("prefix", **words), {"a": 6}, into=12).eval()
        tokens, mask = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        both = Encoded(tokens, mask, torch.randn(2, 6), each=((2, 3), (3,)))
        made = fusion({"a": both}, {"a": torch.tensor([True, True])}).prefix["a"]
        assert [tuple(value.shape) for value in made[0]] == [(length, 12) for length in lengths]
        one = Encoded(tokens[:1, 2:], mask[:1, 2:], torch.randn(1, 6))
        torch.testing.assert_close(fusion({"a": one}, {"a": torch.tensor([True])}).prefix["a"][0][0], made[0][1])
        assert fusion({"a": both}, {"a": torch.tensor([True, False])}).prefix["a"][1] == []


def test_prefix_wants_a_decoder_and_known_inputs():
    with pytest.raises(InputError, match="no decoder"):
        build_fusion(settings("prefix"), COLUMNS)
    with pytest.raises(InputError, match="input in fusion"):
        build_fusion(settings("prefix", shorten={"d": 2}), COLUMNS, into=12)


def test_hiding_inputs_never_leaves_a_row_with_none():
    torch.manual_seed(0)
    present = {c: p.repeat(50) for c, p in every_mixture().items()}
    hidden = hide(present, 0.9)
    before, after = (torch.stack(list(x.values()), 1) for x in (present, hidden))
    assert after.any(1).all()
    assert not (after & ~before).any()
    several = before.sum(1) > 1
    assert after[several].float().mean() < before[several].float().mean() * 0.7
