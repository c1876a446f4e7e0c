"""What people ask a house for, drawn once for all rooms: few words in many orders, so that a transcription can be learnt in minutes."""

from __future__ import annotations

import random
from hashlib import sha256

from triptych.contract.modality import Split

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = ("kitchen", "bedroom", "garden", "office", "hall")
THINGS = ("light", "heater", "fan", "door", "window", "radio")
DEEDS = ("open", "close", "start", "stop")
PATTERNS = (
    "{deed} the {place} {thing}",
    "set the {thing} to {number} {number}",
    "call {number} {number} {number} {number}",
    "wait {number} minutes and {deed} the {thing}",
    "is the {place} {thing} on",
)
CHOICES = {"number": NUMBERS, "place": PLACES, "thing": THINGS, "deed": DEEDS}
SIDES: dict[Split, range] = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}


def command(concept: str, split: Split, draw: random.Random) -> dict[str, str]:
    """One sentence: sides share words and no sentence."""
    while True:
        words = [draw.choice(CHOICES[part.strip("{}")]) if part.startswith("{") else part for part in draw.choice(PATTERNS).split()]
        said = " ".join(words)
        if sha256(said.encode()).digest()[0] % 10 in SIDES[split]:
            return {"words": said}
