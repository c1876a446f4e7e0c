"""A song of a few seconds from its traits: chords, a bass, a tune and drums, played by instruments made of sine waves.

Who composes decides the instruments, the key and the tuning; mood decides nothing here but what the traits say.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RATE = 16_000
SECONDS = 5.0

Chord = tuple[int, tuple[int, ...]]
MAJOR, MINOR, DIMINISHED, RAISED, STACKED = (0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 8), (0, 1, 6)

# Root above the key's note in semitones, and what is played above it.
PROGRESSIONS: dict[tuple[str, str], tuple[tuple[Chord, ...], ...]] = {
    ("major", "plain"): (
        ((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR)),  # I V vi IV
        ((0, MAJOR), (5, MAJOR), (7, MAJOR), (0, MAJOR)),  # I IV V I
        ((0, MAJOR), (9, MINOR), (5, MAJOR), (7, MAJOR)),  # I vi IV V
    ),
    ("minor", "plain"): (
        ((0, MINOR), (5, MINOR), (7, MINOR), (0, MINOR)),  # i iv v i
        ((0, MINOR), (8, MAJOR), (5, MINOR), (7, MINOR)),  # i VI iv v
        ((0, MINOR), (3, MAJOR), (5, MINOR), (0, MINOR)),  # i III iv i
    ),
    ("major", "bold"): (
        ((0, MAJOR), (10, MAJOR), (5, MAJOR), (0, MAJOR)),  # I bVII IV I
        ((0, MAJOR), (8, MAJOR), (10, MAJOR), (0, MAJOR)),  # I bVI bVII I
    ),
    ("minor", "bold"): (
        ((0, MINOR), (8, MAJOR), (3, MAJOR), (10, MAJOR)),  # i VI III VII
        ((0, MINOR), (10, MAJOR), (8, MAJOR), (10, MAJOR)),  # i VII VI VII
    ),
    ("major", "uneasy"): (
        ((0, MAJOR), (1, MAJOR), (0, RAISED), (6, DIMINISHED)),
        ((0, RAISED), (4, RAISED), (1, MAJOR), (0, RAISED)),
    ),
    ("minor", "uneasy"): (
        ((0, MINOR), (1, MAJOR), (0, MINOR), (6, DIMINISHED)),
        ((0, STACKED), (1, STACKED), (0, DIMINISHED), (6, STACKED)),
        ((0, MINOR), (6, DIMINISHED), (3, DIMINISHED), (1, MAJOR)),
    ),
}
SCALES = {
    ("major", "plain"): (0, 2, 4, 5, 7, 9, 11),
    ("major", "bold"): (0, 2, 4, 5, 7, 9, 10),
    ("minor", "plain"): (0, 2, 3, 5, 7, 8, 10),
    ("minor", "bold"): (0, 2, 3, 5, 7, 8, 10),
    ("major", "uneasy"): (0, 1, 4, 6, 8, 10),
    ("minor", "uneasy"): (0, 1, 3, 4, 6, 7, 9, 10),
}
REGISTERS = {"low": -12, "middle": 0, "high": 12}


@dataclass(frozen=True)
class Instrument:
    """Strengths of its overtones, how soon it starts and fades, how much it trembles."""

    overtones: tuple[float, ...]
    attack: float
    decay: float
    vibrato: float


@dataclass(frozen=True)
class Composer:
    """Habits that are the same in every song of one person."""

    tune: Instrument
    chords: Instrument
    bass: Instrument
    key: int
    cents: float
    snare: float
    level: tuple[float, float, float, float]


def composer(number: str) -> Composer:
    """Drawn by the number alone."""
    draw = random.Random(f"composer-{number}")
    tune, chords, bass = (_instrument(draw) for _ in range(3))
    level = (draw.uniform(0.5, 1.0), draw.uniform(0.3, 0.6), draw.uniform(0.4, 0.8), draw.uniform(0.4, 0.9))
    return Composer(tune, chords, bass, draw.randint(-5, 6), draw.uniform(-30, 30), draw.uniform(800, 3_500), level)


def _instrument(draw: random.Random) -> Instrument:
    """From a flute's few overtones to a reed's many; some without the even ones, as a clarinet."""
    fall, hollow = draw.uniform(0.7, 2.2), draw.choice((1.0, 1.0, 0.15))
    overtones = tuple((hollow if number % 2 == 0 else 1.0) * draw.uniform(0.5, 1.5) / number**fall for number in range(1, 9))
    return Instrument(overtones, draw.uniform(0.005, 0.06), draw.uniform(0.4, 3.0), draw.uniform(0, 0.004))


def composed(traits: Mapping[str, str]) -> np.ndarray:
    """Samples (N,) at 16 kHz between -1 and 1; the same traits always give the same song."""
    draw, person = random.Random(traits["seed"]), composer(traits["composer"])
    out_N, beat = np.zeros(round(RATE * SECONDS)), 60 / float(traits["tempo"])
    root = 60 + person.key + REGISTERS[traits["register"]] + person.cents / 100
    path = draw.choice(PROGRESSIONS[traits["mode"], traits["harmony"]])
    start = draw.uniform(0, beat)
    for number in range(int(SECONDS / (2 * beat)) + 1):
        _bar(out_N, start + (number - 1) * 2 * beat, beat, root, path[number % len(path)], traits, person, draw)
    _drums(out_N, start - 2 * beat, beat, traits["drums"], person, draw)
    if traits["dynamics"] == "rising":
        out_N *= np.linspace(0.25, 1, len(out_N))
    out_N += draw.uniform(0.0005, 0.004) * _noise(draw, len(out_N)) * np.abs(out_N).max()
    return np.asarray(out_N / np.abs(out_N).max() * draw.uniform(0.3, 0.95), np.float32)  # how loud it is says nothing


def _bar(
    out_N: np.ndarray,
    start: float,
    beat: float,
    root: float,
    chord: Chord,
    traits: Mapping[str, str],
    person: Composer,
    draw: random.Random,
) -> None:
    """Two beats: a chord, its bass, and a tune over it."""
    above, notes = chord
    short, thick = traits["touch"] == "short", traits["layers"] == "thick"
    _, chords, bass, _ = person.level
    if traits["layers"] != "thin":
        for hit in range(2 if short else 1):
            for note in notes:
                length = 0.4 * beat if short else 2 * beat
                _play(out_N, start + hit * beat, length, root - 12 + above + note, chords, person.chords)
                if thick:
                    _play(out_N, start + hit * beat, length, root + above + note, 0.7 * chords, person.chords)
    _play(out_N, start, 0.8 * beat if short else 2 * beat, root - 24 + above, bass, person.bass)
    if thick:
        _play(out_N, start, 2 * beat, root - 36 + above, bass, person.bass)
    _tune(out_N, start, beat, root, above, traits, person, draw)


def _tune(
    out_N: np.ndarray, start: float, beat: float, root: float, above: int, traits: Mapping[str, str], person: Composer, draw: random.Random
) -> None:
    """Steps of the scale near the chord's root, in halves or wholes of a beat; in octaves where it is thick."""
    scale = SCALES[traits["mode"], traits["harmony"]]
    step = draw.choice((0.5, 1.0)) if traits["touch"] == "short" else draw.choice((1.0, 2.0))
    degree = min(range(len(scale)), key=lambda n: abs(scale[n] - above))
    for number in range(int(2 / step)):
        octave, place = divmod(degree + draw.choice((-2, -1, 0, 1, 2)), len(scale))
        note, length = root + scale[place] + 12 * octave, step * beat * (0.45 if traits["touch"] == "short" else 1.0)
        _play(out_N, start + number * step * beat, length, note, person.level[0], person.tune)
        if traits["layers"] == "thick":
            _play(out_N, start + number * step * beat, length, note + 12, 0.5 * person.level[0], person.tune)


def _play(out_N: np.ndarray, start: float, length: float, note: float, level: float, instrument: Instrument) -> None:
    """Add one note, MIDI number 69 being 440 Hz; what lies before the start or behind the end of the song is left out."""
    first, count = round(start * RATE), round((length + 0.08) * RATE)
    time_N = np.arange(count, dtype=np.float32) / np.float32(RATE)
    pitch = 440 * 2 ** ((note - 69) / 12)
    trembling_N = time_N + np.float32(instrument.vibrato / 30) * np.sin(np.float32(2 * np.pi * 5) * time_N)
    phase_N = np.float32(2 * np.pi * pitch) * trembling_N
    made_N = np.zeros(count, np.float32)
    for number, strength in enumerate(instrument.overtones, start=1):
        if number * pitch < 0.45 * RATE:
            made_N += np.float32(strength) * np.sin(np.float32(number) * phase_N)
    made_N *= np.minimum(1, time_N / np.float32(instrument.attack)) * np.exp(-time_N / np.float32(instrument.decay))
    made_N *= np.clip((length + 0.08 - time_N) / 0.08, 0, 1)
    _add(out_N, first, level * made_N)


def _add(out_N: np.ndarray, first: int, made_N: np.ndarray) -> None:
    made_N = made_N[max(0, -first) : max(0, len(out_N) - first)]
    out_N[max(0, first) : max(0, first) + len(made_N)] += made_N


def _drums(out_N: np.ndarray, start: float, beat: float, kind: str, person: Composer, draw: random.Random) -> None:
    """Soft: a brush on every beat; big: a kick and a snare in turn, and rolls between."""
    if kind == "no":
        return
    level = person.level[3] * (0.4 if kind == "soft" else 1.6)
    for number in range(int(SECONDS / beat) + 4):
        at = round((start + number * beat) * RATE)
        _add(out_N, at, level * (_kick() if kind == "big" and number % 2 == 0 else _snare(person.snare, draw)))
        if kind == "big" and draw.random() < 0.4:
            _add(out_N, at + round(0.5 * beat * RATE), 0.7 * level * _kick())


def _kick() -> np.ndarray:
    time_N = np.arange(round(0.25 * RATE)) / RATE
    return np.asarray(2 * np.sin(2 * np.pi * (50 * time_N + 4 * (1 - np.exp(-time_N / 0.03)))) * np.exp(-time_N / 0.08))


def _snare(centre: float, draw: random.Random) -> np.ndarray:
    """Noise about a frequency."""
    time_N = np.arange(round(0.15 * RATE)) / RATE
    return np.asarray(_noise(draw, len(time_N)) * np.sin(2 * np.pi * centre * time_N) * np.exp(-time_N / 0.04))


def _noise(draw: random.Random, count: int) -> np.ndarray:
    return np.random.default_rng(draw.getrandbits(32)).standard_normal(count)
