"""Rows laid end to end: each gets what it gets alone, forward and backward, in every architecture that says it can."""

from __future__ import annotations

import pytest
import torch

from triptych.base.errors import InputError
from triptych.layers import rows
from triptych.layers.rows import ROWS, can_lay, laid, places

transformers = pytest.importorskip("transformers")

LENGTHS = (5, 1, 12, 3, 7, 30)
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}
GROUPED = {**TINY, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "llama": ("LlamaConfig", GROUPED),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64}),
    "qwen2": ("Qwen2Config", {**GROUPED, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 8}),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": 4}),
    "opt": ("OPTConfig", {**TINY, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64}),
    "phi3": ("Phi3Config", {**GROUPED, "pad_token_id": 0}),
    "gpt_neox": ("GPTNeoXConfig", TINY),
    "gemma2": ("Gemma2Config", {**GEMMA, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", {**GEMMA, "query_pre_attn_scalar": 8}),
}


def decoder(family, **more):
    torch.manual_seed(0)
    name, words = FAMILIES[family]
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**words, **more))
    for parameter in model.parameters():  # sharp attention, or a wrong one would hardly show
        parameter.data.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def through(model, hidden, lengths=None):
    position_ids = places(lengths or [hidden.shape[1]])
    return model(inputs_embeds=hidden, position_ids=position_ids, use_cache=False).logits


def judged(model, lengths=LENGTHS, width=32):
    """Answers and gradients (of what goes in and of what learns), laid and each row alone; the sdpa attention is the reference."""
    torch.manual_seed(1)
    hidden = torch.randn(1, sum(lengths), width)
    weight = torch.randn(sum(lengths), 50)
    learns = [p for p in model.parameters() if p.requires_grad]
    made = []
    for together in (True, False):
        entered = hidden.clone().requires_grad_()
        if together:
            with laid(lengths):
                logits = through(model, entered, lengths)
        else:
            logits = torch.cat([through(model, row) for row in entered.split(lengths, 1)], 1)
        grads = torch.autograd.grad((logits[0] * weight).sum(), [entered, *learns], allow_unused=True)
        made.append([logits, *[g for g in grads if g is not None]])
    return made


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-5 * max(1.0, other.norm().item())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("grouped", [False, True])  # as on a CPU, and as on a GPU
def test_each_row_gets_what_it_gets_alone(monkeypatch, family, grouped):
    monkeypatch.setattr(rows, "_grouped", lambda device: grouped)
    model = decoder(family)
    assert can_lay(model) and model.config._attn_implementation == ROWS
    ours, theirs = judged(model)
    assert_same(ours, theirs)
    eager = decoder(family)
    eager.set_attn_implementation("eager")  # the architecture's own attention, not ours in another place
    torch.testing.assert_close(theirs[0], torch.cat([through(eager, r) for r in _hidden().split(LENGTHS, 1)], 1), rtol=1e-4, atol=1e-4)


def _hidden():
    torch.manual_seed(1)
    return torch.randn(1, sum(LENGTHS), 32)


def test_rows_that_were_judged_can_be_learnt_from(monkeypatch):
    monkeypatch.setattr(rows, "_grouped", lambda device: True)
    model = decoder("llama")
    assert can_lay(model)
    lengths = (4, 9)  # of no other test: what is remembered of them is made while judging
    with torch.inference_mode(), laid(lengths):
        through(model, torch.randn(1, 13, 32), lengths)
    assert_same(*judged(model, lengths))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it
def test_low_rank_additions_learn_the_same():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(decoder("llama"), peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    assert can_lay(model)
    ours, theirs = judged(model)
    assert len(ours) == 2 + 2 * 7 * 2  # the answer, what went in, two factors beside each of seven layers in two blocks
    assert_same(ours, theirs)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")  # the name that all versions know
def test_blocks_that_are_computed_again_on_the_way_back_still_know_the_rows():
    model = decoder("llama")
    assert can_lay(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_same(*judged(model))
    ours = judged(model)[0]
    model.gradient_checkpointing_disable()
    assert_same(ours, judged(model)[0])


def test_where_nothing_is_laid_it_attends_as_ever():
    """Padded batches and writing with a cache, by the same model."""
    model, reference = decoder("llama"), decoder("llama")
    assert can_lay(model)
    ids, mask = torch.randint(1, 50, (2, 6)), torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    torch.testing.assert_close(model(ids, attention_mask=mask).logits[1], reference(ids, attention_mask=mask).logits[1])
    words = {"attention_mask": mask, "max_new_tokens": 5, "do_sample": False, "num_beams": 2, "pad_token_id": 0}
    assert model.generate(ids, **words).tolist() == reference.generate(ids, **words).tolist()


def test_architectures_that_cannot_are_known_and_left_as_they_were():
    words = {"hidden_size": 32, "vocab_size": 50}
    bloom = transformers.BloomForCausalLM(transformers.BloomConfig(**words, n_layer=1, n_head=4))
    mamba = transformers.MambaForCausalLM(transformers.MambaConfig(**words, num_hidden_layers=1, state_size=4))
    chunked = transformers.Llama4TextConfig(
        **GROUPED, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=4, head_dim=8, layer_types=["chunked_attention"] * 2
    )
    for model in (bloom, mamba, transformers.Llama4ForCausalLM(chunked)):
        before = model.config._attn_implementation
        model.train()
        assert not can_lay(model)
        assert model.config._attn_implementation == before and all(module.training for module in model.modules())


def test_what_does_not_fit_is_said():
    model = decoder("llama")
    assert can_lay(model)
    hidden = torch.randn(1, 6, 32)
    with laid([2, 3]), pytest.raises(InputError, match="rows of 5 places are laid, and 1 sequences of 6 came"):
        through(model, hidden)
    with laid([2, 4]), pytest.raises(InputError, match="no mask besides"):
        model(inputs_embeds=hidden, attention_mask=torch.ones(1, 6), position_ids=places([2, 4]))
