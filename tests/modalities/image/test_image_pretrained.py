"""Tiny random models of the real architectures, written by save_pretrained: ours must give what they give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.modalities import rooms
from triptych.modalities.image import pretrained

ROOM = rooms()["image"]
PATCHES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "image_size": 16, "patch_size": 8}
TEXT_HALF = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
SQUARE = {"height": 16, "width": 16}
CROPPED = {"size": {"shortest_edge": 18}, "crop_size": SQUARE}


def made(name):
    """(model as saved, processor, pixels -> tokens and pooled vector)."""
    t = transformers
    if name in ("vit", "vit-bare", "dinov2", "registers"):
        kind = {"vit": "ViT", "vit-bare": "ViT", "dinov2": "Dinov2", "registers": "Dinov2WithRegisters"}[name]
        words = {} if name != "vit-bare" else {"add_pooling_layer": False}
        base = getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**PATCHES), **words)
        processor = t.ViTImageProcessorPil(size=SQUARE) if kind == "ViT" else t.BitImageProcessorPil(**CROPPED)

        def patches(pixels):
            out = base(pixel_values=pixels)
            return out.last_hidden_state, out.last_hidden_state[:, 0] if out.pooler_output is None else out.pooler_output

        return base, processor, patches
    if name == "clip":
        config = t.CLIPConfig(
            text_config={**TEXT_HALF, "projection_dim": 12}, vision_config={**PATCHES, "projection_dim": 12}, projection_dim=12
        )
        whole = t.CLIPModel(config)

        def clip(pixels):
            hidden = whole.vision_model(pixel_values=pixels).last_hidden_state
            tokens = whole.visual_projection(whole.vision_model.post_layernorm(hidden))
            return tokens, whole.get_image_features(pixel_values=pixels).pooler_output

        return whole, t.CLIPImageProcessorPil(**CROPPED), clip
    if name == "siglip":
        whole = t.SiglipModel(t.SiglipConfig(text_config=TEXT_HALF, vision_config=PATCHES))

        def siglip(pixels):
            hidden = whole.vision_model(pixel_values=pixels).last_hidden_state
            return hidden, whole.get_image_features(pixel_values=pixels).pooler_output

        return whole, t.SiglipImageProcessorPil(size=SQUARE), siglip
    if name == "resnet":
        base = t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"))
        processor = t.ConvNextImageProcessorPil(size={"shortest_edge": 16})
    elif name == "mobilenet":
        base = t.MobileNetV2Model(t.MobileNetV2Config(depth_multiplier=0.25, image_size=16, finegrained_output=False))
        processor = t.MobileNetV2ImageProcessorPil(**CROPPED)
    else:
        base = t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 16, 16], depths=[1, 2, 1], num_stages=3))
        processor = t.ConvNextImageProcessorPil(size={"shortest_edge": 400} if name == "convnext-warped" else {"shortest_edge": 32})

    def maps(pixels):
        out = base(pixel_values=pixels)
        return out.last_hidden_state.flatten(2).transpose(1, 2), out.pooler_output.flatten(1)

    return base, processor, maps


def shaken(model):
    """Random weights, and statistics of norms, of a size that makes every piece count."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if "var" in name or "logit" in name else torch.randn_like(tensor) * 0.3)
    return model.eval()


def pictures():
    noise = np.random.default_rng(0)
    sizes = [(40, 24), (16, 16), (17, 61), (7, 9)]
    coloured = [Image.fromarray(noise.integers(0, 256, (h, w, 3), np.uint8)) for w, h in sizes]
    return [*coloured, Image.fromarray(noise.integers(0, 256, (30, 20), np.uint8))]


NAMES = ["vit", "vit-bare", "dinov2", "registers", "clip", "siglip", "resnet", "mobilenet", "convnext"]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A base's folder and what it gives itself; each made once."""
    held = {}

    def get(name):
        if name not in held:
            folder = tmp_path_factory.mktemp(name)
            model, processor, own = made(name)
            shaken(model).save_pretrained(folder)
            processor.save_pretrained(folder)
            held[name] = folder, own
        return held[name]

    return get


def opened(folder, **words):
    settings = parse(ROOM.Input, {"modality": "image", "encoder": {"kind": "pretrained", "name": str(folder), **words}}, "here")
    preparation = ROOM.preparation(settings)
    preparation.fit([])
    return ROOM.encoder(settings, preparation.facts()), preparation


def packed_of(preparation, some=None):
    return preparation.collate(preparation.prepare([ROOM.read(value) for value in some or pictures()]))


@pytest.mark.parametrize("name", NAMES)
class TestTwins:
    def test_ours_are_its_own(self, name, twin):
        folder, own = twin(name)
        tower, preparation = opened(folder)
        theirs = AutoImageProcessor.from_pretrained(folder, backend="pil")([p.convert("RGB") for p in pictures()], return_tensors="pt")
        packed = packed_of(preparation)
        torch.testing.assert_close(packed.tensors["pixels"], theirs["pixel_values"], atol=1e-5, rtol=1e-5)
        with torch.no_grad():
            tokens, pooled = own(theirs["pixel_values"])
            ours = tower(packed)
        torch.testing.assert_close(ours.tokens_BTD, tokens, atol=1e-5, rtol=1e-5)
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
        there = tower.facts["blocks"]
        with torch.no_grad():
            whole = tower(packed)
            for last in range(there + 1):
                again = tower(tower.cut(packed, last))
                torch.testing.assert_close(again.pooled_BD, whole.pooled_BD, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(again.tokens_BTD, whole.tokens_BTD, atol=1e-5, rtol=1e-5)
        with pytest.raises(InputError, match=f"has {there}"):
            tower.cut(packed, 99)

    def test_blocks_cover_it_and_its_size_is_known_before(self, name, twin):
        tower, _ = opened(twin(name)[0])
        assert not tower.made
        known = tower.size()
        held = [id(p) for block in tower.blocks() for p in block.parameters()]
        assert len(held) == len(set(held)) and {id(p) for p in tower.parameters()} == set(held)
        assert sum(p.numel() for p in tower.parameters()) == known and len(tower.blocks()) == tower.facts["blocks"]


@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_statistics_of_frozen_norms_stay_to_the_bit(name, twin):
    """Those of blocks that learn move, and are kept; nothing else is."""
    tower, preparation = opened(twin(name)[0])
    packed = packed_of(preparation)
    before = {key: value.clone() for key, value in tower.base.state_dict().items()}
    for parameter in tower.blocks()[-1].parameters():
        parameter.requires_grad_(True)
    tower.train()
    tower(packed).pooled_BD.sum().backward()
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.requires_grad:
                parameter -= 0.1 * parameter.grad
    kept = {key.removeprefix("base.") for key in tower.kept()}
    moved = {key for key, value in tower.base.state_dict().items() if not torch.equal(value, before[key])}
    assert moved and moved <= kept and any("running_mean" in key for key in moved)
    assert 0 < len(kept) < len(before) / 2


@pytest.mark.parametrize("size", [(9, 700), (700, 9)])
def test_of_a_line_of_pixels_only_the_middle_is_made_large(size, monkeypatch):
    """A line of 1 x 4,000 would be 262 million pixels before its middle is cut out."""
    steps = {"shortest": 64, "size": None, "crop": [56, 56], "resample": 2, "channels": 3}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    whole = np.asarray(pretrained.cropped(pretrained.resized(image, steps), steps["crop"]), np.int16)
    monkeypatch.setattr(pretrained, "LONG", 1_000)
    middle = pretrained.resized(image, steps)
    assert middle.size == (56, 56)
    assert np.abs(np.asarray(pretrained.cropped(middle, steps["crop"]), np.int16) - whole).max() <= 1


@pytest.mark.parametrize(
    "flags",
    [
        {"do_center_crop": False, "size": SQUARE},
        {"do_rescale": False},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"resample": 0},
    ],
)
def test_flags_of_a_processor_are_followed(flags, twin, tmp_path):
    import shutil

    folder, _ = twin("clip")
    shutil.copytree(folder, tmp_path / "base")
    transformers.CLIPImageProcessorPil(**{**CROPPED, **flags}).save_pretrained(tmp_path / "base")
    _, preparation = opened(tmp_path / "base")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "base", backend="pil")
    theirs = processor([p.convert("RGB") for p in pictures()], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(packed_of(preparation).tensors["pixels"], theirs.float(), atol=1e-5, rtol=1e-5)
