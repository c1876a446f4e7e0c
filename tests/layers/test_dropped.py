"""What training does not see: how much, of which rows, and never in eval mode."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.layers.dropped import PatchDropout


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 0.99), st.lists(st.integers(0, 12), min_size=1, max_size=5))
def test_each_row_keeps_its_share_of_its_own_real_tokens_in_their_order(share: float, lengths: list[int]) -> None:
    mask = torch.arange(12) < torch.tensor(lengths)[:, None]
    x = torch.arange(len(lengths) * 12.0).reshape(-1, 12, 1)
    seen, real = PatchDropout(share)(x, mask)
    assert real is not None and seen.shape[:2] == real.shape
    for row, length in enumerate(lengths):
        left = seen[row][real[row], 0].tolist()
        assert len(left) == (max(1, round(length * (1 - share))) if length else 0)
        assert set(left) <= set(x[row, :length, 0].tolist()) and left == sorted(set(left))
        assert real[row].tolist() == sorted(real[row].tolist(), reverse=True)


def test_without_a_mask_rows_lose_tokens_of_their_own_and_no_mask_is_made() -> None:
    torch.manual_seed(0)
    x = torch.arange(16.0).expand(50, 16)[..., None]
    seen, mask = PatchDropout(0.75)(x)
    assert mask is None and seen.shape == (50, 4, 1)
    assert len({tuple(row) for row in seen[..., 0].tolist()}) > 40
    assert set(seen.flatten().tolist()) == set(range(16))  # every place has its turn


def test_all_is_seen_in_eval_mode_and_at_a_share_of_nothing() -> None:
    x, mask = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    for module in (PatchDropout(0.5).eval(), PatchDropout(0.0)):
        seen, real = module(x, mask)
        assert seen is x and real is mask


def test_the_same_seed_leaves_out_the_same() -> None:
    x = torch.randn(4, 9, 2)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(PatchDropout(0.4)(x)[0])
    assert torch.equal(*drawn)


def test_the_gradient_reaches_what_was_kept_and_nothing_else() -> None:
    x = torch.randn(3, 8, 2, requires_grad=True)
    PatchDropout(0.5)(x)[0].sum().backward()
    assert x.grad is not None and x.grad.sum((1, 2)).tolist() == [8.0] * 3 and set(x.grad.flatten().tolist()) == {0.0, 1.0}


def test_a_stage_may_change_the_share_of_what_leaves_out_something() -> None:
    some, none, x = PatchDropout(0.5), PatchDropout(), torch.randn(1, 8, 2)
    for share, kept in ((0.25, 6), (0.0, 8), (None, 4)):
        for module in (some, none):
            module.take(share)
        assert some(x)[0].shape[1] == kept and none(x)[0].shape[1] == 8
