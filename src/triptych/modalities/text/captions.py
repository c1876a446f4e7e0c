"""Sample "songs": captions that say some of what is heard, in wordings that no two splits share."""

from __future__ import annotations

import random
from collections.abc import Mapping

from triptych.contract.modality import Split, ToyRow

MOODS = {
    "happy": ("happy", "happy", "happy", "cheerful", "merry", "joyful"),
    "sad": ("sad", "sad", "sad", "mournful", "gloomy", "sorrowful"),
    "suspense": ("suspense", "suspense", "suspense", "tense", "eerie", "uneasy"),
    "epic": ("epic", "epic", "epic", "heroic", "mighty", "grand"),
}
"""The mood's own name in half of the captions, so that it can be asked for by name."""
TEMPI = ((70, "very slow"), (90, "slow"), (112, "medium"), (135, "fast"), (1_000, "very fast"))
"""Up to so many beats a minute."""
DRUMS = {"no": "without drums", "soft": "with soft drums", "big": "with big drums"}
TOUCHES = {"short": "short notes", "long": "long notes"}
LAYERS = {"thin": "few instruments", "full": "some instruments", "thick": "many instruments"}

TEMPLATES: dict[Split, tuple[str, ...]] = {
    "train": (
        "a {tempo} {mood} tune in a {mode} key {drums}",
        "{mood} music, {tempo}, {mode} key, {drums}",
        "this is {mood} music {drums} in a {mode} key",
        "a {mood} song, {tempo} and {drums}",
        "{tempo} {mood} music with {touch}",
        "a {mood} piece {drums}: {touch}, {layers}, {register} register",
        "{mood} music in a {mode} key, played by {layers}",
        "a {tempo} song in a {mode} key {drums}, it is {mood}",
        "{layers} play {mood} music {drums}",
        "{touch} in a {register} register, {tempo}, {mode} key: {mood} music",
    ),
    "validation": ("a {mood} track: {tempo}, {drums}, {mode} key", "the band plays something {mood} in a {mode} key, {tempo}, {drums}"),
    "test": (
        "one hears a {tempo}, {mood} melody in a {mode} key {drums}",
        "{mood} soundtrack, {mode} key, {tempo}, {drums}",
        "some {tempo} {mood} background music, {mode} key, {drums}",
    ),
}


def caption(row: ToyRow, draw: random.Random) -> tuple[str, int]:
    """What is written about one song, and the number of its template among all splits'."""
    traits = dict(row.traits)
    template = draw.choice(TEMPLATES[row.split])
    text = template.format(
        mood=draw.choice(MOODS[row.concept]),
        tempo=tempo(traits),
        mode=traits["mode"],
        drums=DRUMS[traits["drums"]],
        touch=TOUCHES[traits["touch"]],
        layers=LAYERS[traits["layers"]],
        register=traits["register"],
    )
    return text, [one for split in TEMPLATES.values() for one in split].index(template)


def tempo(traits: Mapping[str, str]) -> str:
    """In words."""
    return next(word for most, word in TEMPI if float(traits["tempo"]) <= most)
