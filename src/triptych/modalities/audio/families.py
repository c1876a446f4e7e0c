"""How to reach the pieces of each architecture that hears. All are held to their own models by tests."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from triptych.base.errors import InputError
from triptych.contract.values import Packed
from triptych.layers.tower import Family, Flow, attended
from triptych.modalities.audio import swin


class SoundFamily(Family):
    """What goes into a block has a mask where recordings keep their lengths; elsewhere they are all filled up to one."""

    lengths: ClassVar[bool] = True


class Clap(SoundFamily):
    """The sound half of CLAP (Wu et al. 2023), HTSAT: a Swin over the spectrogram folded into a square (Chen et al. 2022).

    A block is one layer of Swin; what merges patches goes with the last layer of its stage. The mean over places, projected,
    lies in the space it shares with texts. All places are projected, so that they lie there too.
    """

    model = "ClapAudioModelWithProjection"
    trunk = "audio_model.audio_encoder"
    lengths = False
    first = ("batch_norm", "patch_embed")
    last = ("norm", "audio_projection")
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale_a"}

    def facts(self, config: Any) -> dict[str, Any]:
        """The width is that of the shared space."""
        return {"width": config.projection_dim, "fused": bool(config.enable_fusion)}

    def pieces(self, base: Any) -> list[nn.Module]:
        """The layers of all stages."""
        found: list[nn.Module] = []
        for stage in self.of(base).layers:
            *before, last = stage.blocks
            merged = last if stage.downsample is None else nn.ModuleList([last, stage.downsample])
            found += [*before, merged]
        return found

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Bands normed, folded, and cut into patches; of a recording longer than one piece, its parts are mixed in."""
        trunk, features_PCTF = self.of(base), packed.tensors["features"]
        normed_PCTF = trunk.batch_norm(features_PCTF.transpose(1, 3)).transpose(1, 3)
        longer_R = packed.tensors["longer"].nonzero()[:, 0] if trunk.enable_fusion else None
        return Flow(trunk.patch_embed(trunk.reshape_mel2img(normed_PCTF), longer_R))

    def step(self, block: Any, hidden: Tensor, around: dict[str, Any]) -> Tensor:
        """A layer, and the merging after it where the stage ends."""
        layer, *merging = block if isinstance(block, nn.ModuleList) else [block]
        if swin.fits(layer) and not swin.learns(layer, hidden):
            hidden = swin.through(layer, hidden)
        elif swin.begins(layer, hidden):
            hidden = swin.first(layer, hidden)
        else:
            hidden = layer(hidden, layer.input_resolution)[0]
        for merge in merging:
            hidden = merge(hidden, layer.input_resolution)
        return hidden

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm, and into the shared space; unfolded as the original does it: bands, and within each all times."""
        trunk, (rows, number, width) = self.of(base), flow.hidden.shape
        side = trunk.input_resolutions[-1][0]
        folded = trunk.norm(flow.hidden).reshape(rows, trunk.freq_ratio, side // trunk.freq_ratio, -1, width)
        tokens_PTD: Tensor = base.audio_projection(folded.transpose(1, 2).reshape(rows, number, width))
        return tokens_PTD

    def vector(self, base: Any, flow: Flow) -> Tensor:
        """The mean over places, projected after that: the projection bends."""
        pooled_PD: Tensor = base.audio_projection(self.of(base).norm(flow.hidden).mean(1))
        return pooled_PD

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """See `vector`."""
        return self.vector(base, flow)


class Wav2Vec2(SoundFamily):
    """Wav2Vec2 (Baevski et al. 2020): convolutions over samples, then a transformer.

    A padded clip gives what it would give alone, in the norm over time that some have in their first convolution too: the
    original lets padding into that. Their mean over real tokens is the vector.
    """

    model = "Wav2Vec2Model"
    layers = "encoder.layers"
    first = ("feature_extractor", "feature_projection", "encoder.pos_conv_embed")
    optional = ("masked_spec_embed",)

    def facts(self, config: Any) -> dict[str, Any]:
        """The width, and how few samples give a token."""
        if getattr(config, "add_adapter", False):
            raise InputError("this pretrained model ends in an adapter (add_adapter), which is not known here", fix="name one without")
        least = 1
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            least = (least - 1) * stride + kernel
        return {**super().facts(config), "least": least}

    def stride(self, config: Mapping[str, Any]) -> int:
        """Samples; 320 where the config keeps to what all of them have."""
        return prod(config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2)))

    def ends(self, base: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The norm stands before the blocks or after them."""
        norm = ("encoder.layer_norm",)
        return (self.first, norm) if base.config.do_stable_layer_norm else ((*self.first, *norm), ())

    def trimmed(self, base: Any) -> None:
        """Without the vector that hides parts of a sound in pretraining."""
        base.masked_spec_embed = None

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """The mean."""
        return "mean"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Samples to tokens, with their places."""
        assert packed.mask_PT is not None
        lengths_P = packed.mask_PT.sum(1)
        heard_PCT = self._heard(base, packed.tensors["samples"], lengths_P)
        hidden_PTD = base.feature_projection(heard_PCT.transpose(1, 2))
        hidden_PTD = hidden_PTD[0] if isinstance(hidden_PTD, tuple) else hidden_PTD
        for conv in base.feature_extractor.conv_layers:
            lengths_P = _after(conv.conv, lengths_P)
        mask_PT = torch.arange(hidden_PTD.shape[1], device=hidden_PTD.device) < lengths_P[:, None]
        hidden_PTD = hidden_PTD * mask_PT[:, :, None]
        hidden_PTD = hidden_PTD + base.encoder.pos_conv_embed(hidden_PTD)
        if not base.config.do_stable_layer_norm:
            hidden_PTD = base.encoder.layer_norm(hidden_PTD)
        return Flow(base.encoder.dropout(hidden_PTD), mask_PT)

    def _heard(self, base: Any, samples_PN: Tensor, lengths_P: Tensor) -> Tensor:
        heard_PCT = samples_PN[:, None]
        for conv in base.feature_extractor.conv_layers:
            norm = getattr(conv, "layer_norm", None)
            if isinstance(norm, nn.GroupNorm) and bool((lengths_P < samples_PN.shape[1]).any()):
                made_PCT = conv.conv(heard_PCT)
                heard_PCT = conv.activation(_normed(made_PCT, _after(conv.conv, lengths_P), norm))
            else:
                heard_PCT = conv(heard_PCT)
        return heard_PCT

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask over keys."""
        return {"attention_mask": attended(base, flow)}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm, in those that have it there."""
        tokens_PTD: Tensor = base.encoder.layer_norm(flow.hidden) if base.config.do_stable_layer_norm else flow.hidden
        return tokens_PTD


class Hubert(Wav2Vec2):
    """HuBERT (Hsu et al. 2021): the same network, trained otherwise."""

    model = "HubertModel"


def _after(conv: Any, lengths_P: Tensor) -> Tensor:
    return torch.div(lengths_P - conv.kernel_size[0], conv.stride[0], rounding_mode="floor") + 1


def _normed(made_PCT: Tensor, lengths_P: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Each channel to mean 0 and deviation 1 over its real steps alone; the norm has a group for each channel."""
    real_P1T = (torch.arange(made_PCT.shape[2], device=made_PCT.device) < lengths_P[:, None])[:, None]
    count_P11 = lengths_P[:, None, None]
    mean_PC1 = (made_PCT * real_P1T).sum(2, keepdim=True) / count_P11
    spread_PCT = (made_PCT - mean_PC1) * real_P1T
    variance_PC1 = spread_PCT.square().sum(2, keepdim=True) / count_P11
    return spread_PCT * (variance_PC1 + norm.eps).rsqrt() * norm.weight[:, None] + norm.bias[:, None]


class Whisper(SoundFamily):
    """The encoder of Whisper (Radford et al. 2022).

    Its positions are cut to as many as a batch needs, unless the preparation filled all recordings up. The vector is the mean
    over tokens in which something is heard.
    """

    model = "WhisperForAudioClassification"
    trunk = "encoder"
    layers = "layers"
    first = ("conv1", "conv2", "embed_positions")
    last = ("layer_norm",)
    optional = ("projector", "classifier", "layer_weights")

    def facts(self, config: Any) -> dict[str, Any]:
        """The width, and how many frames fit."""
        return {"width": config.d_model, "frames": 2 * config.max_source_positions}

    def stride(self, config: Mapping[str, Any]) -> int:
        """The second convolution halves time."""
        return 2

    def trimmed(self, base: Any) -> None:
        """The encoder alone."""
        for name in self.optional:
            setattr(base, name, None)

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """The mean; the original has none."""
        return "mean"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Two convolutions, and positions. Behind the end of a recording they see zeros, as they do at the end of a batch."""
        trunk, features_PTF, mask_PT = self.of(base), packed.tensors["features"], packed.mask_PT
        assert mask_PT is not None
        made_PDT = nn.functional.gelu(trunk.conv1((features_PTF * mask_PT[:, :, None]).transpose(1, 2))) * mask_PT[:, None]
        hidden_PTD = nn.functional.gelu(trunk.conv2(made_PDT)).transpose(1, 2)
        hidden_PTD = hidden_PTD + trunk.embed_positions.weight[: hidden_PTD.shape[1]]
        return Flow(hidden_PTD, mask_PT[:, ::2], {"heard_P": packed.tensors["heard_P"]})

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """The mask over keys."""
        return {"attention_mask": attended(self.of(base), flow)}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = self.of(base).layer_norm(flow.hidden)
        return tokens_PTD

    def real(self, flow: Flow) -> Tensor:
        """Those in which something is heard, not the silence that follows."""
        places_T = torch.arange(flow.hidden.shape[1], device=flow.hidden.device)
        return places_T < flow.rows["heard_P"][:, None]


class Ast(SoundFamily):
    """The Audio Spectrogram Transformer (Gong et al. 2021): patches of a spectrogram, and two tokens that answer for all."""

    model = "ASTModel"
    lengths = False
    layers = "layers"
    last = ("layernorm",)

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Patches, the two tokens and positions."""
        return Flow(base.embeddings(packed.tensors["features"]))

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """No mask: all recordings are filled up to one length."""
        return {"attention_mask": None}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.layernorm(flow.hidden)
        return tokens_PTD

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The mean of the two."""
        return tokens_PTD[:, :2].mean(1)


FAMILIES: dict[str, SoundFamily] = {
    "clap": Clap(),
    "clap_audio_model": Clap(),
    "wav2vec2": Wav2Vec2(),
    "hubert": Hubert(),
    "whisper": Whisper(),
    "audio-spectrogram-transformer": Ast(),
}
"""By the `model_type` of a config."""
