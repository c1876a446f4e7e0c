"""How to reach the pieces of each architecture that reads texts. All are held to their own models by tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.values import Packed
from triptych.layers.tower import Family, Flow, attended, picked


class TextFamily(Family):
    """What texts have in common: ids go in; `positions` is how many tokens fit (0: no end), `filled` whether that many always go in."""

    spare: ClassVar[int] = 0
    """Positions that are never a token's."""
    filled: ClassVar[bool] = False
    without: ClassVar[str] = "mean"
    """How rows are pooled where the checkpoint has none of `optional`, or the architecture has no way of its own."""

    def facts(self, config: Any) -> dict[str, Any]:
        """The sizes, and how many tokens fit."""
        return {**super().facts(config), "positions": self.positions(config), "filled": self.filled}

    def positions(self, config: Any) -> int:
        """Tokens that fit."""
        return int(config.max_position_embeddings) - self.spare

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """As a sentence-transformers folder says; else as the base does it, where its file has what that takes."""
        own = bool(self.optional) and all(any(f".{there}".find(f".{name}.") >= 0 for there in names) for name in self.optional)
        return sentence_pooling(folder) or ("base" if own else self.without)

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Words and positions added up."""
        return Flow(self.of(base).embeddings(input_ids=packed.tensors["ids"]), packed.mask_PT)

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask over keys."""
        return {"attention_mask": attended(self.of(base), flow)}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last block's answer as it is."""
        return flow.hidden


def sentence_pooling(folder: Path) -> str | None:
    """How a sentence-transformers folder pools; None where it is none.

    Raises:
        InputError: in a way that is not known here, or with a layer after it.
    """
    path, fix = folder / "1_Pooling" / "config.json", "say how in the recipe: encoder: {pool: mean}"
    if not path.exists():
        return None
    words = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first", "pooling_mode_lasttoken": "last"}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        modules = folder / "modules.json"
        kinds = (
            [module["type"].rsplit(".", 1)[-1] for module in json.loads(modules.read_text(encoding="utf-8"))] if modules.exists() else []
        )
        named = said.get("pooling_mode")
        found = [word for name, word in words.items() if said.get(name)] or [{"cls": "first", "lasttoken": "last"}.get(named, named)]
        strange = [name for name, on in said.items() if name.startswith("pooling_mode_") and on is True and name not in words]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the pooling of the pretrained model is damaged: {error}", where=str(path), fix=fix) from error
    if strange or len(found) != 1 or found[0] not in words.values() or "Dense" in kinds:
        how = ", ".join([*strange, *(str(word) for word in found), *(kind for kind in kinds if kind == "Dense")])
        return f"unknown: {how}"
    return str(found[0])


class Bert(TextFamily):
    """BERT (Devlin et al. 2019) and what was made like it, MiniLM among them: [CLS] through its pooler, where it was trained."""

    model = "BertModel"
    last = ("pooler",)
    optional = ("pooler",)

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """[CLS] through a dense layer and tanh."""
        pooled_PD: Tensor = base.pooler(tokens_PTD)
        return pooled_PD


class Roberta(Bert):
    """RoBERTa (Liu et al. 2019): positions are counted from behind the padding's id."""

    model = "RobertaModel"
    spare = 2


class XlmRoberta(Roberta):
    """XLM-RoBERTa (Conneau et al. 2020)."""

    model = "XLMRobertaModel"


class Camembert(Roberta):
    """CamemBERT (Martin et al. 2020)."""

    model = "CamembertModel"


class MpNet(Bert):
    """MPNet (Song et al. 2020): distances between tokens are added in every block, learnt with the first."""

    model = "MPNetModel"
    spare = 2
    first = ("embeddings", "encoder.relative_attention_bias")

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask, and the bias of distances."""
        return {**super().around(base, flow), "position_bias": base.encoder.compute_position_bias(flow.hidden)}


class DistilBert(TextFamily):
    """DistilBERT (Sanh et al. 2019): no pooler, so the mean."""

    model = "DistilBertModel"
    layers = "transformer.layer"


class T5(TextFamily):
    """The encoder of T5 (Raffel et al. 2020): distances are learnt in the first block and used in all; any length fits."""

    model = "T5EncoderModel"
    trunk = "encoder"
    layers = "block"
    first = ("embed_tokens",)
    last = ("final_layer_norm", "dropout")

    def positions(self, config: Any) -> int:
        """No end."""
        return 0

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Words."""
        return Flow(base.encoder.dropout(base.encoder.embed_tokens(packed.tensors["ids"])), packed.mask_PT)

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask, and the bias of distances."""
        length = flow.hidden.shape[1]
        bias = base.encoder.block[0].layer[0].SelfAttention.compute_bias(length, length, device=flow.hidden.device)
        return {**super().around(base, flow), "position_bias": bias}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.encoder.dropout(base.encoder.final_layer_norm(flow.hidden))
        return tokens_PTD


class Gpt2(TextFamily):
    """GPT-2 (Radford et al. 2019): a token sees those before it, so the last one has seen all."""

    model = "GPT2Model"
    layers = "h"
    first = ("wte", "wpe", "drop")
    last = ("ln_f",)
    without = "last"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Words and positions added up."""
        ids_PT = packed.tensors["ids"]
        places_T = torch.arange(ids_PT.shape[1], device=ids_PT.device)
        return Flow(base.drop(base.wte(ids_PT) + base.wpe(places_T)), packed.mask_PT)

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask over keys, each token's own."""
        return {"attention_mask": attended(base, flow, causal=True)}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.ln_f(flow.hidden)
        return tokens_PTD


class ClipText(TextFamily):
    """The text half of CLIP (Radford et al. 2021): causal; the end's token, projected, lies in the space it shares with pictures.

    All tokens are projected, so that they lie there too.
    """

    model = "CLIPTextModelWithProjection"
    trunk = "text_model"
    layers = "encoder.layers"
    last = ("final_layer_norm", "text_projection")
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale"}

    def facts(self, config: Any) -> dict[str, Any]:
        """The width is that of the shared space."""
        return {**super().facts(config), "width": config.projection_dim}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Its own."""
        return "base"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Words and positions, and where each text ends."""
        ids_PT, end = packed.tensors["ids"], base.config.eos_token_id
        # Configs from before 2023 say 2 and mean the highest id there is.
        at_P = ids_PT.argmax(1) if end == 2 else (ids_PT == end).int().argmax(1)
        return Flow(base.text_model.embeddings(input_ids=ids_PT), packed.mask_PT, {"end_P": at_P})

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask over keys, each token's own."""
        return {"attention_mask": attended(base.text_model, flow, causal=True), "is_causal": True}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm, and into the shared space."""
        tokens_PTD: Tensor = base.text_projection(base.text_model.final_layer_norm(flow.hidden))
        return tokens_PTD

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The token at each text's end."""
        return picked(tokens_PTD, flow.rows["end_P"])


class SiglipText(TextFamily):
    """The text half of SigLIP (Zhai et al. 2023): texts are filled up to one length, and the last place answers for all."""

    model = "SiglipTextModel"
    layers = "encoder.layers"
    last = ("final_layer_norm", "head")
    filled = True
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale", "bias": "logit_bias"}

    def facts(self, config: Any) -> dict[str, Any]:
        """The width is that of the shared space."""
        return {**super().facts(config), "width": config.projection_size}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Its own."""
        return "base"

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm, and into the shared space."""
        tokens_PTD: Tensor = base.head(base.final_layer_norm(flow.hidden))
        return tokens_PTD

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The last place."""
        return tokens_PTD[:, -1]


class ClapText(TextFamily):
    """The text half of CLAP (Wu et al. 2023), a RoBERTa: its pooler and a projection into the space it shares with sounds."""

    model = "ClapTextModelWithProjection"
    trunk = "text_model"
    last = ("pooler", "text_projection")
    spare = 2
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale_t"}

    def facts(self, config: Any) -> dict[str, Any]:
        """The width is that of the shared space."""
        return {**super().facts(config), "width": config.projection_dim}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Its own."""
        return "base"

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """What the pooler does to the first token, done to all; and into the shared space."""
        pooler = base.text_model.pooler
        tokens_PTD: Tensor = base.text_projection(pooler.activation(pooler.dense(flow.hidden)))
        return tokens_PTD

    def vector(self, base: Any, flow: Flow) -> Tensor:
        """The first token."""
        return self.leave(base, Flow(flow.hidden[:, :1]))[:, 0]

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The first token."""
        return tokens_PTD[:, 0]


FAMILIES: dict[str, Family] = {
    "bert": Bert(),
    "roberta": Roberta(),
    "xlm-roberta": XlmRoberta(),
    "camembert": Camembert(),
    "mpnet": MpNet(),
    "distilbert": DistilBert(),
    "t5": T5(),
    "gpt2": Gpt2(),
    "clip": ClipText(),
    "clip_text_model": ClipText(),
    "siglip": SiglipText(),
    "siglip_text_model": SiglipText(),
    "clap": ClapText(),
    "clap_text_model": ClapText(),
}
"""By the `model_type` of a config."""
