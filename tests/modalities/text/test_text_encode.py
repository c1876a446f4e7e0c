"""Text encoders: rows do not see each other, padding is not seen, parts save themselves."""

import pytest
import torch
from torch import nn

from triptych.base.settings import parse
from triptych.contract.part import Encoder, Part
from triptych.contract.values import Packed
from triptych.modalities.text import MODALITY
from triptych.modalities.text.encode import ENCODERS
from triptych.modalities.text.settings import Input

KINDS = sorted(ENCODERS)
SIZES = {"transformer": {"width": 16, "heads": 2, "depth": 3, "dropout": 0.0}, "lstm": {"width": 16, "depth": 3, "dropout": 0.0}}
SIZES["gru"] = SIZES["lstm"]


def made(kind: str, **said) -> Encoder:
    torch.manual_seed(0)
    settings = parse(Input, {"encoder": {"kind": kind, **SIZES[kind], **said}}, "test")
    return MODALITY.encoder(settings, {"vocabulary": 40})


def packed(rows: list[list[int]], length: int | None = None) -> Packed:
    length = length or max(map(len, rows))
    ids_PT = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    return Packed({"ids": ids_PT}, torch.arange(length) < torch.tensor([[len(row)] for row in rows]))


ROWS = [[2, 7, 9, 11, 3], [2], [2, 30, 31, 32, 33, 34, 35, 36], [2, 7]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_a_row_does_not_depend_on_its_batch_nor_on_padding(kind, training):
    encoder = made(kind).train(training)
    together = encoder(packed(ROWS, length=20))
    for number, row in enumerate(ROWS):
        alone = encoder(packed([row]))
        torch.testing.assert_close(together.pooled_BD[number], alone.pooled_BD[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.tokens_BTD[number, : len(row)], alone.tokens_BTD[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_under_the_padding_is_never_seen(kind):
    encoder, clean = made(kind).eval(), packed(ROWS)
    dirty = Packed({"ids": clean.tensors["ids"].masked_fill(~clean.mask_PT, 5)}, clean.mask_PT)
    torch.testing.assert_close(encoder(clean).pooled_BD, encoder(dirty).pooled_BD)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_blocks_and_intermediates(kind):
    encoder = made(kind).eval()
    encoded = encoder(packed(ROWS))
    assert encoded.tokens_BTD.shape == (4, 8, 16) and encoded.pooled_BD.shape == (4, 16) and encoder.width == 16
    assert [name for name in encoded.inner if name.startswith("block.")] == ["block.0", "block.1", "block.2"]
    in_blocks = [p for block in encoder.blocks() for p in block.parameters()]
    assert len(encoder.blocks()) == 3
    assert {id(p) for p in in_blocks} == {id(p) for p in encoder.parameters()} and len(in_blocks) == len(list(encoder.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_freezing_the_first_blocks_leaves_the_embedding_alone(kind):
    encoder = made(kind)
    for block in encoder.blocks()[:-1]:
        block.requires_grad_(False)
    encoder(packed(ROWS)).pooled_BD.sum().backward()
    assert encoder.embed.weight.grad is None
    assert all(p.grad is not None for p in encoder.blocks()[-1].parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_one_layer_is_one_block(kind):
    encoder = made(kind, depth=1)
    assert len(encoder.blocks()) == 1
    assert {id(p) for p in encoder.blocks()[0].parameters()} == {id(p) for p in encoder.parameters()}


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_gives_the_same(tmp_path, kind):
    encoder = made(kind).eval()
    encoder.save(tmp_path)
    again = Part.load(tmp_path)
    assert type(again) is ENCODERS[kind]
    torch.testing.assert_close(again(packed(ROWS)).pooled_BD, encoder(packed(ROWS)).pooled_BD)


@pytest.mark.parametrize("kind", KINDS)
def test_word_order_matters(kind):
    encoder = made(kind).eval()
    assert not torch.allclose(encoder(packed([[2, 7, 9, 11]])).pooled_BD, encoder(packed([[2, 11, 9, 7]])).pooled_BD, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [{"width": 32}, {"depth": 1}, {"dropout": 0.5}, {"heads": 4}])
def test_every_field_changes_the_answer(kind, said):
    if kind != "transformer" and "heads" in said:
        pytest.skip("no heads there")
    torch.manual_seed(1)
    usual = made(kind)(packed(ROWS)).pooled_BD
    other = made(kind, **said)(packed(ROWS)).pooled_BD
    assert usual.shape != other.shape or not torch.allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize(("kind", "network"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_recurrent_layers_equal_one_stacked_network_of_torch(kind, network):
    encoder = made(kind).eval()
    twin = network(16, 8, num_layers=3, bidirectional=True, batch_first=True)
    for number, layer in enumerate(encoder.layers):
        for name, weight in layer.named_parameters():
            getattr(twin, name.replace("_l0", f"_l{number}")).data.copy_(weight)
    ids = torch.tensor([ROWS[2]])
    expected, _ = twin(encoder.embed(ids) * 16**0.5)
    encoded = encoder(packed([ROWS[2]]))
    torch.testing.assert_close(encoded.tokens_BTD, expected)
    torch.testing.assert_close(encoded.pooled_BD, expected.amax(1))


def test_transformer_equals_the_one_of_torch():
    encoder = made("transformer", depth=2).eval()
    layer = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    twin = nn.TransformerEncoder(layer, 2, norm=encoder.norm, enable_nested_tensor=False).eval()
    for ours, theirs in zip(encoder.layers, twin.layers, strict=True):
        theirs.norm1, theirs.norm2 = ours.norm_attend, ours.norm_feed
        theirs.linear1, theirs.linear2 = ours.feed[0], ours.feed[2]
        theirs.self_attn.in_proj_weight.data = torch.cat([ours.attend.to_query.weight, ours.attend.to_key_value.weight])
        theirs.self_attn.in_proj_bias.data = torch.cat([ours.attend.to_query.bias, ours.attend.to_key_value.bias])
        theirs.self_attn.out_proj = ours.attend.out
    batch = packed(ROWS)
    encoded = encoder(batch)
    expected = twin(encoded.inner["embedded"], src_key_padding_mask=~batch.mask_PT)
    torch.testing.assert_close(encoded.tokens_BTD[batch.mask_PT], expected[batch.mask_PT], atol=1e-5, rtol=1e-5)
    mean = torch.stack([row[mask].mean(0) for row, mask in zip(expected, batch.mask_PT, strict=True)])
    torch.testing.assert_close(encoded.pooled_BD, mean, atol=1e-5, rtol=1e-5)


def test_a_text_longer_than_any_in_training_is_read():
    assert made("transformer").eval()(packed([[2] + [9] * 700])).tokens_BTD.shape == (1, 701, 16)
