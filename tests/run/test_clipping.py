"""Gradients are clipped as torch clips them, and left alone where they are small enough."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triptych.run.lit import Lit


@pytest.mark.parametrize("size", [0.5, 1 - 1e-6, 1.0, 4.0])
def test_as_torch_does_and_nothing_is_multiplied_by_one(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = (torch.nn.Linear(3, 2) for _ in range(2))
    for model in (ours, theirs):
        for number, parameter in enumerate(model.parameters()):
            grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.grad = size * grad / 2**0.5 / grad.norm()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
    calls, plain = [], torch.nn.utils.clip_grads_with_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grads_with_norm_", lambda *words: (calls.append(1), plain(*words)))
    lit = SimpleNamespace(model=ours, batch=object(), sharded=False, watch=SimpleNamespace(gradient=lambda *_: True))
    Lit.configure_gradient_clipping(lit, None, 1.0)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert bool(calls) == (size >= 1)
