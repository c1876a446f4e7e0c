"""Made-up cases: a scan, a typed note and a spoken one, each of which tells a sign that the others do not. No illness is like this.

The finding is how many signs there are: a large shadow (scan), fever (note), and that it began a short while ago (voice note). Each is
there or not whatever the others are, so a case can be graded by none of its parts alone. A part that is missing tells no sign.
"""

from __future__ import annotations

import random

from triptych.contract.modality import Split

FINDINGS = ("clear", "mild", "marked", "severe")
"""By how many signs there are, none to three."""
SIDES = ("left", "right")
LACKS = 0.08
"""How often each part is missing from a case; one is always there."""

ONSETS = {True: ("yesterday", "this morning", "two days ago", "last night"), False: ("a year ago", "last winter", "months ago", "long ago")}
"""When it began: a short while ago, or long before."""

# Sides of the split share words and no sentence.
NOTES: dict[Split, dict[bool, tuple[str, ...]]] = {
    "train": {
        True: (
            "patient has fever, coughs a little",
            "high temperature, sleeps badly",
            "fever since the first visit, eats well",
            "came with a temperature of 39",
            "feels hot, 39 degrees in the evening",
            "shivers, fever of 39, otherwise well",
        ),
        False: (
            "patient has no fever, coughs a little",
            "normal temperature, sleeps badly",
            "no fever since the first visit, eats well",
            "came with a temperature of 36",
            "feels well, 36 degrees in the evening",
            "tired, no fever, otherwise well",
        ),
    },
    "validation": {
        True: ("coughs, fever of 39", "eats badly and has fever", "a high temperature in the evening"),
        False: ("coughs, 36 degrees", "eats badly and has no fever", "a normal temperature in the evening"),
    },
    "test": {
        True: ("sleeps well, has fever", "temperature of 39 at the visit", "tired, a high temperature"),
        False: ("sleeps well, has no fever", "temperature of 36 at the visit", "tired, a normal temperature"),
    },
}
SPOKEN: dict[Split, tuple[str, ...]] = {
    "train": ("it began {onset}", "{onset} it began", "the pain came {onset}", "I noticed it {onset}", "{onset} I felt it first"),
    "validation": ("the pain began {onset}", "I felt it {onset}"),
    "test": ("I noticed the pain {onset}", "it came {onset}", "{onset} the pain began"),
}


def case(concept: str, split: Split, draw: random.Random) -> dict[str, str]:
    """One case: what each part holds (empty where it is missing), its `finding` and a `report` of what is known."""
    large, fever, recent = (draw.random() < 0.5 for _ in range(3))
    side = draw.choice(SIDES)
    has_scan, has_note, has_voice = _there(draw)
    note, spoken = draw.randrange(len(NOTES[split][fever])), draw.randrange(len(SPOKEN[split]))
    told = [
        f"a {'large' if large else 'small'} shadow on the {side}" if has_scan else "",
        ("fever" if fever else "no fever") if has_note else "",
        ("recent" if recent else "old") if has_voice else "",
    ]
    return {
        "shadow": f"{'large' if large else 'small'} {side}" if has_scan else "",
        "said": NOTES[split][fever][note] if has_note else "",
        "sentence": f"{split}-{fever}-{note}" if has_note else "",
        "spoken": SPOKEN[split][spoken].format(onset=draw.choice(ONSETS[recent])) if has_voice else "",
        "finding": FINDINGS[(large and has_scan) + (fever and has_note) + (recent and has_voice)],
        "report": ", ".join(filter(None, told)),
        "seed": str(draw.getrandbits(32)),
    }


def _there(draw: random.Random) -> tuple[bool, ...]:
    """Which of the three parts a case has."""
    while not any(there := tuple(draw.random() >= LACKS for _ in range(3))):
        pass
    return there
