"""The sample of digits: real pictures, never on both sides of a split."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from sklearn.datasets import load_digits

from triptych.base.errors import InputError
from triptych.contract.modality import ToyRow
from triptych.modalities.image import MODALITY
from triptych.modalities.image.toy import DIGITS


def rows(**counts: int) -> list[ToyRow]:
    return [ToyRow(concept, split) for split, count in counts.items() for concept in DIGITS for _ in range(count)]


def test_cells_are_pictures_of_their_concept() -> None:
    digits = load_digits()
    wanted = rows(train=3, test=1)
    for row, cell in zip(wanted, MODALITY.toy("digits", wanted, 0), strict=True):
        number = int(cell.group.removeprefix("picture-"))
        assert digits.target[number] == DIGITS[row.concept] and cell.suffix == ".png"
        picture = MODALITY.read(cell.content)
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), np.rint(digits.images[number] * 255 / 16))


@pytest.mark.parametrize(
    "counts",
    [{"train": 60, "validation": 15, "test": 30}, {"train": 1, "test": 1}, {"train": 400, "validation": 1, "test": 1}, {"test": 5}],
)
def test_no_picture_is_on_both_sides(counts: dict[str, int]) -> None:
    wanted = rows(**counts)
    seen = defaultdict(set)
    for row, cell in zip(wanted, MODALITY.toy("digits", wanted, 7), strict=True):
        seen[cell.group].add((row.split, row.concept))
    assert all(len(places) == 1 for places in seen.values())


def test_each_row_has_its_own_picture_while_there_are_any() -> None:
    cells = MODALITY.toy("digits", rows(train=100, validation=20, test=40), 1)
    assert len({cell.group for cell in cells}) == len(cells)
    many = MODALITY.toy("digits", [ToyRow("eight", "train")] * 200 + [ToyRow("eight", "test")] * 100, 1)
    assert len({cell.group for cell in many}) == 174, "all eights there are, shared out, then again from the first"
    assert many[0] == many[len({cell.group for cell in many[:200]})]


def test_the_seed_decides() -> None:
    wanted = rows(train=5, test=2)
    assert MODALITY.toy("digits", wanted, 3) == MODALITY.toy("digits", wanted, 3)
    assert MODALITY.toy("digits", wanted, 3) != MODALITY.toy("digits", wanted, 4)


def test_unknown_words_are_answered() -> None:
    with pytest.raises(InputError, match=r"'digit'[\s\S]*digits"):
        MODALITY.toy("digit", [], 0)
    with pytest.raises(InputError, match=r"'sevn'[\s\S]*seven"):
        MODALITY.toy("digits", [ToyRow("sevn", "train")], 0)
    assert MODALITY.toy("digits", [], 0) == []
