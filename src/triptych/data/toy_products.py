"""Made-up products of a shop, drawn once for all rooms: what a picture shows, a description says and a customer asks for aloud.

A product is a kind of thing in a colour and a pattern. Those of one side of the split are on no other: what is found there was never
seen, described or asked for in training, only its kind, its colour and its pattern were, each in other products.
"""

from __future__ import annotations

import random
import zlib

from triptych.contract.modality import Split

KINDS = ("mug", "bowl", "lamp", "chair", "bag", "shirt", "boot", "hat", "clock", "vase")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
PATTERNS = ("plain", "striped", "dotted", "checked")
DEAREST = 120
"""Whole coins."""
SHORT = 0.15
"""How often a description in training names only one of the three: people search so, `in red`."""

TEXTS = (
    "{colour} {pattern} {kind}",
    "a {pattern} {kind} in {colour}",
    "{kind}, {colour} and {pattern}",
    "this {kind} is {colour} and {pattern}",
    "our new {pattern} {colour} {kind}, made by hand",
    "{kind} in {colour}, {pattern}, sent in two days",
)
SHORTS = ("in {colour}", "{colour}", "a {kind}", "{kind}", "{pattern}", "something {pattern}")
WISHES = (
    "a {colour} {pattern} {kind}",
    "a {pattern} {kind} in {colour}",
    "I want a {colour} {pattern} {kind}",
    "show me a {pattern} {colour} {kind}",
)


def product(kind: str, split: Split, draw: random.Random) -> dict[str, str]:
    """One thing to buy, with the words about it and those that ask for it."""
    colour, pattern = draw.choice(COLOURS), draw.choice(PATTERNS)
    while side_of(kind, colour, pattern) != split:
        colour, pattern = draw.choice(COLOURS), draw.choice(PATTERNS)
    short = split == "train" and draw.random() < SHORT
    words = {"kind": kind, "colour": colour, "pattern": pattern}
    return {
        **words,
        "product": f"{colour} {pattern} {kind}",
        "seed": str(draw.getrandbits(32)),
        "price": str(draw.randint(3, DEAREST)),
        "text": draw.choice(SHORTS if short else TEXTS).format(**words),
        "wish": draw.choice(WISHES).format(**words),
    }


def side_of(kind: str, colour: str, pattern: str) -> Split:
    """The side that a product belongs to: six eighths to train, an eighth each to validate and to test."""
    lot = zlib.crc32(f"{kind} of {colour}, {pattern}".encode()) % 8
    return "validation" if lot == 0 else "test" if lot == 1 else "train"
