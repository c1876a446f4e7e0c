"""What a recipe may say about pictures, and how a wrong word is answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from triptych.base.errors import InputError
from triptych.base.settings import parse, spelled_out
from triptych.modalities.image import MODALITY


def said(**words: object):
    return parse(MODALITY.Input, {"modality": "image", **words}, "recipe.yaml")


def test_defaults_and_short_words() -> None:
    assert said().encoder.kind == "cnn" and said().prepare.size == 64
    for kind in ("cnn", "vit", "mobilenet"):
        assert said(encoder=kind) == said(encoder={"kind": kind})
    assert parse(MODALITY.Input, spelled_out(said(encoder="vit")), "again") == said(encoder="vit")


def test_every_field_says_what_it_is() -> None:
    schema = MODALITY.Input.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert name == "kind" or "description" in field, name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"encoder": "vitt"}, r"unknown encoder[\s\S]*vit"),
        ({"encoder": {"kind": "vit", "head": 3}}, r"unknown field 'head'[\s\S]*heads"),
        ({"encoder": {"kind": "vit", "width": 100}}, r"width 100[\s\S]*heads 3[\s\S]*width to 96"),
        ({"encoder": {"kind": "cnn", "widths": []}}, "widths"),
        ({"encoder": {"kind": "cnn", "widths": [8, 0]}}, "greater than 0"),
        ({"encoder": {"kind": "cnn", "dropout": 1}}, "less than 1"),
        ({"encoder": "vit", "prepare": {"size": 60}}, r"encoder.patch 8[\s\S]*prepare.size 60[\s\S]*size to 64"),
        ({"encoder": {"kind": "vit", "patch": 7}, "prepare": {"size": 8}}, r"size to 14, or encoder.patch to 4"),
        ({"encoder": {"widths": [4] * 5, "kind": "cnn"}, "prepare": {"size": 16}}, r"encoder.widths[\s\S]*prepare.size 16"),
        ({"prepare": {"channels": 2}}, r"channels '2'[\s\S]*known: 1, 3"),
        ({"prepare": {"fit": "padd"}}, r"unknown fit[\s\S]*'pad'"),
        ({"prepare": {"size": 4}}, "greater than or equal to 8"),
    ],
)
def test_a_wrong_word_is_answered(words: dict, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        said(**words)
    assert "recipe.yaml" in str(caught.value)


@pytest.mark.parametrize("size", range(8, 260))
def test_the_way_out_of_a_clash_leads_out(size: int) -> None:
    from triptych.modalities.image.settings import Vit, misfit

    for patch in (3, 8, 14, 16, 30):
        if clash := misfit(size, Vit(patch=patch)):
            numbers = [int(word.strip(",")) for word in clash[1].split() if word.strip(",").isdigit()]
            ways = [(numbers[0], patch), *((size, other) for other in numbers[1:2])]
            for sized, cut in ways:
                assert misfit(sized, Vit(patch=cut)) is None
                said(prepare={"size": sized}, encoder={"kind": "vit", "patch": cut})


def test_nothing_heavy_is_imported_to_check_a_recipe() -> None:
    code = (
        "import sys\nfrom triptych.modalities.image import MODALITY\n"
        "MODALITY.Input.model_validate({'modality': 'image', 'encoder': 'vit'})\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'sklearn') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
