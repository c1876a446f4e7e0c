from __future__ import annotations

import json
import sys
from typing import get_args

import pytest
import torch
from torch import nn

from triptych.base.errors import InputError
from triptych.contract import tasks
from triptych.contract.modality import ToyRow
from triptych.contract.part import ABOUT, WEIGHTS, Part
from triptych.contract.values import Encoded, Packed
from triptych.modalities import rooms
from triptych.model import settings as fusions
from triptych.model.fusion import build_fusion
from triptych.model.heads import HEADS, build_head

WIDTHS = {"a": 6, "b": 10}
PRESENT = {"a": torch.tensor([True, False, True]), "b": torch.tensor([True, True, False])}


def encoded() -> dict[str, Encoded]:
    torch.manual_seed(0)
    made = {}
    for column, width in WIDTHS.items():
        tokens, mask = torch.randn(3, 4, width), PRESENT[column][:, None].expand(3, 4)
        made[column] = Encoded(tokens * mask[..., None], mask, tokens.mean(1) * PRESENT[column][:, None])
    return made


def shaken(part: Part) -> Part:
    """Every weight moved, so that a fresh part could not pass for the loaded one."""
    with torch.no_grad():
        for weight in part.state_dict(keep_vars=True).values():
            if weight.is_floating_point():
                weight.add_(torch.randn_like(weight) * 0.1)
    return part.eval()


def fusion_words():
    return [kind for kind in get_args(get_args(fusions.Fusion)[0]) if kind is not fusions.Single]


@pytest.mark.parametrize("words", fusion_words(), ids=lambda words: words.model_fields["kind"].default)
def test_a_fusion_comes_back(words, tmp_path):
    part = shaken(build_fusion(words(width=8), WIDTHS, into=12 if words is fusions.Prefix else None))
    part.save(tmp_path)
    loaded = Part.load(tmp_path)
    one, two = part(encoded(), PRESENT), loaded(encoded(), PRESENT)
    assert torch.equal(one.pooled_BD, two.pooled_BD) and torch.equal(one.tokens_BTD, two.tokens_BTD)
    assert all(torch.equal(one.parts[column], two.parts[column]) for column in WIDTHS)
    assert not loaded.training and type(loaded) is type(part) and loaded.settings == part.settings


ASKED = [
    (tasks.Classify(target="y", hidden=[5]), {"labels": ["x", "ü", "1"]}),
    (tasks.MultiLabel(target="y"), {"labels": ["x", "y"]}),
    (tasks.Regress(target="y"), {"mean": 3.5, "std": 2.0}),
    (tasks.Contrast(between=["a", "b"], width=4), {}),
    (tasks.Contrast(between=["a", "b"], width=4, form="sigmoid"), {}),
    (tasks.Ctc(target="y"), {"symbols": ["x", "y"], "input": "a", "sequence": WIDTHS["a"], "frame": 0.1}),
    (tasks.Ground(target="y", input="a", phrase="b"), {"sequence": WIDTHS["a"], "places": 4}),
]


@pytest.mark.parametrize(("task", "facts"), ASKED, ids=[f"{task.kind}-{n}" for n, (task, _) in enumerate(ASKED)])
def test_a_head_comes_back(task, facts, tmp_path):
    fusion = build_fusion(fusions.Joint(width=8), WIDTHS).eval()
    part = shaken(build_head(task, 8, facts))
    part.save(tmp_path)
    loaded = Part.load(tmp_path)
    fused = fusion(encoded(), PRESENT)
    one, two = part(fused).tensors, loaded(fused).tensors
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert loaded.facts == part.facts


def test_every_kind_of_head_is_tried():
    assert {task.kind for task, _ in ASKED} == set(HEADS)


@pytest.mark.parametrize("kind", ["transformer", "lstm", "gru"])
def test_an_encoder_of_a_room_comes_back(kind, tmp_path):
    room = rooms()["text"]
    words = room.Input(modality="text", encoder=kind)
    values = [cell.content for cell in room.toy("digits", [ToyRow("one", "train"), ToyRow("two", "train")] * 3, seed=0)]
    preparation = room.preparation(words)
    preparation.fit(values)
    packed: Packed = preparation.collate(preparation.prepare(values))
    part = shaken(room.encoder(words, preparation.facts()))
    part.save(tmp_path)
    assert torch.equal(part(packed).pooled_BD, Part.load(tmp_path)(packed).pooled_BD)


# what is damaged, and what is meant badly


@pytest.fixture
def saved(tmp_path):
    build_head(tasks.Classify(target="y"), 8, {"labels": ["x", "y"]}).save(tmp_path)
    return tmp_path


def refused(folder) -> str:
    with pytest.raises(InputError) as caught:
        Part.load(folder)
    assert str(folder) in str(caught.value) and "try:" in str(caught.value)
    return str(caught.value)


def change(folder, **words):
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, **words}))


@pytest.mark.parametrize("name", [ABOUT, WEIGHTS])
def test_a_missing_file(saved, name):
    (saved / name).unlink()
    assert "missing" in refused(saved)


@pytest.mark.parametrize("share", [0, 4, 8, 40, -1])
def test_cut_weights(saved, share):
    whole = (saved / WEIGHTS).read_bytes()
    (saved / WEIGHTS).write_bytes(whole[:share])
    assert "damaged" in refused(saved)


@pytest.mark.parametrize("place", [0, 3, 7, 8, 9, 20, 60])
def test_a_flipped_byte_in_the_header_is_an_error_or_harmless(saved, place):
    whole = bytearray((saved / WEIGHTS).read_bytes())
    whole[place] ^= 0xFF
    (saved / WEIGHTS).write_bytes(whole)
    assert "damaged" in refused(saved)


def test_weights_that_are_a_pickle_are_not_read(saved):
    torch.save({"norm.weight": torch.ones(8)}, saved / WEIGHTS)
    assert "damaged" in refused(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"class": "x"}', "\0", "null"])
def test_a_damaged_description(saved, text):
    (saved / ABOUT).write_text(text)
    assert "damaged" in refused(saved)


def test_bytes_that_are_no_text(saved):
    (saved / ABOUT).write_bytes(b"\xff\xfe\xfa")
    assert "damaged" in refused(saved)


STRANGE = [
    *("os:system", "subprocess:Popen", "builtins:eval", "torch.nn:Linear", "", ":", "x", "triptych", "triptych.base.files:write_text"),
    *("triptych.nothing:Thing", "triptych.contract.part:Part", "triptych.contract.part:Encoder", "triptych.model.heads:Head"),
    *("triptych.contract.part:nn.Linear", "triptych..x:y", "triptych_evil:Part", "triptych.model.heads:torch", 3, None, ["a"]),
]


@pytest.mark.parametrize("name", STRANGE, ids=str)
def test_only_parts_of_triptych_are_made(saved, name):
    change(saved, **{"class": name})
    assert "is not a part this version of triptych knows" in refused(saved)


def test_a_module_of_a_stranger_is_not_even_imported(saved, monkeypatch):
    (saved / "evil_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(saved)
    change(saved, **{"class": "evil_module:Part"})
    assert "is not a part this version of triptych knows" in refused(saved) and "evil_module" not in sys.modules


@pytest.mark.parametrize("facts", [{}, {"width": 8}, {"width": "x", "labels": []}, {"width": -1, "labels": ["a"]}, {"a": 1}, [], 3, None])
def test_facts_that_do_not_fit(saved, facts):
    change(saved, facts=facts)
    assert "facts do not fit" in refused(saved)


def test_settings_of_another_version_name_the_field(saved):
    change(saved, settings={"kind": "classify", "target": "y", "depth": 3})
    with pytest.raises(InputError) as caught:
        Part.load(saved)
    assert "unknown field 'depth'" in str(caught.value) and ABOUT in str(caught.value)


def test_weights_of_another_size_do_not_fit(saved):
    change(saved, facts={"width": 8, "labels": ["x", "y", "z"]})
    assert "do not fit" in refused(saved)


def test_a_part_is_one_block_unless_it_says_more():
    part = build_head(tasks.Regress(target="y"), 8, {"mean": 0.0, "std": 1.0})
    assert part.blocks() == [part] and isinstance(part, nn.Module)
