"""Samples of pictures made without a network."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from triptych.base.errors import unknown_word
from triptych.base.extras import need
from triptych.contract.modality import ToyCell, ToyRow
from triptych.modalities.image import pictograms, products, scans, scenes

DIGITS = {word: digit for digit, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])}


def toy(sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
    """One cell a row.

    Samples: `scenes`, coloured shapes; `products`, things in colours and patterns; `posts`, pictograms; `cases`, made-up scans;
    `digits`: concepts zero to nine, real handwriting.

    Source of the digits: Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998, UCI), 1,797 pictures of 8 x 8 in
    17 greys as scikit-learn carries them. Each picture stands on one side of the split only. Every row gets another
    picture while there are any.

    Raises:
        InputError: unknown sample or concept, or scikit-learn is not installed.
    """
    if sample in _DRAWN:
        return [_drawn(row, *_DRAWN[sample]) for row in rows]
    if sample == "products":
        return [_product(row) for row in rows]
    if sample != "digits":
        raise unknown_word("sample of pictures", sample, ["digits", "products", *_DRAWN])
    for row in rows:
        if row.concept not in DIGITS:
            raise unknown_word("concept", row.concept, DIGITS, where="sample digits")
    bunch: Any = need("sklearn.datasets", extra="demo", why="the sample 'digits'").load_digits()
    decks = {word: _dealt(np.flatnonzero(bunch.target == digit).tolist(), word, rows, seed) for word, digit in DIGITS.items()}
    turns: dict[tuple[str, str], int] = {}
    cells = []
    for row in rows:
        turn = turns[row.concept, row.split] = turns.get((row.concept, row.split), -1) + 1
        pool = decks[row.concept][row.split]
        picture = pool[turn % len(pool)]
        cells.append(ToyCell(_png(bunch.images[picture]), group=f"picture-{picture}", suffix=".png"))
    return cells


def _drawn(row: ToyRow, trait: str, draw: Callable[[str, random.Random], Image.Image]) -> ToyCell:
    """What a row shows, from one of its traits; a row without it has no picture."""
    traits = dict(row.traits)
    if not traits[trait]:
        return ToyCell("", group="")
    return ToyCell(_encoded(draw(traits[trait], random.Random(traits["seed"]))), group=f"scene-{traits['seed']}", suffix=".png")


def _product(row: ToyRow) -> ToyCell:
    traits = dict(row.traits)
    picture = products.drawn(row.concept, traits["colour"], traits["pattern"], random.Random(traits["seed"]))
    return ToyCell(_encoded(picture), group=f"product-{traits['product']}", suffix=".png")


def _dealt(pictures: list[int], concept: str, rows: Sequence[ToyRow], seed: int) -> dict[str, list[int]]:
    """Shuffle a digit's pictures and deal them to the splits, in proportion to the rows each asks for, one at least."""
    random.Random(f"{seed} {concept}").shuffle(pictures)
    asked = {split: sum(row.concept == concept and row.split == split for row in rows) for split in ("train", "validation", "test")}
    wanted = [split for split, count in asked.items() if count]
    dealt, start = {}, 0
    for left, split in zip(range(len(wanted) - 1, -1, -1), wanted, strict=True):
        share = round(len(pictures) * asked[split] / sum(asked.values()))
        end = len(pictures) if not left else min(max(start + 1, start + share), len(pictures) - left)
        dealt[split] = pictures[start:end]
        start = end
    return dealt


def _png(levels_HW: Any) -> bytes:
    """0..16 as an 8-bit grey PNG."""
    return _encoded(Image.fromarray(np.rint(levels_HW * (255 / 16)).astype(np.uint8)))


def _encoded(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


_DRAWN = {"scenes": ("things", scenes.drawn), "posts": ("things", pictograms.drawn), "cases": ("shadow", scans.drawn)}
