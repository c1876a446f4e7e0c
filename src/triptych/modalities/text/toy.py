"""Texts of samples. "digits": captions that name one digit, as a word or a numeral, in wordings that no two splits share.

What is written about songs is in `captions.py`, what customers say comes with their rows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

from triptych.base.errors import unknown_word
from triptych.contract.modality import Split, ToyCell, ToyRow
from triptych.modalities.text.captions import caption

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLES = ("digits", "songs", "messages", "products", "scenes", "posts", "cases")

# No template may hold another digit, nor a word that sounds or looks like it (for, to, won, ate, alone, height, canine).
TEMPLATES: dict[Split, tuple[str, ...]] = {
    "train": (
        # the digit first
        "{digit} written by hand",
        "{digit} in blue ink",
        "{digit}, drawn with a thick marker",
        "{digit} is the digit here",
        "{digit} painted on a white wall",
        "{digit} in my messy handwriting",
        "{digit} scratched in wet sand",
        "{digit} as a small grey picture",
        # in the middle
        "a handwritten {digit} on paper",
        "the digit {digit} in black ink",
        "a picture of {digit} from a school book",
        "you can see {digit} in this picture",
        "my brother drew {digit} with a pencil",
        "a blurry {digit} in a grey box",
        "here is {digit} as a child writes it",
        "the number {digit} on a white card",
        "an old stamp with {digit} printed on it",
        "they painted {digit} across the door",
        # at the end
        "a drawing of the digit {digit}",
        "this is the number {digit}",
        "the picture shows {digit}",
        "a person wrote {digit}",
        "in the centre there is a {digit}",
        "black ink, white paper, the digit {digit}",
        "a small photo of {digit}",
        "my sister likes the number {digit}",
    ),
    "validation": (
        "{digit} sketched with charcoal",
        "a quickly jotted {digit} beside the margin",
        "the teacher chalked {digit} up there",
        "what the label reads: {digit}",
    ),
    "test": (
        "{digit} carved deep inside a tree trunk",
        "{digit}, embroidered using red thread",
        "a scribbled {digit} on a napkin",
        "we found {digit} sprayed under the bridge",
        "the runner wears jersey {digit}",
        "an icy window traced by fingertip: {digit}",
    ),
}


def toy(sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
    """One caption a row; the same rows and seed give the same captions.

    Each digit goes through a shuffled deck of places (start, middle, end) and forms (word, numeral), so that six rows
    of a digit and a split hold all six, and each two in a row hold both forms.

    Raises:
        InputError: an unknown sample, or a concept that is not a digit's name.
    """
    if sample not in SAMPLES:
        raise unknown_word("sample", sample, SAMPLES)
    rng = random.Random(seed)
    if sample in _WRITERS:
        return [_WRITERS[sample](row, rng) for row in rows]
    decks: dict[ToyRow, _Deck] = {}
    for row in rows:
        if row.concept not in DIGITS:
            raise unknown_word("concept", row.concept, DIGITS, where=f"sample {sample!r}")
        if row not in decks:
            words_first = sum(known.split == row.split for known in decks) % 2 == 0
            decks[row] = _Deck(row, words_first, rng)
    return [decks[row].draw() for row in rows]


class _Deck:
    """The captions of one digit in one split, in the order they are dealt; dealt again from the top when all are out."""

    def __init__(self, row: ToyRow, words_first: bool, rng: random.Random) -> None:
        forms = (row.concept, str(DIGITS.index(row.concept)))
        self._cards = _dealt(row.split, forms if words_first else forms[::-1], rng)
        self._next = 0

    def draw(self) -> ToyCell:
        """The next caption."""
        number, form = self._cards[self._next % len(self._cards)]
        self._next += 1
        return ToyCell(all_templates()[number].format(digit=form), group=f"template-{number}")


def _dealt(split: Split, forms: tuple[str, str], rng: random.Random) -> list[tuple[int, str]]:
    """Every (template, form) of a split once, forms taking turns and places going round."""
    piles: dict[tuple[str, str], list[int]] = {(place, form): [] for place, form in product(("start", "middle", "end"), forms)}
    for number, template in enumerate(all_templates()):
        if template in TEMPLATES[split]:
            for form in forms:
                piles[place_of(template), form].append(number)
    for pile in piles.values():
        rng.shuffle(pile)
    places = rng.sample(("start", "middle", "end"), 3)
    # Three places and two forms have no common factor: going round both at once meets all six in six steps.
    turns = [(places[n % 3], forms[n % 2]) for n in range(6 * max(len(pile) for pile in piles.values()))]
    return [(piles[turn].pop(), turn[1]) for turn in turns if piles[turn]]


def place_of(template: str) -> str:
    """Where the digit stands: `start`, `middle` or `end`."""
    return "start" if template.startswith("{digit}") else "end" if template.endswith("{digit}") else "middle"


def all_templates() -> list[str]:
    """The templates of all splits; a template's number in this list names its group."""
    return [template for split in TEMPLATES.values() for template in split]


def _captioned(row: ToyRow, rng: random.Random) -> ToyCell:
    text, number = caption(row, rng)
    return ToyCell(text, group=f"caption-{number}")


def _written(row: ToyRow, rng: random.Random) -> ToyCell:
    traits = dict(row.traits)
    return ToyCell(traits["said"], group=f"sentence-{traits['sentence']}" if traits["said"] else "")


def _told(row: ToyRow, rng: random.Random) -> ToyCell:
    traits = dict(row.traits)
    return ToyCell(traits["caption"], group=f"scene-{traits['seed']}")


def _described(row: ToyRow, rng: random.Random) -> ToyCell:
    traits = dict(row.traits)
    return ToyCell(traits["text"], group=f"product-{traits['product']}")


_WRITERS = {
    "songs": _captioned,
    "messages": _written,
    "scenes": _told,
    "products": _described,
    "posts": _written,
    "cases": _written,
}
