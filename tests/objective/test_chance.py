"""What a loss is at chance: the plain losses of the best constant answer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from triptych.contract.tasks import Classify, Contrast, MultiLabel, Regress
from triptych.contract.values import Output
from triptych.objective.chance import constant_answer, of_contrast
from triptych.objective.losses import task_loss, terms


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.sampled_from([0.0, 0.1, 0.5]))
def test_classes_cost_what_the_best_constant_answer_costs(labels, smoothing):
    target = torch.tensor(labels)
    task = Classify(target="t", label_smoothing=smoothing)
    found = constant_answer(task, target, target >= 0)
    shares = torch.bincount(target).double() / len(target)
    best = (shares * (1 - smoothing) + smoothing / len(shares)).log()[None].expand(len(target), -1)
    usual = F.cross_entropy(best.clamp(min=-1e9), target, label_smoothing=smoothing)
    assert found.chance == pytest.approx(float(usual), abs=1e-9)
    perfect = (F.one_hot(target, len(shares)).double() * (1 - smoothing) + smoothing / len(shares)).log().clamp(min=-1e9)
    assert found.floor == pytest.approx(float(F.cross_entropy(perfect, target, label_smoothing=smoothing)), abs=1e-9)
    even = constant_answer(Classify(target="t"), torch.arange(7), torch.ones(7, dtype=torch.bool))
    assert even.chance == pytest.approx(float(torch.tensor(7.0).log()))


def test_labels_and_numbers_cost_what_the_best_constant_answer_costs():
    has = torch.tensor([True] * 9 + [False])
    target = (torch.arange(30).reshape(10, 3) % torch.tensor([2, 3, 5]) == 0).float()
    logits = target[:9].mean(0).logit().clamp(-30, 30).expand(9, -1)
    usual = F.binary_cross_entropy_with_logits(logits, target[:9])
    assert constant_answer(MultiLabel(target="t"), target, has).chance == pytest.approx(float(usual), abs=1e-6)
    numbers = torch.randn(10)
    usual = F.mse_loss(numbers[:9].mean().expand(9), numbers[:9])
    assert constant_answer(Regress(target="t"), numbers, has).chance == pytest.approx(float(usual), abs=1e-6)
    nobody = constant_answer(Regress(target="t"), numbers, ~has & False)
    assert nobody.chance != nobody.chance


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.sampled_from(["softmax", "sigmoid"]))
def test_a_contrast_costs_what_equal_similarities_cost(groups, form):
    group, rows = torch.tensor(groups), len(groups)
    task = Contrast(between=["a", "b"], form=form)
    right = float((group[:, None] == group).double().mean())
    bias = torch.tensor(right).logit().clamp(-30, 30) if form == "sigmoid" else torch.tensor(0.0)
    alike = torch.zeros(rows, 8, dtype=torch.float64)
    everyone = torch.ones(rows, dtype=torch.bool)
    present = {"a": everyone, "b": everyone}

    def loss(embedding, scale, bias):
        named = {"embedding.a_BD": embedding, "embedding.b_BD": embedding, "scale": torch.tensor(scale), "bias": bias}
        output = Output(named)
        found = terms(output, group, everyone, task, present)
        return float(task_loss(output, found)), of_contrast(task, found, group)

    at_chance, bounds = loss(alike, 1.0, bias)
    assert bounds.chance == pytest.approx(at_chance, rel=1e-5, abs=1e-5)
    best, bounds = loss(F.one_hot(group, 8).double(), 60.0, torch.tensor(-30.0))
    assert bounds.floor == pytest.approx(best, abs=1e-6)
