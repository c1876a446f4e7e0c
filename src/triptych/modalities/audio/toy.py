"""A small honest sample without a network: digits spoken by eSpeak NG, no voice on two sides of the split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from triptych.base.errors import unknown_word
from triptych.contract.modality import Split, ToyCell, ToyRow
from triptych.modalities.audio.speech import speak

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SAMPLES = {"digits": DIGITS}

VOICES: dict[Split, tuple[str, ...]] = {
    "train": (
        *("f1", "m1", "f2", "m2", "f4", "m4", "m5", "m7", "Andrea", "Alex", "Annie", "Andy", "belinda", "benjamin"),
        *("steph", "Denis", "zac", "Diogo", "Lee", "Michael", "david", "marcelo", "miguel", "norbert", "quincy", "shelby"),
    ),
    "validation": ("f3", "m3", "robert", "edward", "Hugo", "rob", "linda", "victor"),
    "test": ("f5", "m6", "m8", "aunty", "adam", "Mario", "Henrique", "max"),
}
"""Voices of eSpeak NG that speak plainly (none that whispers, croaks or echoes), each on one side of the split only."""

ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
WORDS_PER_MINUTE = (120, 220)
PITCH = (20, 80)


class Speaker(NamedTuple):
    """Who says a row's word, and how."""

    name: str
    accent: str
    speed: int
    pitch: int


def toy(sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
    """One spoken word a row, WAV 22,050 Hz 16 bit; voice, accent, speed and pitch are drawn by the seed and the row's place.

    Raises:
        InputError: an unknown sample or word, or eSpeak NG is not installed.
    """
    if sample not in SAMPLES:
        raise unknown_word("sample", sample, SAMPLES)
    for row in rows:
        if row.concept not in SAMPLES[sample]:
            raise unknown_word("concept", row.concept, SAMPLES[sample], where=f"sample {sample!r}")
        if row.split not in VOICES:
            raise unknown_word("split", row.split, VOICES, where=f"sample {sample!r}")
    return [_cell(row, drawn(row.split, seed, place)) for place, row in enumerate(rows)]


def drawn(split: Split, seed: int, place: int) -> Speaker:
    """The speaker of one row; the same for the same split, seed and place."""
    draw = random.Random(f"{seed}/{place}/{split}")
    return Speaker(draw.choice(VOICES[split]), draw.choice(ACCENTS), draw.randint(*WORDS_PER_MINUTE), draw.randint(*PITCH))


def _cell(row: ToyRow, speaker: Speaker) -> ToyCell:
    sound = speak(row.concept, f"{speaker.accent}+{speaker.name}", speaker.speed, speaker.pitch)
    return ToyCell(sound, group=f"voice-{speaker.name}", suffix=".wav")
