"""What stands in the scenes of a sample, what is said of them and asked about them, drawn once for all rooms.

Each kind of question has all its answers about equally often, whatever its words are: who does not look at the scene is right by chance
only. Where things of which size stand in a scene of one side of the split, they stand in none of another's, whatever their colour:
in grey they would be the same picture.
"""

from __future__ import annotations

import random
import zlib
from typing import NamedTuple

from triptych.contract.modality import Split

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle", "star")
SIZES = ("small", "large")
COUNTS = ("no", "a", "two", "three")
NUMBERS = ("none", "one", "two", "three")
SIDES = ("left of", "right of", "above", "below")
PLACES = tuple(f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right"))
"""The nine places of a scene, row by row."""
ABOUT = ("colour", "shape", "count", "side", "presence")
"""What is asked about."""
TYPED, SPOKEN = 0.45, 0.45
"""How often a question is only typed, and only spoken; else it is both."""


class Group(NamedTuple):
    """Things that are alike, each at a place of its own (0 to 8)."""

    size: str
    colour: str
    shape: str
    places: tuple[int, ...]

    def said(self) -> str:
        """`a large red circle`, `two large red circles`."""
        many = len(self.places)
        return f"{COUNTS[many]} {self.size} {self.colour} {self.shape}{'s' if many > 1 else ''}"

    def written(self) -> str:
        """As a trait: `large red circle 0 4`."""
        return " ".join([self.size, self.colour, self.shape, *map(str, self.places)])


def scene(about: str, split: Split, draw: random.Random) -> dict[str, str]:
    """One scene with a sentence about it, and a question of one kind with its answer."""
    groups, question, answer = _ASKED[about](draw)
    while _side_of(groups) != split:
        groups, question, answer = _ASKED[about](draw)
    luck = draw.random()
    spoken, typed = luck >= TYPED, luck < TYPED or luck >= TYPED + SPOKEN
    return {
        "things": ", ".join(group.written() for group in groups),
        "seed": str(draw.getrandbits(32)),
        "caption": caption(groups),
        "question": question if typed else "",
        "said": question if spoken else "",
        "answer": answer,
    }


def _side_of(groups: tuple[Group, ...]) -> Split:
    """The side that an arrangement belongs to: three quarters to train, an eighth each to validate and to test."""
    looks = sorted(f"{group.size} {place}" for group in groups for place in group.places)
    lot = zlib.crc32(" ".join(looks).encode()) % 8
    return "validation" if lot == 0 else "test" if lot == 1 else "train"


def caption(groups: tuple[Group, ...]) -> str:
    """The one sentence that is right: how many, how large, which colour and shape, and where where that is short to say."""
    if len(groups) == 1:
        alone = len(groups[0].places) == 1
        return groups[0].said() + (f" at the {PLACES[groups[0].places[0]]}" if alone else "")
    # The more come first, then the larger, then who stands further up or left.
    first, second = sorted(groups, key=lambda group: (-len(group.places), group.size != "large", group.places))
    if len(first.places) == len(second.places) == 1:
        return f"{first.said()} {_stands(first.places[0], second.places[0])} {second.said()}"
    return f"{first.said()} and {second.said()}"


def _stands(one: int, other: int) -> str:
    """How one place lies to another: in another row above or below, in the same row left or right."""
    if one // 3 != other // 3:
        return "above" if one < other else "below"
    return "left of" if one < other else "right of"


def _groups(draw: random.Random, first: int, second: int, shapes: tuple[str, str] | None = None) -> tuple[Group, ...]:
    """So many things of one kind and so many of another, which differ in colour and in shape."""
    colours, kinds = draw.sample(COLOURS, 2), shapes or draw.sample(SHAPES, 2)
    places = draw.sample(range(9), first + second)
    cut = (places[:first], places[first:])
    made = (Group(draw.choice(SIZES), c, s, tuple(sorted(p))) for c, s, p in zip(colours, kinds, cut, strict=True))
    return tuple(group for group in made if group.places)


def _many(draw: random.Random) -> tuple[Group, ...]:
    return _groups(draw, draw.choice((1, 1, 2, 3)), draw.choice((0, 1, 1, 2)))


Asked = tuple[tuple[Group, ...], str, str]


def _colour(draw: random.Random) -> Asked:
    groups = _many(draw)
    one = draw.choice(groups)
    verb, plural = ("are", "s") if len(one.places) > 1 else ("is", "")
    return groups, f"what colour {verb} the {one.shape}{plural}", one.colour


def _shape(draw: random.Random) -> Asked:
    groups = _many(draw)
    one = draw.choice(groups)
    return groups, f"what shape is {one.colour}", one.shape


def _count(draw: random.Random) -> Asked:
    number, (wanted, *others) = draw.randrange(4), draw.sample(SHAPES, 3)
    groups = _groups(draw, number, draw.choice((0, 1, 2) if number else (1, 2, 3)), (wanted, others[0]))
    return groups, f"how many {wanted}s are there", NUMBERS[number]


def _side(draw: random.Random) -> Asked:
    yes, side = draw.random() < 0.5, draw.choice(SIDES)
    while True:
        groups = _groups(draw, 1, 1)
        (one,), (other,) = (group.places for group in groups)
        step = one % 3 - other % 3 if side in SIDES[:2] else one // 3 - other // 3
        if step and yes == ((step < 0) == (side in ("left of", "above"))):
            return groups, f"is the {groups[0].shape} {side} the {groups[1].shape}", "yes" if yes else "no"


def _presence(draw: random.Random) -> Asked:
    """Where the answer is no, both words may well be true of something, only not of the same thing."""
    groups = _many(draw)
    one, last = draw.choice(groups), groups[-1]
    colour, shape, yes = one.colour, one.shape, draw.random() < 0.5
    if not yes and len(groups) > 1 and draw.random() < 0.5:
        colour, shape = groups[0].colour, last.shape
    elif not yes and draw.random() < 0.5:
        colour = draw.choice([c for c in COLOURS if c != colour])
    elif not yes:
        shape = draw.choice([s for s in SHAPES if s != shape])
    return groups, f"is there a {colour} {shape}", "yes" if yes else "no"


_ASKED = {"colour": _colour, "shape": _shape, "count": _count, "side": _side, "presence": _presence}
