from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from triptych.contract.tasks import METRICS, Classify, Contrast, Regress, headline
from triptych.contract.values import Batch, Encoded, Packed


@given(st.lists(st.booleans(), min_size=1, max_size=9).filter(any))
def test_spread_puts_rows_back_and_leaves_the_others_empty(present):
    there = torch.tensor(present)
    count = int(there.sum())
    rows = Encoded(torch.rand(count, 2, 3) + 1, torch.ones(count, 2, dtype=torch.bool), torch.rand(count, 3) + 1)
    spread = rows.spread(there)
    assert torch.equal(spread.tokens_BTD[there], rows.tokens_BTD) and torch.equal(spread.pooled_BD[there], rows.pooled_BD)
    assert not spread.tokens_BTD[~there].any() and not spread.mask_BT[~there].any() and not spread.pooled_BD[~there].any()
    assert torch.equal(spread.mask_BT.any(1), there)


def test_spread_keeps_the_gradient():
    rows = torch.rand(1, 2, 3, requires_grad=True)
    Encoded(rows, torch.ones(1, 2, dtype=torch.bool), rows.mean(1)).spread(torch.tensor([False, True])).pooled_BD.sum().backward()
    assert torch.allclose(rows.grad, torch.full((1, 2, 3), 0.5))


def test_a_batch_moves_whole():
    batch = Batch(
        {"a": Packed({"x": torch.ones(1, 2)}, torch.ones(1, 2, dtype=torch.bool)), "b": Packed({"y": torch.ones(2)})},
        {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])},
        {"t": torch.ones(2)},
        {"t": torch.ones(2, dtype=torch.bool)},
        ("r1", "r2"),
    )
    moved = batch.to(torch.device("meta"))
    of_a = [*moved.inputs["a"].tensors.values(), moved.inputs["a"].mask_PT]
    tensors = [*of_a, *moved.present.values(), *moved.targets.values(), *moved.has_target.values()]
    assert all(tensor.device.type == "meta" for tensor in tensors) and moved.inputs["b"].mask_PT is None
    assert moved.ids == ("r1", "r2") and len(moved) == 2


def test_every_task_has_a_headline_that_is_one_of_its_scores():
    assert headline(Classify(target="x")) == "accuracy" and headline(Regress(target="x")) == "r2"
    assert headline(Contrast(between=["a", "b"])) == "recall@1"
    assert all("loss" in scores and scores["loss"] == "lower" for scores in METRICS.values())


@pytest.mark.parametrize("words", [{"weight": -1}, {"label_smoothing": 1}, {"dropout": 1}, {"hidden": [0]}, {"tagret": "x"}])
def test_impossible_tasks_are_refused(words):
    with pytest.raises(ValidationError):
        Classify(**{"target": "x", **words})
