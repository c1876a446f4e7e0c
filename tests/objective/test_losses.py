"""Losses against the formulas and libraries they are named after."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from triptych.contract.tasks import Classify, Contrast, MultiLabel, Regress
from triptych.contract.values import Output
from triptych.objective import contrastive
from triptych.objective.contrastive import contrastive_sigmoid, contrastive_softmax
from triptych.objective.losses import task_loss, terms


def pair(rows=6, width=8):
    torch.manual_seed(0)
    return F.normalize(torch.randn(rows, width), dim=1), F.normalize(torch.randn(rows, width), dim=1)


def test_softmax_form_is_clips_loss():
    a, b = pair()
    ours = contrastive_softmax(a, b, torch.tensor(14.0), torch.arange(6)).mean()
    torch.testing.assert_close(ours, image_text_contrastive_loss(14.0 * b @ a.T))


def test_rows_that_belong_together_are_not_negatives():
    a, b = pair()
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    same = groups[:, None] == groups[None]
    logits = 5.0 * a @ b.T
    wanted = same.float() / same.sum(1, keepdim=True)
    by_hand = 0.5 * (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted))
    torch.testing.assert_close(contrastive_softmax(a, b, torch.tensor(5.0), groups).mean(), by_hand)


def test_sigmoid_form_is_siglips_loss():
    a, b = pair()
    logits = 10.0 * a @ b.T - 10.0
    siglip = -F.logsigmoid((2 * torch.eye(6) - 1) * logits).sum(-1).mean()  # as in transformers' SiglipModel
    torch.testing.assert_close(contrastive_sigmoid(a, b, torch.tensor(10.0), torch.tensor(-10.0), torch.arange(6)).mean(), siglip)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("strip", [1, 1000, 39_999])
def test_by_strips_it_is_the_loss_over_the_whole_matrix_and_so_are_its_gradients(monkeypatch, form, strip):
    groups = torch.arange(200) % 150

    def made():
        a, b = (x.double().requires_grad_() for x in pair(200, 16))
        known = [a, b, torch.tensor(20.0, requires_grad=True), torch.tensor(-3.0, requires_grad=True)]
        loss = contrastive_softmax(a, b, known[2], groups) if form == "softmax" else contrastive_sigmoid(*known, groups)
        (loss * torch.linspace(-1, 2, 200)).sum().backward()
        return [loss.detach(), *(x.grad for x in known if x.grad is not None)]

    whole = made()
    monkeypatch.setattr(contrastive, "STRIP", strip)
    for ours, theirs in zip(made(), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_pairs_use_only_rows_that_have_both():
    a, b = pair()
    settings = Contrast(between=["x", "y"])
    output = Output({"embedding.x_BD": a, "embedding.y_BD": b, "scale": torch.tensor(10.0), "bias": torch.tensor(0.0)})
    has = torch.tensor([True, True, False, True, True, False])
    everyone = torch.ones(6, dtype=torch.bool)
    found = terms(output, torch.arange(6), everyone, settings, {"x": has, "y": everyone})
    alone = contrastive_softmax(a[has], b[has], torch.tensor(10.0), torch.arange(4))
    torch.testing.assert_close(found["x, y"].loss_P, alone)
    none = {"x": has, "y": ~has}
    assert terms(output, torch.arange(6), everyone, settings, none) == {}


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
    loss = task_loss(made, terms(made, target, has, task, {}))
    loss.backward()
    first = next(iter(made.tensors.values()))
    assert first.grad[:3].abs().sum() > 0
    assert first.grad[3].abs().sum() == 0
    alone = Output({n: t.clone().requires_grad_() for n, t in output.items()})
    nobody = task_loss(alone, terms(alone, target, torch.zeros(4, dtype=torch.bool), task, {}))
    assert nobody.item() == 0.0
    nobody.backward()  # a batch without any target must not break the step


def test_a_column_that_no_pair_of_the_batch_has_gets_a_gradient_of_zero():
    made = {name: F.normalize(torch.randn(4, 3), dim=1).requires_grad_() for name in ("a", "b", "c")}
    output = Output({**{f"embedding.{name}_BD": tensor for name, tensor in made.items()}, "scale": torch.tensor(5.0)})
    here, gone = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    found = terms(output, torch.arange(4), here, Contrast(between=["a", "b", "c"]), {"a": here, "b": here, "c": gone})
    loss = task_loss(output, found)
    torch.testing.assert_close(loss, found["a, b"].loss_P.mean())
    loss.backward()
    assert made["c"].grad is not None and not made["c"].grad.any()  # in several processes it has one, so it must in one
    assert made["a"].grad.any()


def test_regression_loss_is_of_the_standardised_target():
    output = Output({"standard_B": torch.tensor([2.0, 4.0]), "std": torch.tensor(5.0)})
    loss = task_loss(output, terms(output, torch.tensor([3.0, 4.0]), torch.tensor([True, True]), Regress(target="t"), {}))
    torch.testing.assert_close(loss, torch.tensor(0.5))


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("groups", [1024, 300])
def test_at_1024_pairs_of_512_the_strips_are_the_plain_loss_in_float32(monkeypatch, form, groups):
    monkeypatch.setattr(contrastive, "STRIP", 2**16)
    a, b = (x.requires_grad_() for x in pair(1024, 512))
    scale, bias, group = torch.tensor(14.0, requires_grad=True), torch.tensor(-5.0, requires_grad=True), torch.arange(1024) % groups
    strips = contrastive_softmax(a, b, scale, group) if form == "softmax" else contrastive_sigmoid(a, b, scale, bias, group)
    same = (group[:, None] == group[None]).float()
    logits = scale * a @ b.T + (bias if form == "sigmoid" else 0.0)
    if form == "softmax":
        wanted = same / same.sum(1, keepdim=True)
        plain = 0.5 * (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted))
    else:
        plain = -F.logsigmoid((2 * same - 1) * logits).sum(1).mean()
    known = [a, b, scale] + ([bias] if form == "sigmoid" else [])
    ours, theirs = torch.autograd.grad(strips.mean(), known), torch.autograd.grad(plain, known)
    torch.testing.assert_close(strips.mean(), plain, rtol=1e-5, atol=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_8192_pairs_never_hold_the_whole_matrix(form, forked):
    """What lies beside embeddings and gradients (8 MB) does not grow with the pairs: 32,768 come to 256 MB and as much again, below 512.

    The whole matrix alone is 256 MB here, and forward and backward hold several of it. `python -m benchmarks loss` measures 32,768.
    """
    path = Path(__file__).parents[2] / "benchmarks" / "loss.py"
    if not path.exists():
        pytest.skip("the benchmarks are not here")
    loss = importlib.util.module_from_spec(spec := importlib.util.spec_from_file_location("loss", path))
    spec.loader.exec_module(loss)
    assert float(forked.run_code(loss.CHILD, form, 8192, 64).stdout) - 8 < 256 - 32
