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
