"""Tiny random models of the real architectures, written by save_pretrained: ours must give what they give."""

from __future__ import annotations

import json

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
WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", *"a man with red blue old dog reads runs sings in the street today".split()]
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

    def test_the_shared_space_is_its_own(self, name, twin):
        """Unnormalised: CLAP's own way to it normalises at the end."""
        if name != "clap":
            pytest.skip("the others are compared above by their own way")
        folder, tokenizer, _ = twin(name)
        tower, preparation = opened(folder)
        theirs = (
            transformers.ClapModel.from_pretrained(folder).eval().get_text_features(**tokenizer(TEXTS, padding=True, return_tensors="pt"))
        )
        with torch.no_grad():
            ours = torch.nn.functional.normalize(tower(packed_of(preparation)).pooled_BD, dim=-1)
        torch.testing.assert_close(ours, theirs.pooler_output, atol=1e-5, rtol=1e-5)

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
