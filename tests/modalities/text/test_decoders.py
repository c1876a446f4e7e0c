"""Decoders of many families: what they think of an answer, and what they write, is what their own models do."""

from __future__ import annotations

import pytest
import torch

from triptych.base.errors import BadValue, InputError
from triptych.contract.generator import opened
from triptych.contract.tasks import Generate
from triptych.contract.values import Fused
from triptych.contract.writes import How
from triptych.modalities.text.basewriter import writer
from triptych.modalities.text.decoders import Base
from triptych.modalities.text.script import TextScript

transformers = pytest.importorskip("transformers")

WORDS = ["what", "is", "it", "a", "cat", "dog", "that", "sleeps", "runs", "red", "blue", "two", "three", "of", "them", "here", "now", "no"]
SPECIALS = ["<pad>", "</s>", "<s>", "<unk>"]
VOCAB = 24
TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**TINY, "num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
HALVES = {f"{half}_{name}": n for half in ("encoder", "decoder") for name, n in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 48))}
BART = {"d_model": 32, "max_position_embeddings": 64, "bos_token_id": 2, "decoder_start_token_id": 1, "forced_bos_token_id": None, **HALVES}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
CAUSAL = {
    "llama": ("LlamaConfig", GROUPED, True),
    "smollm2": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": True}, True),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, True),
    "gpt2-untied": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "tie_word_embeddings": False}, True),
    "qwen2": ("Qwen2Config", GROUPED, True),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 8, "tie_word_embeddings": True}, True),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": 4}, True),
    "gemma2": ("Gemma2Config", {**GEMMA, "query_pre_attn_scalar": 8, "final_logit_softcapping": 1.5}, True),
    "phi": ("PhiConfig", TINY, True),
    "phi3": ("Phi3Config", {**GROUPED, "tie_word_embeddings": False}, True),
    "opt": ("OPTConfig", {**TINY, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64}, True),
}
"""By name: config, its words, and whether rows are laid end to end."""
APART = {
    "t5": ("T5Config", T5),
    "t5-1.1": ("T5Config", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": ("BartConfig", {**BART, "scale_embedding": True}),
    "mbart": ("MBartConfig", BART),
    "pegasus": ("PegasusConfig", {**BART, "decoder_start_token_id": 0, "scale_embedding": True}),
}
TASK = Generate(target="answer", template="{image} {question}")
ASKED = [
    ("what is it", "a cat that sleeps", True),
    ("is it a dog that runs here now", "no", False),
    ("it", "two of them here", True),
]


def tokenizer(form="plain"):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    known = {word: number for number, word in enumerate([*SPECIALS, *WORDS])}
    held = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    held.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if form == "Qwen2Config":  # transformers makes a tokenizer of this model anew, from its merges
        held = Tokenizer(models.BPE(unk_token="<unk>"))
        held.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        held.train_from_iterator([" ".join(WORDS)] * 3, trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIALS, show_progress=False))
    forms = {"t5": "$A </s>", "bart": "<s> $A </s>"}
    if form in forms:
        held.post_processor = processors.TemplateProcessing(single=forms[form], special_tokens=[("<s>", 2), ("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=held, **names)


def saved(folder, config, words, kind="AutoModelForCausalLM", form="plain", **more):
    """A tiny model with weights in which a wrong term would show, and its tokenizer."""
    torch.manual_seed(0)
    ids = {"vocab_size": VOCAB, "pad_token_id": 0, "eos_token_id": 1}
    made = getattr(transformers, config)(**{**ids, **words, **more})
    model = getattr(transformers, kind)
    model = model.from_config(made) if hasattr(model, "from_config") else model(made)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.15)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()
    model.eval().save_pretrained(folder)
    tokenizer(config if config == "Qwen2Config" else form).save_pretrained(folder)
    return folder


def held(folder, inputs=("image",), **words):
    """Script and writer of a base in a folder."""
    decoder = Base(name=str(folder), **words)
    script = TextScript(decoder, {name: name for name in inputs})
    script.fit([])
    facts = {**script.facts(), "inputs": list(inputs), "looks": None}
    return script, writer(decoder, facts)


def asked(script, rows=ASKED, answered=True):
    """Rows as the decoder is asked them, and what a fusion made of their pictures: some have none."""
    items = [script.item(TASK, {"question": q, **({"answer": a} if answered else {})}, {"image": 1} if has else {}) for q, a, has in rows]
    torch.manual_seed(1)
    values = [[torch.randn(length, 32)] if has else [] for length, (_, _, has) in zip((3, 1, 5), rows, strict=True)]
    nothing = torch.zeros(len(rows), 1, 32)
    return script.collate(items), Fused(nothing, torch.ones(len(rows), 1), nothing[:, 0], {}, prefix={"image": values})


def spliced(embed, row, values):
    """One row's vectors with the picture in its place, by hand."""
    parts = []
    for number, slot in zip(row["ids"].tolist(), row["slot"].tolist(), strict=True):
        parts.append(values[0] if slot >= 0 else embed(torch.tensor([number])))
    return torch.cat(parts)[None]


def ended(ids, end=1):
    return ids[: ids.index(end)] if end in ids else ids


def rows_of(packed):
    for n, mask in enumerate(packed.mask_PT):
        yield {name.split("_")[0]: tensor[n][mask] for name, tensor in packed.tensors.items()}


def test_an_answer_of_which_nothing_can_be_written_costs_its_row_and_a_strange_tokenizer_the_recipe(tmp_path):
    config, words, _ = CAUSAL["qwen2"]
    script, _ = held(saved(tmp_path / "base", config, words))
    with pytest.raises(BadValue, match="no token for anything in the answer"):
        script.item(TASK, {"question": "is it", "answer": "\u4e5f"}, {})
    assert int(script.item(TASK, {"question": "is it", "answer": "no"}, {})["learnt"].sum()) > 1
    config, words, _ = CAUSAL["llama"]
    saved(tmp_path / "other", config, words, vocab_size=VOCAB - 5)
    with pytest.raises(InputError, match=f"has {len(SPECIALS) + len(WORDS)} ids, and the model knows {VOCAB - 5}"):
        TextScript(Base(name=str(tmp_path / "other")), {}).fit([])
    for file in (tmp_path / "other").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InputError, match="has weights and no tokenizer"):
        TextScript(Base(name=str(tmp_path / "other")), {}).fit([])


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_model_thinks_and_writes_as_its_own(family, tmp_path):
    config, words, lays = CAUSAL[family]
    folder = saved(tmp_path / family, config, words)
    own = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    script, ours = held(folder)
    packed, fused = asked(script)
    assert ours.lays == lays
    with torch.no_grad():
        told = ours(packed, fused)
        said = ours.write(opened(packed), fused, How(6))
    for n, row in enumerate(rows_of(packed)):
        entered = spliced(own.get_input_embeddings(), row, fused.prefix["image"][n])
        before = entered.shape[1] - int(row["learnt"].sum())
        target = row["ids"][row["learnt"]]
        with torch.no_grad():
            logits = own(inputs_embeds=entered).logits[0, before - 1 : -1]
            wanted = own.generate(
                inputs_embeds=entered[:, :before], attention_mask=torch.ones(1, before).long(), max_new_tokens=6, do_sample=False
            )
        nll = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        torch.testing.assert_close(told["nll_B"][n], nll, atol=1e-4, rtol=1e-4)
        assert told["hits_B"][n] == (logits.argmax(1) == target)[:-1].sum() and told["count_B"][n] == len(target)
        assert said[n] == ended(wanted[0].tolist())


@pytest.mark.parametrize("family", APART)
def test_an_encoder_decoder_thinks_and_writes_as_its_own(family, tmp_path):
    config, words = APART[family]
    folder = saved(tmp_path / family, config, words, "AutoModelForSeq2SeqLM", "bart" if "bart" in family else "t5")
    own, split = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), tokenizer("bart" if "bart" in family else "t5")
    script, ours = held(folder)
    plain = [(q, a, False) for q, a, _ in ASKED]
    packed, fused = asked(script, plain)
    read = split([q for q, _, _ in plain], return_tensors="pt", padding=True, return_token_type_ids=False)
    labels = split([a for _, a, _ in plain], return_tensors="pt", padding=True)["input_ids"]
    labels[(labels == 0) | (labels == 2)] = -100  # what begins every answer is given
    start = own.config.decoder_start_token_id
    begins = [start, 2] if "bart" in family else [start]
    entered = split([a for _, a, _ in plain], return_tensors="pt", padding=True)["input_ids"]
    with torch.no_grad():
        told, said = ours(packed, fused), ours.write(opened(packed), fused, How(6))
        shifted = torch.cat([torch.full((3, 1), start), entered[:, :-1]], 1)
        loss = own(**read, labels=labels, decoder_input_ids=shifted).loss
        wanted = own.generate(**read, decoder_input_ids=torch.tensor(begins).expand(3, -1), max_new_tokens=6, do_sample=False)
    torch.testing.assert_close(told["nll_B"].sum() / told["count_B"].sum(), loss, atol=1e-4, rtol=1e-4)
    assert said == [ended(row[len(begins) :]) for row in wanted.tolist()]
    one = script.collate([script.item(TASK, {"question": "what is it"}, {})])
    assert list(ours.stream(one, fused.rows(torch.tensor([0])), How(6))) == said[0]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_an_encoder_reads_pictures_between_words_and_padding_changes_nothing(family, tmp_path):
    config, words = APART[family]
    script, ours = held(saved(tmp_path / family, config, words, "AutoModelForSeq2SeqLM", family))
    packed, fused = asked(script)
    with torch.no_grad():
        together = ours(packed, fused)["nll_B"]
        alone = [ours(packed.part(n, n + 1), fused.rows(torch.tensor([n])))["nll_B"] for n in range(3)]
        blind = ours(packed, Fused(fused.tokens_BTD, fused.mask_BT, fused.pooled_BD, {}))["nll_B"]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)
    assert [bool(x) for x in (together - blind).abs() > 1e-4] == [True, False, True]
    entered = spliced(ours.base.get_input_embeddings(), next(rows_of(opened(packed))), fused.prefix["image"][0])
    labels = torch.tensor([script.answer(ASKED[0][1])])
    prompt = torch.tensor([[*ours.facts["prompt"], *labels[0, :-1].tolist()]])
    with torch.no_grad():
        logits = ours.base(inputs_embeds=entered, decoder_input_ids=prompt).logits[0, len(ours.facts["prompt"]) - 1 :]
    nll = torch.nn.functional.cross_entropy(logits, labels[0], reduction="sum")
    torch.testing.assert_close(together[0], nll, atol=1e-4, rtol=1e-4)


HEARD = Generate(target="answer", template="{voice}")


def whisper_tokenizer():
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    known = {word: number for number, word in enumerate(["<|endoftext|>", *WORDS])}
    made = Tokenizer(models.WordLevel(known, unk_token="<|endoftext|>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>", "<|notimestamps|>"]
    made.add_special_tokens([AddedToken(word, special=True) for word in words])
    ends = [(word, made.token_to_id(word)) for word in (words[0], words[-1], "<|endoftext|>")]
    made.post_processor = processors.TemplateProcessing(single=f"{words[0]} {words[-1]} $A <|endoftext|>", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heard") / "whisper"
    made = whisper_tokenizer()
    start = made.convert_tokens_to_ids("<|startoftranscript|>")
    words = {"d_model": 32, "num_mel_bins": 8, "max_source_positions": 50, "max_target_positions": 16, **HALVES}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "decoder_start_token_id": start, "suppress_tokens": None}
    saved(folder, "WhisperConfig", {**words, **ids, "begin_suppress_tokens": None}, "WhisperForConditionalGeneration", vocab_size=len(made))
    made.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(8, chunk_length=1).save_pretrained(folder)
    config = transformers.GenerationConfig.from_pretrained(folder)
    config.is_multilingual, config.begin_suppress_tokens = True, [5]
    words = {f"<|{word}|>": made.convert_tokens_to_ids(f"<|{word}|>") for word in ("en", "de", "transcribe", "translate")}
    config.lang_to_id = {word: words[word] for word in ("<|en|>", "<|de|>")}
    config.task_to_id = {word: words[f"<|{word}|>"] for word in ("transcribe", "translate")}
    config.no_timestamps_token_id = made.convert_tokens_to_ids("<|notimestamps|>")
    config.save_pretrained(folder)
    return folder


def heard(folder, prepare, sounds, projector="none"):
    """What the recipe's parts make of sounds, up to what the decoder looks at; and what the encoder was given."""
    from triptych.modalities import rooms
    from triptych.modalities.audio.read import Recording
    from triptych.model.fusion import build_fusion
    from triptych.model.settings import Prefix

    room = rooms()["audio"]
    settings = room.Input.model_validate({"modality": "audio", "encoder": {"kind": "pretrained", "name": str(folder)}, "prepare": prepare})
    preparation = room.preparation(settings)
    packed = preparation.collate(preparation.prepare([Recording(wave, 16_000) for wave in sounds]))
    encoder = room.encoder(settings, preparation.facts()).eval()
    fusion = build_fusion(Prefix(projector=projector), {"voice": encoder.width}, 32).eval()
    with torch.no_grad():
        return fusion({"voice": encoder(packed)}, {"voice": torch.ones(len(sounds)).bool()}), packed


def test_a_decoder_of_whisper_thinks_and_writes_as_the_whole_of_it(whisper):
    own = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    sounds = [torch.randn(n, generator=torch.Generator().manual_seed(n)).numpy() * 0.2 for n in (8_000, 4_800, 12_000)]
    fused, given = heard(whisper, {"fill": "whole"}, sounds)
    script, ours = held(whisper, ("voice",), language="de", speech="translate")
    answers = [a for _, a, _ in ASKED]
    packed = script.collate([script.item(HEARD, {"answer": a}, {"voice": 1}) for a in answers])
    made = whisper_tokenizer()
    prompt = made.convert_tokens_to_ids(["<|startoftranscript|>", "<|de|>", "<|translate|>", "<|notimestamps|>"])
    assert ours.facts["prompt"] == prompt and script.answer("a cat") == [*made.convert_tokens_to_ids(["a", "cat"]), 0]
    rows = [[*prompt, *made.convert_tokens_to_ids(a.split()), 0] for a in answers]
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=-100)
    labels = ids[:, 1:].clone()
    labels[:, : len(prompt) - 1] = -100
    features = given.tensors["features"].transpose(1, 2)
    with torch.no_grad():
        told, said = ours(packed, fused), ours.write(opened(packed), fused, How(6))
        loss = own(input_features=features, decoder_input_ids=ids[:, :-1].clamp(min=0), labels=labels).loss
        begins = {"decoder_input_ids": torch.tensor(prompt).expand(3, -1), "max_new_tokens": 6, "do_sample": False}
        wanted = transformers.GenerationMixin.generate(own, input_features=features, **begins)
    torch.testing.assert_close(told["nll_B"].sum() / told["count_B"].sum(), loss, atol=1e-4, rtol=1e-4)
    assert said == [ended(row[len(prompt) :], 0) for row in wanted.tolist()]
    assert ours.base.model.encoder is None and ours.size() == sum(p.numel() for p in own.model.decoder.parameters())


def test_a_decoder_of_whisper_does_not_look_at_padding(whisper):
    sounds = [torch.randn(n, generator=torch.Generator().manual_seed(n)).numpy() * 0.2 for n in (8_000, 3_200)]
    script, ours = held(whisper, ("voice",), language="en")
    packed = script.collate([script.item(HEARD, {"answer": a}, {"voice": 1}) for _, a, _ in ASKED[:2]])
    fused, _ = heard(whisper, {}, sounds)
    with torch.no_grad():
        together, said = ours(packed, fused)["nll_B"], ours.write(opened(packed), fused, How(5, beams=2))
        for n, sound in enumerate(sounds):
            alone, _ = heard(whisper, {}, [sound])
            torch.testing.assert_close(together[n : n + 1], ours(packed.part(n, n + 1), alone)["nll_B"], atol=1e-4, rtol=1e-4)
            assert said[n : n + 1] == ours.write(opened(packed.part(n, n + 1)), alone, How(5, beams=2))
        nothing = Fused(fused.tokens_BTD, fused.mask_BT, fused.pooled_BD, {})
        assert ours(packed, nothing)["nll_B"].isfinite().all()


def test_what_whisper_cannot_be_asked(whisper, tmp_path):
    with pytest.raises(InputError, match="does not say which is spoken"):
        held(whisper, ("voice",))
    with pytest.raises(InputError, match=r"no <\|xx\|>"):
        held(whisper, ("voice",), language="xx")
    with pytest.raises(InputError, match="is for a Whisper of many languages"):
        held(saved(tmp_path / "gpt", "GPT2Config", CAUSAL["gpt2"][1]), language="en")
    script, ours = held(whisper, ("voice",), language="en")
    with pytest.raises(InputError, match="listens and reads no words"):
        script.item(Generate(target="answer", template="{voice} what is said"), {"answer": "no"}, {"voice": 1})
    with pytest.raises(BadValue, match="takes 15 places and the decoder has 12"):
        script.item(HEARD, {"answer": "a " * 14}, {"voice": 1})
    with pytest.raises(InputError, match="leaves a sequence as it is, 32 numbers a step, and the decoder takes 16"):
        from triptych.layers.projectors import projector

        projector("none", 32, 16)


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt2-untied", "t5", "t5-1.1", "bart"])
def test_the_last_blocks_learn_without_a_vocabulary_that_is_the_head_too(family, tmp_path):
    config, words = (CAUSAL.get(family) or APART[family])[:2]
    form = "AutoModelForCausalLM" if family in CAUSAL else "AutoModelForSeq2SeqLM"
    _, ours = held(saved(tmp_path / family, config, words, form, family.split("-")[0]))
    *others, last = ours.blocks()
    inside = {id(p) for p in last.parameters()}
    base = ours.base
    assert ours.depth() == len(others) + 1 == (2 if family in CAUSAL else 4)
    assert id(base.get_input_embeddings().weight) not in inside
    head = base.get_output_embeddings().weight
    assert (id(head) in inside) == (head is not base.get_input_embeddings().weight) and (family != "gpt2-untied" or id(head) in inside)
    norms = [p for name, p in base.named_parameters() if name.endswith(("final_layer_norm.weight", "ln_f.weight"))]
    assert norms == [] or id(norms[-1]) in inside or family == "bart"
    everything = {id(p) for block in ours.blocks() for p in block.parameters()}
    assert everything == {id(p) for p in base.parameters()}


@pytest.mark.parametrize("family", ["gpt2", "smollm2", "t5", "bart"])
def test_what_is_trained_is_kept_and_taken_back(family, tmp_path):
    from triptych.contract.part import Part

    config, words = (CAUSAL.get(family) or APART[family])[:2]
    form = "AutoModelForCausalLM" if family in CAUSAL else "AutoModelForSeq2SeqLM"
    folder = saved(tmp_path / family, config, words, form, family)
    for more, learns in (({"lora": {"rank": 2}}, "lora_"), ({}, "")):
        script, ours = held(folder, **more)
        packed, fused = asked(script)
        for name, parameter in ours.base.named_parameters():
            parameter.requires_grad_(learns in name)
        ours.train()
        before = ours(packed, fused)["nll_B"].sum()
        before.backward()
        with torch.no_grad():
            for parameter in ours.parameters():
                if parameter.grad is not None:
                    parameter -= 0.05 * parameter.grad
        ours.eval()
        with torch.no_grad():
            after = ours(packed, fused)["nll_B"]
        assert after.sum() < before
        ours.save(tmp_path / f"part{learns}")
        again = Part.load(tmp_path / f"part{learns}")
        with torch.no_grad():
            torch.testing.assert_close(again(packed, fused)["nll_B"], after)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_a_gguf_file_is_read_as_transformers_reads_it(kind, tmp_path, write_gguf):
    folder = saved(tmp_path / "llama", "LlamaConfig", GROUPED, tie_word_embeddings=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    (tmp_path / "file").mkdir()
    write_gguf(model, WORDS, tmp_path / "file/model.gguf", kind)
    script, ours = held(tmp_path / "file", file="model.gguf")
    own = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "file", gguf_file="model.gguf", dtype=torch.float32).eval()
    ids = torch.tensor([[4, 7, 9, 5, 8]])
    with torch.no_grad():
        ours.eval()
        torch.testing.assert_close(ours.base(ids).logits, own(ids).logits, atol=1e-5, rtol=1e-5)
        apart = (ours.base(ids).logits - model(ids).logits).norm() / model(ids).logits.norm()
    assert apart < {"F32": 1e-5, "F16": 1e-2, "Q8_0": 5e-2}[kind] and (kind == "F32" or apart > 1e-5)
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "file", gguf_file="model.gguf")
    assert script.chat.tokenizer.to_str() == tokens.backend_tokenizer.to_str() and script.chat.stops[0] == tokens.eos_token_id
    with pytest.raises(InputError, match=r"no file 'other.gguf'"):
        held(tmp_path / "file", file="other.gguf")
    (tmp_path / "file/other.gguf").write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(InputError, match="GGUF file cannot be read"):
        held(tmp_path / "file", file="other.gguf")


def test_what_cannot_be_a_decoder(tmp_path):
    bert = saved(tmp_path / "bert", "BertConfig", TINY, "BertForMaskedLM")
    with pytest.raises(InputError, match="is a bert model, which writes no text by itself"):
        held(bert)
    small = saved(tmp_path / "small", "GPT2Config", {**CAUSAL["gpt2"][1], "vocab_size": 20})
    with pytest.raises(InputError, match="has 22 ids, and the model knows 20"):
        held(small)
    gpt2 = saved(tmp_path / "gpt2", "GPT2Config", CAUSAL["gpt2"][1])
    with pytest.raises(InputError, match=r"decoder\.context 4,096 is more than the 64 positions"):
        held(gpt2, context=4096)
    t5 = saved(tmp_path / "t5", "T5Config", T5, "AutoModelForSeq2SeqLM", "t5")
    script, _ = held(t5)
    with pytest.raises(InputError, match="reads with an encoder, and gated layers"):
        writer(Base(name=str(t5)), {**script.facts(), "inputs": ["image"], "looks": 32})
    weights = gpt2 / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="is cut: "):
        held(gpt2)
    weights.unlink()
    with pytest.raises(InputError, match="has no weights"):
        held(gpt2)
    with pytest.raises(ValueError, match="file is for weights in one GGUF file"):
        Base(name=str(t5), file="model.safetensors")


def test_a_tokenizer_without_padding_or_template_still_asks(tmp_path):
    folder = saved(tmp_path / "gpt2", "GPT2Config", CAUSAL["gpt2"][1])
    bare = tokenizer()
    bare.pad_token = None
    bare.save_pretrained(folder)
    script, ours = held(folder)
    packed, fused = asked(script)
    assert ours.facts["pad"] == 1 and ours.facts["stops"][0] == 1
    with torch.no_grad():
        assert ours(packed, fused)["nll_B"].isfinite().all()
