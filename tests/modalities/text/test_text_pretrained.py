"""Tiny random models of the real architectures, written by save_pretrained: ours must give what they give."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.part import Part
from triptych.modalities import rooms

ROOM = rooms()["text"]
WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", *("a", "man", "with", "red", "blue", "old", "dog", "reads", "runs")]
WORDS += ["sings", "in", "the", "street", "today"]
TEXTS = ["a man reads", "the old dog runs in the street today with a red man", "sings"]
END = WORDS.index("</s>")
SMALL = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
PAD = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": END}
TEXT_HALF = {**SMALL, **PAD, "max_position_embeddings": 20}
VISION_HALF = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 8,
    "patch_size": 4,
}


def write_tokenizer(folder, longest=24):
    held = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Whitespace()
    held.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", END)])
    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "<s>", "eos_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=held, model_max_length=longest, **words)
    fast.save_pretrained(folder)
    return fast


def bert(kind, **more):
    return kind(**{**SMALL, **PAD, "max_position_embeddings": 40, "pad_token_id": 0, **more})


def made(name):
    """(model as saved, a function: its inputs -> tokens and pooled vector)."""
    t = transformers
    if name in ("bert", "roberta", "xlm-roberta", "camembert", "mpnet"):
        config, model = {
            "bert": (t.BertConfig, t.BertModel),
            "roberta": (t.RobertaConfig, t.RobertaModel),
            "xlm-roberta": (t.XLMRobertaConfig, t.XLMRobertaModel),
            "camembert": (t.CamembertConfig, t.CamembertModel),
            "mpnet": (t.MPNetConfig, t.MPNetModel),
        }[name]
        base = model(bert(config))
        return base, lambda ids, mask: ((o := base(input_ids=ids, attention_mask=mask)).last_hidden_state, o.pooler_output)
    if name == "distilbert":
        base = t.DistilBertModel(t.DistilBertConfig(vocab_size=len(WORDS), dim=16, n_layers=3, n_heads=2, hidden_dim=24, pad_token_id=0))
        return base, lambda ids, mask: ((h := base(input_ids=ids, attention_mask=mask).last_hidden_state), mean(h, mask))
    if name == "t5":
        whole = t.T5Model(t.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=24, num_layers=3, num_heads=2, pad_token_id=0))
        return whole, lambda ids, mask: ((h := whole.encoder(input_ids=ids, attention_mask=mask).last_hidden_state), mean(h, mask))
    if name == "gpt2":
        base = t.GPT2Model(
            t.GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=3, n_head=2, n_positions=40, bos_token_id=2, eos_token_id=3)
        )
        return base, lambda ids, mask: ((h := base(input_ids=ids, attention_mask=mask).last_hidden_state), last(h, mask))
    if name in ("clip", "clip-old"):
        text = {**TEXT_HALF, "projection_dim": 12, "eos_token_id": 2 if name == "clip-old" else END}
        config = t.CLIPConfig(text_config=text, vision_config={**VISION_HALF, "projection_dim": 12}, projection_dim=12)
        whole = t.CLIPModel(config)

        def clip(ids, mask):
            out = whole.text_model(input_ids=ids, attention_mask=mask)
            return whole.text_projection(out.last_hidden_state), whole.get_text_features(input_ids=ids, attention_mask=mask).pooler_output

        return whole, clip
    if name == "siglip":
        whole = t.SiglipModel(t.SiglipConfig(text_config={**TEXT_HALF, "projection_size": 16}, vision_config=VISION_HALF))

        def siglip(ids, mask):
            out = whole.text_model(input_ids=ids)
            return whole.text_model.head(out.last_hidden_state), whole.get_text_features(input_ids=ids).pooler_output

        return whole, siglip
    sound = {"hidden_size": 16, "depths": [1, 1], "num_attention_heads": [1, 2], "patch_embeds_hidden_size": 8, "projection_dim": 12}
    text = {**SMALL, "max_position_embeddings": 40, "pad_token_id": 0, "projection_dim": 12}
    whole = t.ClapModel(t.ClapConfig(text_config=text, audio_config=sound, projection_dim=12))

    def clap(ids, mask):
        found = whole.text_model(input_ids=ids, attention_mask=mask)
        return whole.text_projection(each_pooled(found.last_hidden_state)), whole.text_projection(found.pooler_output)

    def each_pooled(hidden):
        return torch.stack([whole.text_model.pooler(hidden[:, place:]) for place in range(hidden.shape[1])], 1)

    return whole, clap


def mean(hidden, mask):
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def last(hidden, mask):
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]


def shaken(model):
    """Random weights of a size that makes every piece count; buffers too."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.rand_like(tensor) if "logit" in name else torch.randn_like(tensor) * 0.3)
    return model.eval()


NAMES = ["bert", "roberta", "xlm-roberta", "camembert", "mpnet", "distilbert", "t5", "gpt2", "clip", "clip-old", "siglip", "clap"]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A base's folder, its tokenizer, and what it gives itself; each made once."""
    held = {}

    def get(name):
        if name not in held:
            folder = tmp_path_factory.mktemp(name)
            model, own = made(name)
            shaken(model).save_pretrained(folder)
            held[name] = folder, write_tokenizer(folder, longest=20 if name == "siglip" else 24), own
        return held[name]

    return get


def opened(folder, **words):
    settings = parse(ROOM.Input, {"modality": "text", "encoder": {"kind": "pretrained", "name": str(folder), **words}}, "here")
    preparation = ROOM.preparation(settings)
    preparation.fit([])
    return ROOM.encoder(settings, preparation.facts()), preparation


def packed_of(preparation, texts=TEXTS):
    return preparation.collate(preparation.prepare(texts))


@pytest.mark.parametrize("name", NAMES)
class TestTwins:
    def test_ours_are_its_own(self, name, twin):
        folder, tokenizer, own = twin(name)
        tower, preparation = opened(folder)
        filled = "max_length" if name == "siglip" else True
        theirs = tokenizer(TEXTS, padding=filled, truncation=True, max_length=20 if name == "siglip" else None, return_tensors="pt")
        packed = packed_of(preparation)
        assert torch.equal(packed.tensors["ids"], theirs["input_ids"])
        with torch.no_grad():
            tokens, pooled = own(theirs["input_ids"], theirs["attention_mask"])
            ours = tower(packed)
        real = packed.mask_PT
        if tokens is not None:
            torch.testing.assert_close(ours.tokens_BTD[real], tokens[real], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.pooled_BD, pooled, atol=1e-5, rtol=1e-5)
        assert ours.pooled_BD.shape[1] == tower.width == ours.tokens_BTD.shape[2]

    def test_half_the_bits_give_nearly_the_same(self, name, twin):
        """With frozen weights in bf16 as with weights cast at each step; afterwards all is as it was."""
        tower, preparation = opened(twin(name)[0])
        packed = packed_of(preparation)
        with torch.no_grad():
            whole = tower(packed).pooled_BD
            with tower.halved(), torch.autocast("cpu", torch.bfloat16):
                cut = tower.cut(packed, 1)
                half = tower(cut).pooled_BD.float()
            assert torch.equal(tower(packed).pooled_BD, whole)
        assert all(tensor.dtype == torch.bfloat16 for name, tensor in cut.tensors.items() if name.startswith("block."))
        assert torch.nn.functional.cosine_similarity(half, whole).min() > 1 - 1e-4

    def test_a_cut_goes_on_to_the_same(self, name, twin):
        tower, preparation = opened(twin(name)[0])
        packed = packed_of(preparation)
        with torch.no_grad():
            whole = tower(packed)
            for last in range(4):
                cut = tower.cut(packed, last)
                again = tower(cut)
                torch.testing.assert_close(again.pooled_BD, whole.pooled_BD, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(again.tokens_BTD, whole.tokens_BTD, atol=1e-5, rtol=1e-5)
                assert all(len(tensor) == len(TEXTS) for tensor in cut.tensors.values())
                if last:
                    assert torch.equal(tower.cut(cut, 1).tensors[f"block.{2}_PTD"], tower.cut(packed, 1).tensors[f"block.{2}_PTD"])
        with pytest.raises(InputError, match="has 3"):
            tower.cut(packed, 4)

    def test_a_row_does_not_depend_on_its_batch(self, name, twin):
        tower, preparation = opened(twin(name)[0])
        with torch.no_grad():
            together = tower(packed_of(preparation)).pooled_BD
            alone = torch.cat([tower(packed_of(preparation, [text])).pooled_BD for text in TEXTS])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)

    def test_blocks_cover_it_and_its_size_is_known_before(self, name, twin):
        tower, _ = opened(twin(name)[0])
        assert not tower.made
        known = tower.size()
        assert len(tower.blocks()) == tower.facts["blocks"] == 3
        held = [id(p) for block in tower.blocks() for p in block.parameters()]
        assert len(held) == len(set(held))
        assert {id(p) for p in tower.parameters()} == set(held)
        assert sum(p.numel() for p in tower.parameters()) == known
        assert not any(module.training for module in tower.base.modules())
        assert not any(p.requires_grad for p in tower.parameters())


def test_the_shared_space_of_clap_is_its_own(twin):
    """Unnormalised: CLAP's own way to it normalises at the end."""
    folder, tokenizer, _ = twin("clap")
    tower, preparation = opened(folder)
    whole = transformers.ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        theirs = whole.get_text_features(**tokenizer(TEXTS, padding=True, return_tensors="pt")).pooler_output
        ours = torch.nn.functional.normalize(tower(packed_of(preparation)).pooled_BD, dim=-1)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert tower.facts["scale"] == pytest.approx(whole.logit_scale_t.exp().item(), rel=1e-6)


def test_a_dual_base_says_its_scale_and_bias(twin):
    whole = transformers.SiglipModel.from_pretrained(twin("siglip")[0])
    facts = opened(twin("siglip")[0])[0].facts
    assert facts["scale"] == pytest.approx(whole.logit_scale.exp().item(), rel=1e-6)
    assert facts["bias"] == pytest.approx(whole.logit_bias.item(), rel=1e-6)


@pytest.mark.parametrize("pool", ["mean", "first", "attention"])
def test_the_recipe_says_how_rows_are_pooled(pool, twin):
    tower, preparation = opened(twin("bert")[0], pool=pool)
    packed = packed_of(preparation)
    with torch.no_grad():
        found, again = tower(packed), tower(tower.cut(packed, 0))
    assert torch.allclose(found.pooled_BD, again.pooled_BD, atol=1e-6)
    real = packed.mask_PT
    if pool == "mean":
        torch.testing.assert_close(found.pooled_BD, mean(found.tokens_BTD, real))
    elif pool == "first":
        assert torch.equal(found.pooled_BD, found.tokens_BTD[:, 0])
    else:
        assert tower.fresh() and not found.inner["looked_at_PT"][~real].any()


@pytest.mark.parametrize(
    ("said", "how"), [("pooling_mode_mean_tokens", "mean"), ("pooling_mode_cls_token", "first"), ("pooling_mode_lasttoken", "last")]
)
def test_a_sentence_folder_says_how(said, how, twin, tmp_path):
    folder = copied(twin("bert")[0], tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, said: True}))
    tower, preparation = opened(folder)
    with torch.no_grad():
        found = tower(packed_of(preparation))
    wanted = {"mean": mean, "first": lambda hidden, mask: hidden[:, 0], "last": last}[how](found.tokens_BTD, found.mask_BT)
    torch.testing.assert_close(found.pooled_BD, wanted)


def test_a_pooling_that_is_not_known_must_be_said_in_the_recipe(twin, tmp_path):
    folder = copied(twin("bert")[0], tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(InputError, match="pooling_mode_max_tokens"):
        opened(folder)
    assert opened(folder, pool="mean")[0].pooling == "mean"


def test_a_checkpoint_without_a_pooler_is_not_given_a_random_one(tmp_path):
    masked = shaken(transformers.BertForMaskedLM(bert(transformers.BertConfig)))
    masked.save_pretrained(tmp_path / "base")
    write_tokenizer(tmp_path / "base")
    tower, preparation = opened(tmp_path / "base")
    with torch.no_grad():
        found = tower(packed_of(preparation))
    torch.testing.assert_close(found.pooled_BD, mean(found.tokens_BTD, found.mask_BT))
    assert tower.base.pooler is None and sum(p.numel() for p in tower.parameters()) == tower.size()


# texts


def test_a_long_text_keeps_the_token_at_its_end(twin):
    folder, tokenizer, _ = twin("bert")
    settings = parse(ROOM.Input, {"modality": "text", "prepare": {"max_tokens": 6}, "encoder": str(folder)}, "here")
    preparation = ROOM.preparation(settings)
    preparation.fit([])
    long = "a man with red dog runs in the street today"
    (item,) = preparation.prepare([long])
    assert item["ids"].tolist() == tokenizer(long, truncation=True, max_length=6)["input_ids"] and item["ids"][-1] == END
    assert int(item["total"]) == len(tokenizer(long)["input_ids"]) and preparation.lengths([long]) == [12.0]
    assert "6 tokens" in ROOM.seen(item, preparation) and "cut: the last 6 of 12" in ROOM.seen(item, preparation)


def test_how_much_is_cut_is_nothing_that_other_threads_or_files_see(twin, tmp_path):
    """Texts are prepared in several threads, and what is remembered is found by what a preparation saves."""
    settings = parse(ROOM.Input, {"modality": "text", "prepare": {"max_tokens": 6}, "encoder": str(twin("bert")[0])}, "here")
    preparation = ROOM.preparation(settings)
    preparation.save(tmp_path / "before")
    texts = ["a man with red dog runs in the street today", "sings"] * 50

    def found(_):
        return {(len(item["ids"]), int(item["total"])) for item in preparation.prepare(texts)}

    with ThreadPoolExecutor(4) as threads:
        assert all(one == {(6, 12), (3, 3)} for one in threads.map(found, range(80)))
    preparation.save(tmp_path / "after")
    assert (tmp_path / "after/tokenizer.json").read_bytes() == (tmp_path / "before/tokenizer.json").read_bytes()


def test_cleaning_comes_before_the_tokenizer_and_is_none_unless_asked_for(twin):
    folder, tokenizer, _ = twin("bert")
    raw = "<b>A</b> MAN reads cafe\u0301"
    plain = opened(folder)[1]
    assert plain.prepare([raw])[0]["ids"].tolist() == tokenizer(raw)["input_ids"]
    words = {"lowercase": True, "strip_markup": True, "fold_spaces": True}
    settings = parse(ROOM.Input, {"modality": "text", "prepare": words, "encoder": str(folder)}, "here")
    cleaned = ROOM.preparation(settings)
    assert cleaned.prepare(["<b>A</b>  MAN reads"])[0]["ids"].tolist() == tokenizer("a man reads")["input_ids"]


def test_the_preparation_comes_back_without_the_base(twin, tmp_path):
    folder, _, _ = twin("siglip")
    _, preparation = opened(folder)
    preparation.save(tmp_path)
    again = ROOM.preparation(parse(ROOM.Input, {"modality": "text", "encoder": "./gone"}, "here"))
    again.load(tmp_path)
    for ours, theirs in zip(again.prepare(TEXTS), preparation.prepare(TEXTS), strict=True):
        assert torch.equal(ours["ids"], theirs["ids"]) and len(ours["ids"]) == 20
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        again.load(tmp_path)


@pytest.mark.parametrize("words", [{"vocabulary": 300}, {"tokenizer": "word"}])
def test_words_that_clash_are_answered_with_both_names(words):
    with pytest.raises(InputError, match=f"prepare.{next(iter(words))} clashes with encoder a/b"):
        parse(ROOM.Input, {"modality": "text", "prepare": words, "encoder": "a/b"}, "here")


def test_more_tokens_than_the_base_reads(twin):
    settings = parse(ROOM.Input, {"modality": "text", "prepare": {"max_tokens": 99}, "encoder": str(twin("bert")[0])}, "here")
    with pytest.raises(InputError, match=r"max_tokens 99 clashes with encoder .* at most 24 tokens"):
        ROOM.preparation(settings).fit([])


# weights


def test_what_was_trained_is_kept_and_what_was_not_comes_from_the_base(twin, tmp_path):
    tower, preparation = opened(twin("bert")[0])
    packed = packed_of(preparation)
    tower.ready()
    for parameter in tower.blocks()[-1].parameters():
        parameter.requires_grad_(True)
    tower.train()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * parameter.requires_grad)
    assert {name.split(".")[3] for name in tower.kept() if ".layer." in name} == {"2"}
    tower.save(tmp_path / "one")
    loaded = Part.load(tmp_path / "one")
    with torch.no_grad():
        torch.testing.assert_close(loaded(packed).pooled_BD, tower.eval()(packed).pooled_BD)
    fresh, _ = opened(twin("bert")[0])
    fresh.save(tmp_path / "two")
    tower.load_weights(tmp_path / "two/weights.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(tower(packed).pooled_BD, fresh(packed).pooled_BD)


def test_nothing_is_read_until_it_is_needed(twin, tmp_path):
    tower, preparation = opened(twin("bert")[0])
    packed = packed_of(preparation)
    done = tower.cut(packed, 0)
    late, _ = opened(twin("bert")[0])
    late.train()
    late.save(tmp_path)
    assert late.size() and late.kept() == {} and not late.made
    assert torch.equal(late(done).pooled_BD, tower(packed).pooled_BD) and not late.made
    half = late(tower.cut(packed, 1))
    assert late.made and torch.allclose(half.pooled_BD, tower(packed).pooled_BD, atol=1e-6)


def test_a_copy_shares_what_is_frozen(twin):
    import copy

    tower, preparation = opened(twin("bert")[0])
    for parameter in tower.blocks()[-1].parameters():
        parameter.requires_grad_(True)
    twin_of_it = copy.deepcopy(tower)
    for (name, one), two in zip(tower.named_parameters(), twin_of_it.parameters(), strict=True):
        assert (one is two) == (not one.requires_grad), name
    with torch.no_grad():
        assert torch.equal(tower(packed_of(preparation)).pooled_BD, twin_of_it(packed_of(preparation)).pooled_BD)


def test_a_base_of_another_kind_names_what_it_is(tmp_path):
    transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a resnet model, and no text tower"):
        opened(tmp_path)


def test_weights_that_lack_a_piece_are_refused(twin, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(twin("bert")[0], tmp_path)
    held = load_file(folder / "model.safetensors")
    held.pop("encoder.layer.1.output.dense.weight")
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack 1 tensors of a BertModel, the first is encoder.layer.1.output.dense.weight"):
        opened(folder)[0].ready()


def copied(folder, where):
    import shutil

    return shutil.copytree(folder, where / "base")
