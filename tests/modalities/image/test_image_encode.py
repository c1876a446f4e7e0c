"""The encoders: what they compute, that rows do not see each other, that every setting and weight counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.part import Encoder, Part
from triptych.contract.values import Packed
from triptych.modalities.image import MODALITY
from triptych.modalities.image.encode import (
    CnnEncoder,
    FlattenDense,
    InvertedResidual,
    MobileNetEncoder,
    Patches,
    VitEncoder,
    halvings,
    scaled,
)
from triptych.modalities.image.settings import Cnn, MobileNet, Vit

SMALL = {
    "cnn": Cnn(widths=(8, 12), width=16, dropout=0),
    "cnn, places shared": Cnn(widths=(8, 12), width=16, dropout=0, places="shared"),
    "vit": Vit(patch=8, width=24, depth=3, heads=3, dropout=0),
    "mobilenet": MobileNet(multiplier=0.25, width=20, dropout=0),
}
KINDS = list(SMALL)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small are slower in many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(kind: str, channels: int = 3, size: int = 32, **change: object) -> Encoder:
    torch.manual_seed(0)
    words = MODALITY.Input().model_copy(update={"encoder": SMALL[kind].model_copy(update=change)})
    return MODALITY.encoder(words, {"channels": channels, "size": size})


def batch(rows: int = 3, channels: int = 3, size: int = 32) -> Packed:
    return Packed({"pixels": torch.randn(rows, channels, size, size, generator=torch.Generator().manual_seed(1))})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, 32), (3, 72), (1, 224)])
def test_shapes(kind: str, channels: int, size: int) -> None:
    encoder = made(kind, channels, size)
    with torch.no_grad():
        encoded = encoder(batch(2, channels, size))
    assert encoded.pooled_BD.shape == (2, encoder.width)
    assert encoded.tokens_BTD.shape == (2, encoded.mask_BT.shape[1], encoder.width)
    assert encoded.mask_BT.dtype == torch.bool and encoded.mask_BT.all()
    assert list(encoded.inner) == [f"block.{n}" for n in range(len(encoder.blocks()))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("train", [True, False])
def test_a_row_does_not_depend_on_the_others(kind: str, train: bool) -> None:
    encoder = made(kind).train(train)
    with torch.no_grad():
        together = encoder(batch(4))
        for n in range(4):
            alone = encoder(Packed({"pixels": batch(4).tensors["pixels"][n : n + 1]}))
            torch.testing.assert_close(together.pooled_BD[n : n + 1], alone.pooled_BD, atol=1e-5, rtol=0)
            torch.testing.assert_close(together.tokens_BTD[n : n + 1], alone.tokens_BTD, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_hold_every_weight_once(kind: str) -> None:
    encoder = made(kind)
    held = [id(weight) for block in encoder.blocks() for weight in block.parameters()]
    assert sorted(held) == sorted(id(weight) for weight in encoder.parameters())
    assert [id(block) for block in encoder.blocks()] == [id(block) for block in encoder.blocks()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ["pooled_BD", "tokens_BTD"])
def test_every_weight_learns_from_either_answer(kind: str, answer: str) -> None:
    encoder = made(kind)
    getattr(encoder(batch()), answer).square().sum().backward()
    assert not [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_answers_the_same(kind: str, tmp_path: Path) -> None:
    encoder = made(kind).eval()
    encoder.save(tmp_path)
    with torch.no_grad():
        assert torch.equal(encoder(batch()).pooled_BD, Part.load(tmp_path)(batch()).pooled_BD)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_training_only(kind: str) -> None:
    encoder = made(kind, dropout=0.5)
    with torch.no_grad():
        assert not torch.equal(encoder(batch()).tokens_BTD, encoder(batch()).tokens_BTD)
        encoder.eval()
        assert torch.equal(encoder(batch()).tokens_BTD, encoder(batch()).tokens_BTD)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("cnn", {"widths": (8, 16)}),
        ("cnn", {"widths": (8,)}),
        ("cnn", {"width": 20}),
        ("cnn", {"places": "shared"}),
        ("vit", {"patch": 16}),
        ("vit", {"width": 36}),
        ("vit", {"depth": 2}),
        ("mobilenet", {"multiplier": 0.5}),
        ("mobilenet", {"width": 24}),
    ],
)
def test_each_setting_changes_the_graph(kind: str, change: dict) -> None:
    other = made(kind, **change)
    assert {n: w.shape for n, w in other.named_parameters()} != {n: w.shape for n, w in made(kind).named_parameters()}


def test_heads_change_the_answer() -> None:
    one, three = VitEncoder(SMALL["vit"].model_copy(update={"heads": 1}), 3, 32), made("vit")
    one.load_state_dict(three.state_dict())
    assert not torch.allclose(one(batch()).pooled_BD, three(batch()).pooled_BD)


def test_flatten_dense_is_a_dense_layer_over_the_flattened_map() -> None:
    layer, map_BCHW = FlattenDense(5, 6, 7), torch.randn(2, 5, 2, 3)
    torch.nn.init.normal_(layer.bias_D)
    weight = layer.weight_TCD.permute(2, 1, 0).flatten(1)  # (D, C x T), as nn.Linear would hold it
    expected = F.linear(map_BCHW.flatten(1), weight, layer.bias_D * math.sqrt(6))
    torch.testing.assert_close(layer(map_BCHW).sum(1) / math.sqrt(6), expected)


def test_where_places_are_shared_a_thing_looks_alike_wherever_it_stands() -> None:
    encoder, picture = made("cnn, places shared"), torch.zeros(1, 3, 32, 32)
    here, there = picture.clone(), picture.clone()
    here[..., 9:14, 9:14], there[..., 17:22, 13:18] = 1.0, 1.0
    code_TD = encoder.blocks()[-1].places_TD
    with torch.no_grad():
        one_SSD, other_SSD = (((encoder(Packed({"pixels": x})).tokens_BTD[0]) - code_TD).unflatten(0, (8, 8)) for x in (here, there))
    torch.testing.assert_close(one_SSD[1:5, 1:5], other_SSD[3:7, 2:6])
    assert not torch.allclose(code_TD[0], code_TD[1]) and len(code_TD.unique(dim=0)) == 64


def test_cnn_pooled_is_the_dense_answer_after_gelu() -> None:
    encoded = made("cnn")(batch())
    torch.testing.assert_close(encoded.pooled_BD, F.gelu(encoded.inner["block.2"].sum(1) / 8))
    assert encoded.inner["block.1"].shape == (3, 12, 8, 8)


def test_patches_equal_a_projection_of_each_cut_out_square() -> None:
    layer, pixels = Patches(3, 16, 8, 12), torch.randn(2, 3, 16, 16)
    assert layer.places_TD.unique(dim=0).shape == (4, 12), "each place has its own code"
    cut = pixels[:, :, 8:16, 0:8].flatten(1)  # second row, first column: token 2
    expected = F.linear(cut, layer.project.weight.flatten(1), layer.project.bias) + layer.places_TD[2]
    torch.testing.assert_close(layer(pixels)[:, 2], expected)


def test_mobilenet_has_the_papers_shape() -> None:
    encoder = MobileNetEncoder(MobileNet(multiplier=1.0, width=1280, dropout=0), channels=3, size=224)
    # torchvision's mobilenet_v2 has 2,223,872 weights before its classifier; ChannelNorm holds as many as BatchNorm.
    assert sum(weight.numel() for weight in encoder.parameters()) == 2_223_872
    assert len(encoder.blocks()) == 18
    with torch.no_grad():
        inner = encoder.eval()(batch(1, 3, 224)).inner
    assert [tuple(inner[f"block.{n}"].shape[1:]) for n in (0, 1, 3, 6, 10, 13, 16)] == [
        (16, 112, 112),
        (24, 56, 56),
        (32, 28, 28),
        (64, 14, 14),
        (96, 14, 14),
        (160, 7, 7),
        (320, 7, 7),
    ]


def test_mobilenet_halves_small_pictures_less_often() -> None:
    assert [halvings(size) for size in (8, 16, 32, 64, 96, 128, 224, 1024)] == [1, 2, 3, 4, 4, 5, 5, 5]
    for size in (8, 16, 32, 64):
        with torch.no_grad():
            assert made("mobilenet", 3, size)(batch(1, 3, size)).tokens_BTD.shape[1] == 16
    assert [scaled(32, 1.0), scaled(24, 0.75), scaled(16, 0.25), scaled(32, 1.4)] == [32, 24, 8, 48]


def test_inverted_residual_adds_its_input_where_shapes_agree() -> None:
    x = torch.randn(1, 8, 6, 6)
    block = InvertedResidual(8, 8, 1, 6)
    torch.testing.assert_close(block(x), x + block.body(x))
    assert InvertedResidual(8, 16, 2, 6)(x).shape == (1, 16, 3, 3)


def test_a_size_that_does_not_fit_is_told_when_made_by_hand() -> None:
    with pytest.raises(InputError, match=r"patch 8 does not divide .*size 60[\s\S]*64.*patch to 6"):
        VitEncoder(Vit(), channels=3, size=60)
    with pytest.raises(InputError, match=r"5 convolutions[\s\S]*4 numbers"):
        CnnEncoder(Cnn(widths=(8,) * 5), channels=3, size=16)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_which_way_stripes_run(kind: str) -> None:
    """Across, down, or along either diagonal: a few steps are enough for each kind."""
    torch.manual_seed(0)
    encoder = made(kind, 1, 16)
    head = torch.nn.Linear(encoder.width, 4)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    labels = torch.arange(4).repeat(4)
    waves = torch.stack([y, x, x + y, x - y])[labels] * 1.5 + torch.rand(16, 1, 1) * 6
    pixels = waves.sin()[:, None] + 0.2 * torch.randn(16, 1, 16, 16)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(40):  # a bound; fewer are enough
        loss = F.cross_entropy(head(encoder(Packed({"pixels": pixels})).pooled_BD), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.3:
            break
    assert loss < 0.3


def test_a_vit_that_leaves_patches_out_is_the_vit_over_those_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, leaving = made("vit"), made("vit", patch_dropout=0.75)
    leaving.load_state_dict(plain.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(leaving.eval()(batch()).tokens_BTD, plain(batch()).tokens_BTD, atol=0, rtol=0)
        places = torch.tensor([[0, 5, 9, 15], [1, 2, 3, 4], [6, 7, 8, 9]])
        monkeypatch.setattr("triptych.layers.dropped.PatchDropout.drawn", lambda self, mask: (places, mask.gather(1, places)))
        seen = leaving.train()(batch())
        assert isinstance(plain, VitEncoder)
        first, *rest = plain.steps[0]
        x = first(batch().tensors["pixels"])
        x = torch.stack([row[left] for row, left in zip(x, places, strict=True)])  # position codes are added before
        for step in (*rest, *plain.steps[1:]):
            x = step(x)
    torch.testing.assert_close(seen.tokens_BTD, x, atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.pooled_BD, x.mean(1), atol=1e-6, rtol=0)
    assert seen.mask_BT.shape == (3, 4) and seen.mask_BT.all()


def test_every_weight_learns_with_most_patches_left_out() -> None:
    encoder = made("vit", patch_dropout=0.9)
    encoder(batch()).pooled_BD.square().sum().backward()
    assert not [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
