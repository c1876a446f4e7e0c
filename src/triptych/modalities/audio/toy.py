"""Small honest samples without a network: digits, messages, commands and questions spoken by eSpeak NG, songs made of sine waves.

No voice and no composer is on two sides of the split.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from triptych.base.errors import unknown_word
from triptych.contract.modality import Split, ToyCell, ToyRow
from triptych.modalities.audio.speech import RATE, said, speak

if TYPE_CHECKING:
    import numpy as np

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MOODS = ("happy", "sad", "suspense", "epic")
FEELINGS = ("angry", "worried", "content")
ABOUT = ("colour", "shape", "count", "side", "presence")
COMMANDS = ("command",)
CASES = ("case",)
PRODUCTS = ("mug", "bowl", "lamp", "chair", "bag", "shirt", "boot", "hat", "clock", "vase")
SAMPLES = {
    "digits": DIGITS,
    "songs": MOODS,
    "messages": FEELINGS,
    "commands": COMMANDS,
    "scenes": ABOUT,
    "cases": CASES,
    "products": PRODUCTS,
}

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

TONES = {
    "angry": ((1.1, 1.4), (8, 30), (0.6, 1.0)),
    "worried": ((0.7, 0.95), (0, 20), (0.06, 0.25)),
    "content": ((0.85, 1.1), (-25, -2), (0.25, 0.6)),
    "flat": ((0.8, 1.3), (-15, 20), (0.06, 1.0)),
}
"""What a tone of voice does to a speaker's own speed (times) and pitch (added), and how loud its peak is; `flat` overlaps all."""


class Speaker(NamedTuple):
    """Who says a row's word, and how."""

    name: str
    accent: str
    speed: int
    pitch: int


def toy(sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
    """One recording a row, 16 bit: a spoken word (WAV), command, message, wish or the like (FLAC) at 22,050 Hz, a song (FLAC) at 16,000.

    A question about a scene that is only typed has none, nor has a case without a voice note.

    Voice, accent, speed and pitch are drawn by the seed and the row's place; what a song is like stands in the row's traits.

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
    if sample == "songs":
        return [_song(row) for row in rows]
    if sample == "messages":
        return [_message(row, place, seed) for place, row in enumerate(rows)]
    if sample == "commands":
        return [_command(row, drawn(row.split, seed, place)) for place, row in enumerate(rows)]
    if sample == "products":
        return [_command(row, drawn(row.split, seed, place), "wish") for place, row in enumerate(rows)]
    if sample == "scenes":
        return [_question(row, drawn(row.split, seed, place)) for place, row in enumerate(rows)]
    if sample == "cases":
        return [_question(row, drawn(row.split, seed, place), "spoken") for place, row in enumerate(rows)]
    return [_cell(row, drawn(row.split, seed, place)) for place, row in enumerate(rows)]


def drawn(split: Split, seed: int, place: int) -> Speaker:
    """The speaker of one row; the same for the same split, seed and place."""
    draw = random.Random(f"{seed}/{place}/{split}")
    return Speaker(draw.choice(VOICES[split]), draw.choice(ACCENTS), draw.randint(*WORDS_PER_MINUTE), draw.randint(*PITCH))


def _cell(row: ToyRow, speaker: Speaker) -> ToyCell:
    sound = speak(row.concept, f"{speaker.accent}+{speaker.name}", speaker.speed, speaker.pitch)
    return ToyCell(sound, group=f"voice-{speaker.name}", suffix=".wav")


def _command(row: ToyRow, speaker: Speaker, words: str = "words") -> ToyCell:
    """The row's words, as one says them to a device: at one pace; the trait that they stand in is called `words`."""
    sound = said(dict(row.traits)[words], f"{speaker.accent}+{speaker.name}", speaker.speed, speaker.pitch)
    return ToyCell(_loud(sound, 0.8), group=f"voice-{speaker.name}", suffix=".flac")


def _song(row: ToyRow) -> ToyCell:
    from triptych.modalities.audio import compose

    traits = dict(row.traits)
    return ToyCell(_flac(compose.composed(traits), compose.RATE), group=f"composer-{traits['composer']}", suffix=".flac")


def _message(row: ToyRow, place: int, seed: int) -> ToyCell:
    """The words of the row's text, said in the row's tone by a speaker drawn for it; anger is faster, higher and louder."""
    speaker, draw = drawn(row.split, seed, place), random.Random(dict(row.traits)["seed"])
    speed, pitch, peak = (draw.uniform(*span) for span in TONES[dict(row.traits)["tone"]])
    words_a_minute = round(min(max(0.85 * speaker.speed * speed, 80), 240))  # what a person can say
    height = round(min(max(0.5 * speaker.pitch + 25 + pitch, 0), 99))
    sound = said(dict(row.traits)["said"], f"{speaker.accent}+{speaker.name}", words_a_minute, height)
    return ToyCell(_loud(sound, peak), group=f"voice-{speaker.name}", suffix=".flac")


def _question(row: ToyRow, speaker: Speaker, trait: str = "said") -> ToyCell:
    """The words of one of the row's traits; a row without them has no recording."""
    words = dict(row.traits)[trait]
    if not words:
        return ToyCell("", group="")
    sound = said(words, f"{speaker.accent}+{speaker.name}", speaker.speed, speaker.pitch)
    return ToyCell(_loud(sound, 0.8), group=f"voice-{speaker.name}", suffix=".flac")


def _loud(samples: bytes, peak: float) -> bytes:
    """A FLAC file of bare samples whose loudest is `peak` of full scale."""
    import numpy as np

    samples_N = np.frombuffer(samples, np.int16).astype(np.float32)
    return _flac(peak / max(float(np.abs(samples_N).max()), 1.0) * samples_N, RATE)


def _flac(samples_N: np.ndarray, rate: int) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, samples_N, rate, format="FLAC", subtype="PCM_16")
    return out.getvalue()
