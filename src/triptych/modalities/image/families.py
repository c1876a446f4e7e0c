"""How to reach the pieces of each architecture that looks at pictures. All are held to their own models by tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from triptych.contract.values import Packed
from triptych.layers.tower import Family, Flow


class Patches(Family):
    """Transformers over patches: pixels go in, tokens come out, the first of them is [CLS]."""

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Patches, [CLS] and positions."""
        return Flow(self.of(base).embeddings(packed.tensors["pixels"]))

    def around(self, base: Any, flow: Flow) -> dict[str, Any]:
        """Every token sees every other."""
        return {"attention_mask": None}


class Vit(Patches):
    """ViT (Dosovitskiy et al. 2021): [CLS] through its pooler, where the checkpoint has one; else [CLS] itself."""

    model = "ViTModel"
    layers = "layers"
    last = ("layernorm", "pooler")
    optional = ("pooler",)

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Classifiers are saved without a pooler."""
        return "base" if any(".pooler." in f".{name}" for name in names) else "first"

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.layernorm(flow.hidden)
        return tokens_PTD

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """[CLS] through a dense layer and its activation."""
        pooled_PD: Tensor = base.pooler(tokens_PTD)
        return pooled_PD


class Dinov2(Patches):
    """DINOv2 (Oquab et al. 2024): [CLS] after the last norm."""

    model = "Dinov2Model"
    last = ("layernorm",)

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """[CLS]."""
        return "first"

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.layernorm(flow.hidden)
        return tokens_PTD


class Dinov2Registers(Dinov2):
    """DINOv2 with registers (Darcet et al. 2024)."""

    model = "Dinov2WithRegistersModel"


class ClipVision(Patches):
    """The picture half of CLIP (Radford et al. 2021): [CLS], projected, lies in the space it shares with texts.

    All tokens are projected, so that they lie there too.
    """

    model = "CLIPVisionModelWithProjection"
    trunk = "vision_model"
    layers = "encoder.layers"
    first = ("embeddings", "pre_layrnorm")
    last = ("post_layernorm", "visual_projection")
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale"}

    def facts(self, config: Any) -> dict[str, Any]:
        """The width is that of the shared space."""
        return {"width": config.projection_dim}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """[CLS]."""
        return "first"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """Patches, [CLS] and positions, and a norm."""
        return Flow(base.vision_model.pre_layrnorm(base.vision_model.embeddings(packed.tensors["pixels"])))

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm, and into the shared space."""
        tokens_PTD: Tensor = base.visual_projection(base.vision_model.post_layernorm(flow.hidden))
        return tokens_PTD


class SiglipVision(Patches):
    """The picture half of SigLIP (Zhai et al. 2023): a learnt query over all patches gives the vector."""

    model = "SiglipVisionModel"
    layers = "encoder.layers"
    last = ("post_layernorm", "head")
    optional = ("head",)
    scalars: ClassVar[Mapping[str, str]] = {"scale": "logit_scale", "bias": "logit_bias"}

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last norm."""
        tokens_PTD: Tensor = base.post_layernorm(flow.hidden)
        return tokens_PTD

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Its own."""
        return "base" if any("head.probe" in name for name in names) else "mean"

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The query's answer."""
        pooled_PD: Tensor = base.head(tokens_PTD)
        return pooled_PD


class Maps(Family):
    """Convolution networks: what goes from block to block is a map (P, C, H, W); its places are the tokens, their mean the vector."""

    def facts(self, config: Any) -> dict[str, Any]:
        """Channels of the last map."""
        return {"width": config.hidden_sizes[-1]}

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """The mean over places."""
        return "mean"

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """Places in rows."""
        return flow.hidden.flatten(2).transpose(1, 2)


class ResNet(Maps):
    """ResNet (He et al. 2016); a block is one residual layer."""

    model = "ResNetModel"
    first = ("embedder",)

    def pieces(self, base: Any) -> list[nn.Module]:
        """The residual layers of all stages."""
        return [layer for stage in base.encoder.stages for layer in stage.layers]

    def enter(self, base: Any, packed: Packed) -> Flow:
        """The stem."""
        return Flow(base.embedder(packed.tensors["pixels"]))


class MobileNetV2(Maps):
    """MobileNetV2 (Sandler et al. 2018)."""

    model = "MobileNetV2Model"
    layers = "layer"
    first = ("conv_stem",)
    last = ("conv_1x1",)

    def facts(self, config: Any) -> dict[str, Any]:
        """Channels of the last convolution."""
        from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import apply_depth_multiplier

        fixed = config.finegrained_output and config.depth_multiplier < 1.0
        return {"width": 1280 if fixed else int(apply_depth_multiplier(config, 1280))}

    def enter(self, base: Any, packed: Packed) -> Flow:
        """The stem."""
        return Flow(base.conv_stem(packed.tensors["pixels"]))

    def leave(self, base: Any, flow: Flow) -> Tensor:
        """The last convolution; places in rows."""
        last_PCHW: Tensor = base.conv_1x1(flow.hidden)
        return last_PCHW.flatten(2).transpose(1, 2)


class ConvNext(Maps):
    """ConvNeXt (Liu et al. 2022); a block is a stage. The vector is the mean over places, then the last norm."""

    model = "ConvNextModel"
    layers = "encoder.stages"
    last = ("layernorm",)

    def pooling(self, folder: Path, names: Mapping[str, Any]) -> str:
        """Its own."""
        return "base"

    def enter(self, base: Any, packed: Packed) -> Flow:
        """The patches."""
        return Flow(base.embeddings(packed.tensors["pixels"]))

    def pool(self, base: Any, flow: Flow, tokens_PTD: Tensor, mask_PT: Tensor) -> Tensor:
        """The mean, normed."""
        pooled_PD: Tensor = base.layernorm(tokens_PTD.mean(1))
        return pooled_PD


FAMILIES: dict[str, Family] = {
    "vit": Vit(),
    "dinov2": Dinov2(),
    "dinov2_with_registers": Dinov2Registers(),
    "clip": ClipVision(),
    "clip_vision_model": ClipVision(),
    "siglip": SiglipVision(),
    "siglip_vision_model": SiglipVision(),
    "resnet": ResNet(),
    "mobilenet_v2": MobileNetV2(),
    "convnext": ConvNext(),
}
"""By the `model_type` of a config."""
