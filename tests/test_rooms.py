"""One suite over every room: whatever lives in modalities/ keeps the contract. A new room is tested the moment it is there."""

from __future__ import annotations

import html.parser
from typing import get_args

import pytest
import torch

from triptych.base.errors import BadValue, InputError
from triptych.contract.modality import ToyRow
from triptych.contract.part import Part
from triptych.contract.pretrained import Pretrained
from triptych.modalities import rooms

ROOMS = list(rooms().values())
IDS = [room.name for room in ROOMS]
DIGITS = ("zero", "one", "two", "three")
ROWS = [
    ToyRow(concept, split) for split, count in (("train", 4), ("validation", 1), ("test", 2)) for _ in range(count) for concept in DIGITS
]


def encoder_words(room):
    """The settings class of every encoder of a room that is made new; pretrained ones are held to their own models elsewhere."""
    return [words for words in get_args(room.Input.model_fields["encoder"].annotation) if words is not Pretrained]


PAIRS = [
    pytest.param(room, words, id=f"{room.name}-{words.model_fields['kind'].default}") for room in ROOMS for words in encoder_words(room)
]


@pytest.fixture(scope="module", params=ROOMS, ids=IDS)
def room(request):
    return request.param


def toy_values(room, tmp_path):
    """Values of the sample, read as a user's would be."""
    values = []
    for number, cell in enumerate(room.toy("digits", ROWS, seed=0)):
        if isinstance(cell.content, bytes):
            path = tmp_path / f"{number}{cell.suffix}"
            path.write_bytes(cell.content)
            values.append(room.read(path))
        else:
            values.append(room.read(cell.content))
    return values


@pytest.fixture(scope="module")
def values_of(tmp_path_factory):
    """Values of a room's sample, made once a room."""
    made = {}

    def get(room):
        if room.name not in made:
            made[room.name] = toy_values(room, tmp_path_factory.mktemp(room.name))
        return made[room.name]

    return get


def fitted(room, values):
    settings = room.Input(modality=room.name)
    preparation = room.preparation(settings)
    preparation.fit(values)
    return settings, preparation


def test_a_value_is_read_again_as_itself(room, values_of):
    """embed and predict may hand over what was read already."""
    value = values_of(room)[0]
    settings, preparation = fitted(room, values_of(room))
    once, twice = preparation.prepare([value]), preparation.prepare([room.read(value)])
    assert all(torch.equal(once[0][name], twice[0][name]) for name in once[0])


def test_preparing_is_repeatable_and_the_same_alone_or_in_company(room, values_of):
    values = values_of(room)
    _, preparation = fitted(room, values)
    together = preparation.prepare(values)
    for value, item in zip(values, together, strict=True):
        alone = preparation.prepare([value])[0]
        for name in item:
            torch.testing.assert_close(alone[name], item[name], atol=1e-5, rtol=1e-5)


def test_a_preparation_comes_back_from_its_folder(room, values_of, tmp_path):
    values = values_of(room)
    settings, preparation = fitted(room, values)
    preparation.save(tmp_path)
    again = room.preparation(settings)
    again.load(tmp_path)
    assert again.facts() == preparation.facts()
    for ours, theirs in zip(preparation.prepare(values), again.prepare(values), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_missing_or_damaged_preparation_says_so(room, values_of, tmp_path):
    settings, preparation = fitted(room, values_of(room))
    with pytest.raises(InputError):
        room.preparation(settings).load(tmp_path / "nothing")
    preparation.save(tmp_path)
    for file in tmp_path.iterdir():
        file.write_bytes(b"\x00{ not json")
    with pytest.raises(InputError):
        room.preparation(settings).load(tmp_path)


@pytest.mark.parametrize(("room", "words"), PAIRS)
class TestEncoders:
    def encoder(self, room, words, values):
        settings, preparation = fitted(room, values)
        torch.manual_seed(0)
        chosen = words.model_validate({"kind": words.model_fields["kind"].default})
        return room.encoder(settings.model_copy(update={"encoder": chosen}), preparation.facts()), preparation

    def test_a_row_does_not_depend_on_its_batch(self, room, words, values_of):
        """Nor on how far it was padded, in the mode in which it learns as in the one in which it answers."""
        encoder, preparation = self.encoder(room, words, values_of(room))
        for module in encoder.modules():
            if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        items = preparation.prepare(values_of(room)[:6])
        for training in (True, False):
            encoder.train(training)
            together = encoder(preparation.collate(items))
            for row, item in enumerate(items):
                alone = encoder(preparation.collate([item]))
                torch.testing.assert_close(alone.pooled_BD[0], together.pooled_BD[row], atol=1e-5, rtol=1e-4)

    def test_shapes_mask_and_intermediates(self, room, words, values_of):
        encoder, preparation = self.encoder(room, words, values_of(room))
        encoded = encoder.eval()(preparation.collate(preparation.prepare(values_of(room)[:3])))
        assert encoded.pooled_BD.shape == (3, encoder.width)
        assert encoded.tokens_BTD.shape[:2] == encoded.mask_BT.shape
        assert encoded.tokens_BTD.shape[-1] == encoder.width
        assert encoded.mask_BT.dtype == torch.bool
        assert {f"block.{n}" for n in range(len(encoder.blocks()) - 1)} <= set(encoded.inner)

    def test_blocks_are_parts_of_it_and_cover_it(self, room, words, values_of):
        encoder, _ = self.encoder(room, words, values_of(room))
        held = {id(p) for block in encoder.blocks() for p in block.parameters()}
        assert {id(p) for p in encoder.parameters()} >= held
        covered = sum(p.numel() for p in encoder.parameters() if id(p) in held)
        assert covered > 0.9 * sum(p.numel() for p in encoder.parameters())
        assert len(encoder.blocks()) > 1

    def test_it_saves_and_loads_itself(self, room, words, values_of, tmp_path):
        encoder, preparation = self.encoder(room, words, values_of(room))
        encoder.save(tmp_path)
        packed = preparation.collate(preparation.prepare(values_of(room)[:2]))
        torch.testing.assert_close(Part.load(tmp_path)(packed).pooled_BD, encoder.eval()(packed).pooled_BD)

    def test_every_weight_learns(self, room, words, values_of):
        encoder, preparation = self.encoder(room, words, values_of(room))
        encoded = encoder(preparation.collate(preparation.prepare(values_of(room)[:6])))
        (encoded.pooled_BD * torch.randn_like(encoded.pooled_BD)).sum().backward()
        silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        # A key's bias adds the same to every score of a query: softmax does not see it.
        assert [name for name in silent if not name.endswith("bias")] == []


class Balanced(html.parser.HTMLParser):
    VOID = frozenset({"img", "br", "source", "input", "path", "rect", "line", "use"})

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_what_is_shown_is_whole_html_without_a_network(room, values_of):
    values = values_of(room)
    _, preparation = fitted(room, values)
    item = preparation.prepare(values[:1])[0]
    for fragment in (room.show(values[0]), room.seen(item, preparation)):
        parser = Balanced()
        parser.feed(fragment)
        assert parser.open == []
        assert "<script" not in fragment
        assert "http://" not in fragment.replace("http://www.w3.org/", "")
        assert "https://" not in fragment
        assert len(fragment) < 150_000


def test_toys_keep_their_groups_on_one_side_and_are_the_same_each_time(room):
    cells = room.toy("digits", ROWS, seed=0)
    assert cells == room.toy("digits", ROWS, seed=0)
    sides = {}
    for row, cell in zip(ROWS, cells, strict=True):
        assert sides.setdefault(cell.group, row.split) == row.split
    with pytest.raises(InputError, match="digits"):
        room.toy("no-such-sample", ROWS, seed=0)
    with pytest.raises(InputError):
        room.toy("digits", [ToyRow("eleventy", "train")], seed=0)


def test_suggestions_are_settings_of_the_room(room, values_of):
    suggested = room.suggest(values_of(room))
    said = room.Input.model_validate({"modality": room.name, **suggested})
    assert suggested.keys() <= said.model_fields_set and said.modality == room.name


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 64, b"\x89PNG\r\n\x1a\nnothing", b"RIFF\xff\xff\xff\x7fWAVEfmt "], ids=["empty", "zeros", "png", "wav"]
)
def test_rubbish_costs_a_value_and_nothing_else(room, content, tmp_path):
    for suffix in sorted(room.suffixes):
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(content)
        with pytest.raises(BadValue) as caught:
            room.read(path)
        assert f"bad{suffix}" in str(caught.value)


def test_a_folder_and_a_missing_file_are_bad_values(room, tmp_path):
    for path in (tmp_path, tmp_path / f"none{sorted(room.suffixes)[0]}"):
        with pytest.raises(BadValue):
            room.read(path)
