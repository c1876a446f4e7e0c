"""How the songs of a sample go, drawn once for all rooms.

Each mood has many causes, and each cause is found in other moods too, only less often: no single one gives it away.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

from triptych.contract.modality import Split

MOODS = ("happy", "sad", "suspense", "epic")
COMPOSERS: dict[Split, range] = {"train": range(26), "validation": range(26, 32), "test": range(32, 44)}
"""Who has instruments, a key and habits of their own, each on one side of the split only."""

Odds = Mapping[str, float]


class Style(NamedTuple):
    """How songs of one mood go: how often each choice is made; the tempo is normal, in beats a minute."""

    tempo: tuple[float, float]
    mode: Odds
    harmony: Odds
    drums: Odds
    touch: Odds
    register: Odds
    layers: Odds
    dynamics: Odds


STYLES = {
    "happy": Style(
        tempo=(130, 20),
        mode={"major": 0.92, "minor": 0.08},
        harmony={"plain": 0.85, "bold": 0.1, "uneasy": 0.05},
        drums={"no": 0.2, "soft": 0.55, "big": 0.25},
        touch={"short": 0.7, "long": 0.3},
        register={"low": 0.05, "middle": 0.45, "high": 0.5},
        layers={"thin": 0.35, "full": 0.45, "thick": 0.2},
        dynamics={"even": 0.85, "rising": 0.15},
    ),
    "sad": Style(
        tempo=(72, 15),
        mode={"major": 0.15, "minor": 0.85},
        harmony={"plain": 0.85, "bold": 0.08, "uneasy": 0.07},
        drums={"no": 0.75, "soft": 0.2, "big": 0.05},
        touch={"short": 0.15, "long": 0.85},
        register={"low": 0.35, "middle": 0.45, "high": 0.2},
        layers={"thin": 0.65, "full": 0.3, "thick": 0.05},
        dynamics={"even": 0.85, "rising": 0.15},
    ),
    "suspense": Style(
        tempo=(94, 24),
        mode={"major": 0.12, "minor": 0.88},
        harmony={"plain": 0.12, "bold": 0.08, "uneasy": 0.8},
        drums={"no": 0.4, "soft": 0.45, "big": 0.15},
        touch={"short": 0.6, "long": 0.4},
        register={"low": 0.55, "middle": 0.25, "high": 0.2},
        layers={"thin": 0.5, "full": 0.4, "thick": 0.1},
        dynamics={"even": 0.45, "rising": 0.55},
    ),
    "epic": Style(
        tempo=(108, 20),
        mode={"major": 0.4, "minor": 0.6},
        harmony={"plain": 0.15, "bold": 0.78, "uneasy": 0.07},
        drums={"no": 0.04, "soft": 0.11, "big": 0.85},
        touch={"short": 0.3, "long": 0.7},
        register={"low": 0.5, "middle": 0.35, "high": 0.15},
        layers={"thin": 0.05, "full": 0.25, "thick": 0.7},
        dynamics={"even": 0.5, "rising": 0.5},
    ),
}


def song(mood: str, split: Split, draw: random.Random) -> dict[str, str]:
    """How one song goes: each choice by the mood's odds; the composer, of the side's own, by none."""
    style = STYLES[mood]
    tempo = min(max(draw.gauss(*style.tempo), 50), 180)
    choices = {name: _one(odds, draw) for name, odds in style._asdict().items() if name != "tempo"}
    return {"tempo": str(round(tempo)), **choices, "composer": str(draw.choice(COMPOSERS[split])), "seed": str(draw.getrandbits(32))}


def _one(odds: Odds, draw: random.Random) -> str:
    return draw.choices(list(odds), list(odds.values()))[0]
