"""Mixup: inputs and what is asked are mixed with the same shares, rows with others of their kind."""

from __future__ import annotations

import pytest
import torch

from triptych.base.errors import InputError
from triptych.contract.tasks import Classify, MultiLabel, Regress
from triptych.contract.values import Batch, Output, Packed
from triptych.objective.losses import task_loss
from triptych.run.mixup import PARTNER, SHARE, mixed, mixed_terms
from triptych.run.recipe import read

TASKS = {"c": Classify(target="c", label_smoothing=0.1), "m": MultiLabel(target="m"), "n": Regress(target="n")}


def batch(rows: int = 12) -> Batch:
    torch.manual_seed(0)
    there = torch.arange(rows) % 4 != 3
    real = torch.arange(5) < torch.randint(1, 6, (int(there.sum()), 1))
    return Batch(
        inputs={"a": Packed({"x": torch.eye(rows)}), "b": Packed({"y": torch.randn(int(there.sum()), 5) * real}, real)},
        present={"a": torch.ones(rows, dtype=torch.bool), "b": there},
        targets={"c": torch.arange(rows) % 3, "m": torch.randint(0, 2, (rows, 4)).float(), "n": torch.randn(rows)},
        has_target={"c": torch.arange(rows) % 6 != 0, "m": torch.ones(rows, dtype=torch.bool), "n": torch.ones(rows, dtype=torch.bool)},
        ids=tuple(map(str, range(rows))),
    )


def test_rows_are_mixed_with_rows_that_have_the_same_inputs_and_answers():
    plain = batch()
    made = mixed(plain, 1.0)
    share = float(made.targets[SHARE][0])
    x = made.inputs["a"].tensors["x"]
    partners = [int((row * (torch.arange(12) != own)).argmax()) if float(row[own]) < 0.999 else own for own, row in enumerate(x)]
    assert sorted(partners) == list(range(12)) and partners != list(range(12))
    assert torch.allclose(x, share * torch.eye(12) + (1 - share) * torch.eye(12)[partners])
    for name in ("a", "b"):
        assert torch.equal(plain.present[name], plain.present[name][partners])
    assert torch.equal(plain.has_target["c"], plain.has_target["c"][partners])
    assert torch.equal(made.targets[PARTNER + "c"], plain.targets["c"][partners])
    place = {row: n for n, row in enumerate(plain.present["b"].nonzero()[:, 0].tolist())}
    within = [place[partners[row]] for row in place]
    y = plain.inputs["b"].tensors["y"]
    assert torch.allclose(made.inputs["b"].tensors["y"], share * y + (1 - share) * y[within])
    mask = plain.inputs["b"].mask_PT
    assert torch.equal(made.inputs["b"].mask_PT, mask | mask[within])


def test_the_gradient_is_that_of_mixed_answers():
    made = mixed(batch(), 1.0)
    share, rows = made.targets[SHARE][:, None], made.has_target["c"]
    logits = {name: torch.randn(12, size, requires_grad=True) for name, size in (("c", 3), ("m", 4), ("n", 1))}
    outputs = {
        "c": Output({"logits_BC": logits["c"]}),
        "m": Output({"logits_BC": logits["m"]}),
        "n": Output({"standard_B": logits["n"][:, 0]}),
    }
    both = {name: (made.targets[name], made.targets[PARTNER + name]) for name in TASKS}
    soft_c = share * torch.nn.functional.one_hot(both["c"][0], 3) + (1 - share) * torch.nn.functional.one_hot(both["c"][1], 3)
    wanted = {
        "c": torch.nn.functional.cross_entropy(logits["c"][rows], soft_c[rows], label_smoothing=0.1),
        "m": torch.nn.functional.binary_cross_entropy_with_logits(logits["m"], share * both["m"][0] + (1 - share) * both["m"][1]),
        "n": torch.nn.functional.mse_loss(logits["n"][:, 0], share[:, 0] * both["n"][0] + (1 - share[:, 0]) * both["n"][1]),
    }
    for name, task in TASKS.items():
        loss = task_loss(outputs[name], mixed_terms(name, outputs[name], made, task))
        own, reference = (torch.autograd.grad(value, logits[name])[0] for value in (loss, wanted[name]))
        assert torch.allclose(own, reference, atol=1e-6), name
        assert name == "n" or torch.allclose(loss, wanted[name])


def test_a_small_alpha_mixes_little():
    plain = batch(4)
    shares = [float(mixed(plain, 0.2).targets[SHARE][0]) for _ in range(200)]
    assert 0.4 < sum(min(share, 1 - share) < 0.1 for share in shares) / 200 < 0.95


def test_what_cannot_be_mixed_is_refused(tiny_recipe):
    with pytest.raises(InputError, match="text"):
        read(str(tiny_recipe), ["training.mixup=0.2"])
    without = "inputs={image: {prepare: {size: 16}, encoder: cnn}, audio: {prepare: {rate: 8000, bins: 16}, encoder: cnn}}"
    with pytest.raises(InputError, match="match"):
        read(str(tiny_recipe), ["training.mixup=0.2", without, "tasks.match.between=[image, audio]"])
    with pytest.raises(InputError, match=r"training\.variants"):
        read(str(tiny_recipe), ["training.variants=2"])
