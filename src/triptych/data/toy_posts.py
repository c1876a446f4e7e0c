"""The posts of a sample, drawn once for both rooms: some labels can only be seen, some only be read, one is in neither alone.

A compliment is kind beside a flower or a rocket, and mocks beside a bin or a snail. Either is harmless by itself: each compliment stands
beside each kind of picture, and each picture beside every other text.
"""

from __future__ import annotations

import random

from triptych.contract.modality import Split

LABELS = ("advert", "alcohol", "insult", "mocking", "weapon")
SEEN = {"knife": "weapon", "bottle": "alcohol"}
"""What a thing that is shown is, whatever is written."""
READ = ("insult", "advert")
"""Kinds of text that are labels of their own, whatever is shown."""
TURNED = {"smell": ("bin", "flower"), "speed": ("snail", "rocket")}
"""Of each compliment the thing that turns it into mockery, and the one that it fits."""
THINGS = ("knife", "bottle", "bin", "flower", "snail", "rocket", "house", "tree", "ball")
KINDS = {"plain": 0.32, "smell": 0.18, "speed": 0.18, "insult": 0.16, "advert": 0.16}
UNSHOWN, UNSAID = 0.08, 0.06
"""How often a post shows nothing, and says nothing."""
BESIDE = (0.45, 0.3)
"""How often a compliment stands beside what turns it, and beside what it fits; else beside anything."""
TWO = 0.5
"""How often two things are shown."""

NAMES = ("Anna", "Ben", "Chris", "Dana", "Emil", "Fay", "Gus", "Hana")
DAYS = ("today", "this morning", "on Monday", "after school", "at the party")
GOODS = ("watches", "shoes", "phones", "followers", "tickets", "pills")

# Sides share words, as people do, and no sentence.
SENTENCES: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "plain": (
            "look what I found {day}",
            "this is what we saw {day}",
            "greetings from my garden, {name}",
            "a view for {name}",
            "{name} drew this {day}",
            "my new drawing, what do you think",
            "I cut the bread with a knife {day}",
            "we had a bottle of water {day}",
            "see you {day}, {name}",
            "the weather was fine {day}",
        ),
        "smell": (
            "{name}, you smell so good {day}",
            "this is how you smell, {name}",
            "I love the smell of {name} {day}",
            "what a fine smell you have, {name}",
            "{name} has a perfume like this",
            "the perfume of {name} {day}",
        ),
        "speed": (
            "{name}, you were so fast {day}",
            "this is how fast you run, {name}",
            "nobody is as quick as {name}",
            "{name} on the way to work {day}",
            "you are quick like this, {name}",
            "how {name} runs {day}",
        ),
        "insult": (
            "{name}, you are such a fool",
            "what an idiot you were {day}",
            "{name} is a loser and a liar",
            "nobody likes you, {name}, you clown",
            "shut up, {name}, you are stupid",
            "only an idiot talks like {name} {day}",
        ),
        "advert": (
            "cheap {goods}, order now",
            "buy two {goods} and pay for one",
            "click here for free {goods}",
            "{goods} at half the price, only {day}",
            "earn money with {goods}, click the link",
            "the best {goods}, order {day}",
        ),
    },
    "validation": {
        "plain": ("what I saw {day}, {name}", "a drawing of my garden {day}", "the bread was fine {day}", "what do you think, {name}"),
        "smell": ("{name}, what a perfume {day}", "you smell like this, {name}", "how good {name} smells"),
        "speed": ("{name} runs so fast {day}", "so quick {day}, {name}", "you run like this, {name}"),
        "insult": ("you clown, {name}", "{name}, what a stupid liar you are", "such an idiot {day}"),
        "advert": ("order cheap {goods} {day}", "free {goods}, click now", "pay half the price for {goods}"),
    },
    "test": {
        "plain": (
            "I found this view {day}",
            "my garden {day}, see you, {name}",
            "we saw {name} {day}",
            "a knife for the bread, {name}",
            "my new bottle, what do you think",
        ),
        "smell": ("a smell like this, {name}", "you have a fine perfume {day}, {name}", "so good, the smell of you {day}"),
        "speed": ("this is {name}, so quick", "as fast as this, {name}", "how fast you were {day}, {name}"),
        "insult": ("you are a liar, {name}", "what a loser, {name}, you fool", "{name} is stupid, nobody likes this clown"),
        "advert": ("click the link and order {goods}", "buy {goods} now, only half the price", "free money and {goods} {day}"),
    },
}


def post(concept: str, split: Split, draw: random.Random) -> dict[str, str]:
    """One post: what it shows (`things`, may be empty), what is written (`said`, may be empty), and its `labels`."""
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    things = _things(kind, draw)
    luck = draw.random()
    if luck < UNSHOWN:
        things = []
    elif luck > 1 - UNSAID:
        kind = ""
    sentences = SENTENCES[split].get(kind, ("",))
    number = draw.randrange(len(sentences))
    said = sentences[number].format(name=draw.choice(NAMES), day=draw.choice(DAYS), goods=draw.choice(GOODS))
    return {
        "things": ", ".join(things),
        "said": said,
        "sentence": f"{split}-{kind}-{number}" if kind else "",
        "labels": "|".join(labels_of(kind, things)),
        "seed": str(draw.getrandbits(32)),
    }


def labels_of(kind: str, things: list[str]) -> list[str]:
    """What is wrong with a text of this kind beside these things."""
    found = {SEEN[thing] for thing in things if thing in SEEN} | ({kind} & set(READ))
    if kind in TURNED and TURNED[kind][0] in things:
        found.add("mocking")
    return sorted(found)


def _things(kind: str, draw: random.Random) -> list[str]:
    """One thing or two; never both what turns a compliment and what it fits."""
    turning, fitting = TURNED.get(kind, ("", ""))
    luck = draw.random()
    first = draw.choice(THINGS)
    if kind in TURNED:
        first = turning if luck < BESIDE[0] else fitting if luck < sum(BESIDE) else first
    if draw.random() >= TWO:
        return [first]
    others = [thing for thing in THINGS if thing != first and {first, thing} != {turning, fitting}]
    both = [first, draw.choice(others)]
    draw.shuffle(both)
    return both
