"""Gated layers in a decoder: nothing until they learn, each row its own context, however rows come."""

from __future__ import annotations

import pytest
import torch

from triptych.base.errors import InputError
from triptych.layers import rows
from triptych.layers.gated import GatedCross, Looked, Looks, looking
from triptych.layers.rows import can_lay, laid, places

transformers = pytest.importorskip("transformers")

LENGTHS, SEEN = (5, 2, 9), 4
TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 50}
FAMILIES = {
    "llama": transformers.LlamaConfig(**TINY, intermediate_size=48, num_key_value_heads=2, pad_token_id=0, eos_token_id=1),
    "gpt2": transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=50, n_positions=64, pad_token_id=0, eos_token_id=1),
    "opt": transformers.OPTConfig(**TINY, ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64, pad_token_id=0, eos_token_id=1),
    "qwen3": transformers.Qwen3Config(**TINY, intermediate_size=48, num_key_value_heads=2, head_dim=8, pad_token_id=0, eos_token_id=1),
}


def decoder(family="llama", gate=1.0, every=2):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family]).eval()
    looks = Looks(3, 32, 8, heads=4, every=every)
    for layer in looks.layers:
        layer.gate_attend.data.fill_(gate)
        layer.gate_feed.data.fill_(gate)
    looks.install(model)
    return model, looks


def context():
    torch.manual_seed(2)
    return torch.randn(3, SEEN, 8), torch.tensor([[True, True, True, False], [True, True, True, True], [False] * 4])


def hidden():
    torch.manual_seed(1)
    return torch.randn(1, sum(LENGTHS), 32)


def through(model, entered, lengths=None):
    words = {"position_ids": places(lengths or [entered.shape[1]]), "use_cache": False}
    return model(inputs_embeds=entered, **words).logits


def alone(model, entered):
    seen, mask = context()
    found = []
    for row, part in enumerate(entered.split(LENGTHS, 1)):
        with looking(seen[row : row + 1, : int(mask[row].sum())], mask[row : row + 1, : int(mask[row].sum())]):
            found.append(through(model, part))
    return torch.cat(found, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_gates_at_zero_leave_the_decoder_as_it_was(family):
    model, looks = decoder(family, gate=0.0)
    with looking(*context()):
        inside = model(torch.arange(12).view(3, 4)).logits
    assert torch.equal(inside, model(torch.arange(12).view(3, 4)).logits)  # outside they are not even asked
    with looking(*context()):
        model(torch.arange(12).view(3, 4)).logits.sum().backward()
    assert all(layer.gate_attend.grad != 0 and layer.gate_feed.grad != 0 for layer in looks.layers)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("grouped", [False, True])  # as on a CPU, and as on a GPU
def test_each_row_sees_its_own_context(monkeypatch, family, grouped):
    """Rows end to end, and padded ones, get what each gets alone; one without any context too."""
    monkeypatch.setattr(rows, "_grouped", lambda device: grouped)
    model, _ = decoder(family)
    assert can_lay(model)
    wanted, (seen, mask) = alone(model, hidden()), context()
    with laid(LENGTHS), looking(seen, mask):
        torch.testing.assert_close(through(model, hidden(), LENGTHS), wanted, rtol=1e-4, atol=1e-5)
    padded = torch.nn.utils.rnn.pad_sequence([part[0] for part in hidden().split(LENGTHS, 1)], batch_first=True)
    with looking(seen, mask):
        found = through(model, padded)
    torch.testing.assert_close(torch.cat([f[:n] for f, n in zip(found, LENGTHS, strict=True)])[None], wanted, rtol=1e-4, atol=1e-5)
    with looking(seen + 1 - 2 * seen[[1, 2, 0]], mask):
        changed = through(model, padded)
    assert not torch.allclose(changed[:2], found[:2], atol=1e-3)
    assert torch.equal(changed[2], found[2])  # it has no context


@pytest.mark.parametrize("beams", [1, 2])
def test_texts_are_written_with_a_cache_and_beams_as_each_alone(beams):
    model, _ = decoder()
    ids, (seen, mask) = torch.randint(2, 50, (3, 4)), context()
    words = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "min_new_tokens": 6}
    with looking(seen, mask):
        together = model.generate(ids, attention_mask=torch.ones_like(ids), **words)
        uncached = model.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, **words)
    assert torch.equal(together, uncached)
    for row in range(3):
        with looking(seen[row : row + 1], mask[row : row + 1]):
            one = model.generate(ids[row : row + 1], attention_mask=torch.ones(1, 4), **words)
        assert torch.equal(one[0], together[row])


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_blocks_that_are_computed_again_on_the_way_back_look_again(family):
    model, looks = decoder(family)
    assert can_lay(model)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    grads = []
    for again in (False, True):
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        seen, mask = context()
        seen.requires_grad_()
        with laid(LENGTHS), looking(seen, mask):
            loss = through(model, hidden(), LENGTHS).square().sum()
        grads.append(torch.autograd.grad(loss, [seen, *looks.parameters()]))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
    assert grads[0][0][:2].any() and not grads[0][0][2].any()


def test_before_every_nth_block():
    assert len(decoder(every=1)[1].layers) == 3 and len(decoder(every=3)[1].layers) == 1
    with pytest.raises(InputError, match="the decoder has 3 blocks"):
        Looks(3, 32, 8, heads=4, every=4)
    with pytest.raises(InputError, match="heads=5 does not divide width=32"):
        GatedCross(32, 8, heads=5)


def test_the_layer_is_flamingos():
    torch.manual_seed(0)
    layer, x, seen = GatedCross(8, 6, heads=1), torch.randn(1, 3, 8), torch.randn(1, 4, 6)
    layer.gate_attend.data.fill_(0.3)
    layer.gate_feed.data.fill_(-0.2)
    key, value = (layer.norm_context(seen) @ layer.to_key_value.weight.T).chunk(2, -1)
    shares = (layer.to_query(layer.norm(x)) @ key.mT / 8**0.5).softmax(-1)
    wanted = x + layer.gate_attend.tanh() * layer.out(shares @ value)
    wanted = wanted + layer.gate_feed.tanh() * layer.feed(layer.norm_feed(wanted))
    torch.testing.assert_close(layer(x, Looked(seen, torch.ones(1, 4, dtype=torch.bool))), wanted)


def test_counts_that_do_not_fit_are_said():
    model, _ = decoder()
    assert can_lay(model)
    with looking(*context()), pytest.raises(InputError, match="4 rows cannot look at the context of 3"):
        model(torch.zeros(4, 2, dtype=torch.long))
    with laid([2, 2]), looking(*context()), pytest.raises(InputError, match="2 rows are laid, of 4 places, and the context is of 3"):
        through(model, torch.randn(1, 4, 32), [2, 2])
