"""Encoders: padding and the rest of the batch change nothing; every field and every parameter counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from triptych.base.settings import parse
from triptych.contract.part import Part
from triptych.contract.values import Packed
from triptych.modalities.audio import MODALITY

KINDS = [
    {"kind": "cnn"},
    {"kind": "cnn", "widths": [8, 16, 16, 24], "width": 20},
    {"kind": "transformer", "depth": 2, "width": 32},
    {"kind": "transformer", "depth": 1, "width": 32, "patch_bins": 6, "patch_frames": 5},
]
FEATURES = 20


def made(kind: dict[str, Any], features: int = FEATURES) -> Any:
    torch.manual_seed(0)
    return MODALITY.encoder(parse(MODALITY.Input, {"modality": "audio", "encoder": kind}, "r"), {"features": features})


def packed(lengths: list[int], longest: int, filler: float = 0.0, features: int = FEATURES) -> Packed:
    rows = [torch.randn(length, features, generator=torch.Generator().manual_seed(length)) for length in lengths]
    tensor = torch.full((len(rows), longest, features), filler)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for n, row in enumerate(rows):
        tensor[n, : len(row)], mask[n, : len(row)] = row, True
    return Packed({"features": tensor}, mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_row_does_not_depend_on_padding_or_on_other_rows(kind: dict[str, Any], training: bool) -> None:
    encoder = made(kind).train(training)
    lengths = [1, 2, 7, 8, 9, 31, 50]
    together = encoder(packed(lengths, 50))
    wider = encoder(packed(lengths, 93, filler=7.0))
    for n, length in enumerate(lengths):
        alone = encoder(packed([length], length))
        real = int(alone.mask_BT.sum())
        for other in (together, wider):
            torch.testing.assert_close(other.pooled_BD[n], alone.pooled_BD[0], rtol=0, atol=1e-5)
            assert int(other.mask_BT[n].sum()) == real
            torch.testing.assert_close(other.tokens_BTD[n, :real], alone.tokens_BTD[0, :real], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_blocks_and_inner(kind: dict[str, Any]) -> None:
    encoder = made(kind)
    out = encoder(packed([30, 50], 50))
    assert out.pooled_BD.shape == (2, encoder.width)
    assert out.tokens_BTD.shape[:2] == out.mask_BT.shape
    assert out.tokens_BTD.shape[2] == encoder.width
    assert [f"block.{n}" for n in range(len(encoder.blocks()))] == [name for name in out.inner if name.startswith("block.")]
    owned = {id(p) for block in encoder.blocks() for p in block.parameters()}
    assert owned == {id(p) for p in encoder.parameters()}
    out.pooled_BD.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in encoder.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind: dict[str, Any], tmp_path: Path) -> None:
    encoder = made(kind).eval()
    encoder.save(tmp_path)
    batch = packed([30, 50], 50)
    torch.testing.assert_close(Part.load(tmp_path)(batch).pooled_BD, encoder(batch).pooled_BD, rtol=0, atol=0)


@pytest.mark.parametrize("features", [1, 2, 13, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_features(kind: dict[str, Any], features: int) -> None:
    assert made(kind, features)(packed([3, 5], 5, features=features)).pooled_BD.isfinite().all()


def test_without_a_mask_all_frames_are_real() -> None:
    encoder, batch = made(KINDS[0]), packed([9, 9], 9)
    torch.testing.assert_close(encoder(Packed(batch.tensors)).pooled_BD, encoder(batch).pooled_BD)


@pytest.mark.parametrize("kind", [{"kind": "cnn", "dropout": 0.5}, {"kind": "transformer", "dropout": 0.5}])
def test_dropout_acts_in_training_only(kind: dict[str, Any]) -> None:
    encoder, batch = made(kind), packed([9, 20], 20)
    assert not torch.equal(encoder(batch).pooled_BD, encoder(batch).pooled_BD)
    encoder.eval()
    assert torch.equal(encoder(batch).pooled_BD, encoder(batch).pooled_BD)


def test_order_in_time_matters_to_the_transformer() -> None:
    encoder, batch = made({"kind": "transformer"}).eval(), packed([40], 40)
    turned = Packed({"features": batch.tensors["features"].flip(1)}, batch.mask_PT)
    assert (encoder(batch).pooled_BD - encoder(turned).pooled_BD).abs().max() > 1e-3


def test_patches_left_out_of_recordings_of_several_lengths() -> None:
    kind = {"kind": "transformer", "depth": 1, "width": 32, "patch_bins": 10, "patch_frames": 5}
    plain, leaving = made(kind), made({**kind, "patch_dropout": 0.5})
    leaving.load_state_dict(plain.state_dict())
    batch = packed([5, 30, 50], 50)  # 2, 12 and 20 patches
    torch.testing.assert_close(leaving.eval()(batch).tokens_BTD, plain.eval()(batch).tokens_BTD, atol=0, rtol=0)
    seen = leaving.train()(batch)
    assert seen.mask_BT.sum(1).tolist() == [1, 6, 10] and seen.tokens_BTD.shape[:2] == (3, 10)
    seen.pooled_BD.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in leaving.parameters())
    torch.manual_seed(1)
    patches = plain._patches(batch.tensors["features"].masked_fill(~batch.mask_PT[:, :, None], 0.0), batch.mask_PT)[0]
    places, real = leaving.drop.drawn(torch.arange(20) < torch.tensor([2, 12, 20])[:, None])
    torch.manual_seed(1)
    drawn = leaving(batch)
    x = plain.stem(patches)[1][places[1][real[1]]][None]
    torch.testing.assert_close(drawn.pooled_BD[1], plain.norm(plain.layers[0](x, None)).mean(1)[0], atol=1e-5, rtol=0)
