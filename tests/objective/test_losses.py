"""Losses against the formulas and libraries they are named after."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from triptych.contract.tasks import Classify, Contrast, MultiLabel, Regress
from triptych.contract.values import Output
from triptych.objective.losses import contrast_pairs, contrastive_sigmoid, contrastive_softmax, task_loss


def pair(rows=6, width=8):
    torch.manual_seed(0)
    return F.normalize(torch.randn(rows, width), dim=1), F.normalize(torch.randn(rows, width), dim=1)


def test_softmax_form_is_clips_loss():
    a, b = pair()
    ours = contrastive_softmax(a, b, torch.tensor(14.0), torch.eye(6, dtype=torch.bool))
    torch.testing.assert_close(ours, image_text_contrastive_loss(14.0 * b @ a.T))


def test_rows_that_belong_together_are_not_negatives():
    a, b = pair()
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    same = groups[:, None] == groups[None]
    logits = 5.0 * a @ b.T
    wanted = same.float() / same.sum(1, keepdim=True)
    by_hand = 0.5 * (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted))
    torch.testing.assert_close(contrastive_softmax(a, b, torch.tensor(5.0), same), by_hand)


def test_sigmoid_form_is_siglips_loss():
    a, b = pair()
    logits = 10.0 * a @ b.T - 10.0
    siglip = -F.logsigmoid((2 * torch.eye(6) - 1) * logits).sum(-1).mean()  # as in transformers' SiglipModel
    torch.testing.assert_close(contrastive_sigmoid(a, b, torch.tensor(10.0), torch.tensor(-10.0), torch.eye(6, dtype=torch.bool)), siglip)


def test_pairs_use_only_rows_that_have_both():
    a, b = pair()
    settings = Contrast(between=["x", "y"])
    output = Output({"embedding.x_BD": a, "embedding.y_BD": b, "scale": torch.tensor(10.0), "bias": torch.tensor(0.0)})
    has = torch.tensor([True, True, False, True, True, False])
    found = contrast_pairs(output, torch.arange(6), settings, {"x": has, "y": torch.ones(6, dtype=torch.bool)})
    alone = contrastive_softmax(a[has], b[has], torch.tensor(10.0), torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(found["x", "y"], alone)
    none = {"x": has, "y": ~has}
    assert contrast_pairs(output, torch.arange(6), settings, none) == {}


@pytest.mark.parametrize(
    ("task", "output", "target"),
    [
        (Classify(target="t"), {"logits_BC": torch.randn(4, 3)}, torch.tensor([0, 1, 2, -1])),
        (MultiLabel(target="t"), {"logits_BC": torch.randn(4, 3)}, torch.randint(0, 2, (4, 3)).float()),
        (Regress(target="t"), {"standard_B": torch.randn(4), "std": torch.tensor(2.0)}, torch.randn(4)),
    ],
)
def test_rows_without_a_target_do_not_count(task, output, target):
    has = torch.tensor([True, True, True, False])
    made = Output({name: t.clone().requires_grad_() for name, t in output.items()})
    loss = task_loss(made, target, has, task, {})
    loss.backward()
    first = next(iter(made.tensors.values()))
    assert first.grad[:3].abs().sum() > 0
    assert first.grad[3].abs().sum() == 0
    nobody = task_loss(
        Output({n: t.clone().requires_grad_() for n, t in output.items()}), target, torch.zeros(4, dtype=torch.bool), task, {}
    )
    assert nobody.item() == 0.0
    nobody.backward()  # a batch without any target must not break the step


def test_regression_loss_is_of_the_standardised_target():
    output = Output({"standard_B": torch.tensor([2.0, 4.0]), "std": torch.tensor(5.0)})
    loss = task_loss(output, torch.tensor([3.0, 4.0]), torch.tensor([True, True]), Regress(target="t"), {})
    torch.testing.assert_close(loss, torch.tensor(0.5))
