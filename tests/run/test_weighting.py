"""Several tasks in one sum: by the recipe's weights, by learnt uncertainty, by the size of gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.run.fit import fit
from triptych.run.recipe import read
from triptych.run.weighting import MOST, build_weighting

ROWS = {"a": 4, "b": 4, "c": 0}


def losses(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def test_fixed_weights_are_a_weighted_sum_and_a_weight_of_zero_has_no_part_in_it():
    weighting = build_weighting("fixed", {"a": 2.0, "b": 0.0, "c": 0.5})
    found = losses(a=3.0, b=math.nan, c=4.0)
    whole = weighting(found, {"a": 1, "b": 1, "c": 1})
    whole.backward()
    assert whole.item() == 8.0
    assert found["b"].grad is None
    assert weighting.weights() == {"a": 2.0, "c": 0.5}
    assert not list(weighting.parameters())


def test_uncertainty_is_its_formula_and_starts_at_the_recipes_weights():
    weighting = build_weighting("uncertainty", {"a": 1.0, "b": 3.0})
    assert weighting.weights() == {"a": 1.0, "b": 3.0}
    with torch.no_grad():
        weighting.log_variance_T.copy_(torch.tensor([0.7, -0.4]))
    whole = weighting(losses(a=2.0, b=5.0), ROWS)
    by_hand = math.exp(-0.7) * 2 + math.log1p(math.exp(0.7)) + 3 * (math.exp(0.4) * 5 + math.log1p(math.exp(-0.4)))
    assert whole.item() == pytest.approx(by_hand, rel=1e-6)


def test_uncertainty_comes_to_rest_where_its_derivative_is_zero():
    weighting = build_weighting("uncertainty", {"a": 1.0, "b": 1.0})
    optimizer = torch.optim.Adam(weighting.parameters(), lr=weighting.RATE)
    for _ in range(3000):
        optimizer.zero_grad()
        weighting(losses(a=4.0, b=0.25), ROWS).backward()
        optimizer.step()
    for name, loss in (("a", 4.0), ("b", 0.25)):
        variance = (loss + math.sqrt(loss**2 + 4 * loss)) / 2  # of -L/v + v/(1+v) = 0
        assert weighting.weights()[name] == pytest.approx(1 / variance, rel=1e-2)


def test_a_batch_without_a_tasks_target_says_nothing_of_its_noise():
    weighting = build_weighting("uncertainty", {"a": 1.0, "c": 1.0})
    weighting({**losses(a=1.0), "c": torch.tensor(0.0, requires_grad=True)}, ROWS).backward()
    assert weighting.log_variance_T.grad[0] != 0
    assert weighting.log_variance_T.grad[1] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.05, 5.0), min_size=2, max_size=5))
def test_by_gradient_size_all_pull_alike(norms):
    names = [f"t{n}" for n in range(len(norms))]
    weighting = build_weighting("gradient", dict.fromkeys(names, 1.0))
    assert set(weighting.weights().values()) == {1.0}
    for _ in range(3):
        weighting.observe(dict(zip(names, norms, strict=True)))
    weights = weighting.weights()
    pulls = [weights[name] * norm for name, norm in zip(names, norms, strict=True)]
    assert max(pulls) == pytest.approx(min(pulls), rel=1e-4)
    assert sum(weights.values()) == pytest.approx(len(norms), rel=1e-4)


def test_a_gradient_that_is_gone_or_was_not_measured_moves_no_weight_far():
    weighting = build_weighting("gradient", {"a": 1.0, "b": 1.0})
    weighting.observe({"a": 1.0})
    assert weighting.weights() == {"a": 1.0, "b": 1.0}  # not before each was seen
    weighting.observe({"a": math.nan, "b": 1e-30})
    assert all(0.99 / MOST <= weight <= MOST for weight in weighting.weights().values())


@pytest.mark.parametrize("word", ["uncertainty", "gradient"])
def test_what_is_learnt_is_taken_up_again(word):
    weighting, again = (build_weighting(word, {"a": 1.0, "b": 2.0}) for _ in range(2))
    with torch.no_grad():
        for tensor in weighting.state_dict().values():
            tensor.add_(torch.tensor([0.3, 0.9]))
    again.load_state_dict(weighting.state_dict())
    assert again.weights() == weighting.weights() != {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("word", ["uncertainty", "gradient"])
def test_a_run_learns_with_it_and_logs_the_weights(word, tiny_recipe, tmp_path):
    sets = [f"training.weighting={word}", "stages.0.epochs=6", "tasks.label.weight=0.5"]
    run = fit(read(str(tiny_recipe), sets), tmp_path / "run", quiet=True)
    log = run.read_log()
    assert log[-1]["train loss"] < log[0]["train loss"]
    weights = [row["weight label"] for row in log]
    assert len(set(weights)) == 6 if word == "uncertainty" else len(set(weights)) >= 2 or weights[0] != 0.5
    assert ("lr weighting" in log[0]) == (word == "uncertainty")
    assert run.read_log("ledger.jsonl")[-1]["tasks"]["label"]["weight"] == pytest.approx(weights[-1], rel=0.2)


def test_a_task_of_weight_zero_is_measured_and_its_head_is_as_it_was(tiny_recipe, tmp_path):
    sets = ["tasks.label.weight=0", "stages.0.weight_decay=0.5"]
    run, longer = (fit(read(str(tiny_recipe), [*sets, f"stages.0.epochs={n}"]), tmp_path / str(n), quiet=True) for n in (1, 3))
    heads = [one.read("run.json")["files"]["model/heads/label/weights.safetensors"] for one in (run, longer)]
    assert heads[0] == heads[1]
    assert "validation label.accuracy" in run.read_log()[0]
    assert "train label.loss" in run.read_log()[0]


def test_weights_that_are_all_zero_are_answered(tiny_recipe):
    with pytest.raises(InputError, match="the weight of every task is 0, so nothing would be learnt") as caught:
        read(str(tiny_recipe), ["tasks.label.weight=0", "tasks.match.weight=0"])
    assert "tasks.match.weight=1" in str(caught.value)
    with pytest.raises(InputError, match="only 'match' is learnt"):
        read(str(tiny_recipe), ["tasks.label.weight=0", "training.weighting=gradient"])
    assert read(str(tiny_recipe), ["tasks.match.weight=0"]).selected() == "label.accuracy"
