"""A layer of Swin by groups of windows: what transformers' own layer gives."""

from __future__ import annotations

import pytest
import torch
import transformers as t
from transformers.models.clap.modeling_clap import ClapAudioLayer

from triptych.modalities.audio import swin
from triptych.modalities.audio.families import FAMILIES

CLAP = FAMILIES["clap"]


def layer(side, window, shift, **more):
    torch.manual_seed(0)
    config = t.ClapAudioConfig(window_size=window, hidden_dropout_prob=0.5, **more)
    made = ClapAudioLayer(config, 8, (side, side), num_heads=2, shift_size=shift).eval().requires_grad_(False)
    torch.nn.init.normal_(made.attention.self.relative_position_bias_table)
    return made


def its_own(made, hidden_PTD):
    return made(hidden_PTD, made.input_resolution)[0]


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
@pytest.mark.parametrize(("side", "window", "shift"), [(12, 4, 0), (12, 4, 2), (8, 4, 1), (4, 4, 2)])
def test_windows_some_at_a_time_are_the_layer_itself(side, window, shift, tokens, monkeypatch):
    """Shifted or not; a map of one window is never shifted. One window at a time, several, and all at once."""
    monkeypatch.setattr(swin, "TOKENS", tokens)
    made, hidden_PTD = layer(side, window, shift), torch.randn(3, side * side, 8)
    assert swin.fits(made) and not swin.learns(made, hidden_PTD)
    torch.testing.assert_close(swin.through(made, hidden_PTD), its_own(made, hidden_PTD), atol=1e-5, rtol=1e-5)


def test_what_learns_drops_tokens_or_is_padded_goes_through_the_layer_itself(monkeypatch):
    monkeypatch.delattr(swin, "through")
    hidden_PTD = torch.randn(1, 64, 8)
    learning = layer(8, 4, 2).requires_grad_(True)
    assert CLAP.step(learning, hidden_PTD, {}).requires_grad
    assert CLAP.step(layer(8, 4, 2), hidden_PTD.clone().requires_grad_(), {}).requires_grad
    dropping = layer(8, 4, 2).train()
    assert not torch.equal(CLAP.step(dropping, hidden_PTD, {}), CLAP.step(dropping, hidden_PTD, {}))
    padded = layer(6, 4, 2)
    assert torch.equal(CLAP.step(padded, hidden_PTD[:, :36], {}), its_own(padded, hidden_PTD[:, :36]))


def test_half_the_bits_go_the_quick_way_too():
    made, hidden_PTD = layer(8, 4, 2), torch.randn(2, 64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        quick = CLAP.step(made, hidden_PTD, {})
    assert quick.dtype == hidden_PTD.dtype
    torch.testing.assert_close(quick, its_own(made, hidden_PTD), atol=3e-2, rtol=3e-2)


@pytest.mark.parametrize("changed", [{}, {"qkv_bias": False}, {"attention_probs_dropout_prob": 0.3}])
def test_the_first_that_learns_has_the_same_answer_and_gradients(changed, monkeypatch):
    """Dropout draws the same numbers; and no gradient goes back through the products to the tokens."""
    made, hidden_PTD = layer(4, 4, 2, **changed).requires_grad_(True).train(), torch.randn(3, 16, 8)
    torch.nn.init.normal_(made.layernorm_before.weight)
    torch.nn.init.normal_(made.layernorm_before.bias)
    learnt = [(name, p) for name, p in made.named_parameters() if not name.endswith("key.bias")]  # softmax takes that one out
    found = []
    for through in (its_own, lambda *words: CLAP.step(*words, {})):
        torch.manual_seed(1)
        answer = through(made, hidden_PTD)
        found.append([answer.detach(), *torch.autograd.grad(answer.square().sum(), [p for _, p in learnt])])
        monkeypatch.setattr(made, "forward", None)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("side", "frozen", "asked"), [(8, "", False), (4, "layernorm_before", False), (4, "", True)])
def test_where_more_windows_or_gradients_are_asked_the_layer_itself_learns(side, frozen, asked):
    made = layer(side, 4, 2).requires_grad_(True)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(not frozen or frozen not in name)
    assert not swin.begins(made, torch.randn(1, side * side, 8).requires_grad_(asked))
