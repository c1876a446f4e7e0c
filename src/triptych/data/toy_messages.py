"""What the customers of a sample say and how, drawn once for all rooms: words alone and voice alone leave a part of them open."""

from __future__ import annotations

import random

from triptych.contract.modality import Split

FEELINGS = ("angry", "worried", "content")
IN_WORDS, IN_VOICE = 0.55, 0.5
"""How often the words alone say what is felt, and the voice alone; else they are `open` and `flat`, as with any other feeling."""

THINGS = ("order", "parcel", "invoice", "booking", "subscription", "account", "refund", "contract", "delivery", "ticket")
DAYS = ("yesterday", "on Monday", "on Tuesday", "last week", "this morning", "on Friday")

# Sides share words, as customers do, and no sentence.
SENTENCES: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {
        "angry": (
            "this is unacceptable, my {thing} is wrong for the third time",
            "I am fed up with your service, where is my {thing}",
            "I want my money back, the {thing} was a disaster {day}",
            "it is ridiculous that nobody answers about my {thing}",
            "your {thing} is useless and I will complain about it",
            "I have had enough, cancel my {thing} right now",
            "nobody cares about my {thing}, this is outrageous",
            "you promised the {thing} {day}, I am furious",
        ),
        "worried": (
            "I am afraid that my {thing} is lost",
            "please help me, I do not know what to do about my {thing}",
            "I am worried about the {thing}, it should have come {day}",
            "I fear that somebody else has my {thing}",
            "could my {thing} be gone, I really need it",
            "I am nervous about my {thing}, did I make a mistake {day}",
            "I hope that nothing bad happened to my {thing}",
            "what if the {thing} never comes, I am anxious",
        ),
        "content": (
            "thank you, my {thing} is perfect",
            "I am very happy with the {thing}",
            "well done, the {thing} came early {day}",
            "great service, I love my {thing}",
            "everything about my {thing} was excellent, thanks a lot",
            "your people were so kind about my {thing} {day}",
            "the {thing} works wonderfully, thank you so much",
            "I am pleased with how you handled my {thing}",
        ),
        "open": (
            "I am calling about my {thing}",
            "it is about the {thing} that I made {day}",
            "my {thing} came {day}",
            "could you look at my {thing}",
            "I have a question about the {thing} from {day}",
            "there is a change in my {thing} since {day}",
            "I would like to talk about my {thing}",
            "you wrote to me {day} about my {thing}",
        ),
    },
    "validation": {
        "angry": ("I am furious about my {thing}, give me my money back", "it is outrageous what you did with my {thing} {day}"),
        "worried": ("I am anxious, I hope my {thing} is not lost", "please help, I fear for my {thing}"),
        "content": ("thanks a lot, I love the {thing}", "I am pleased, an excellent {thing}"),
        "open": ("I am writing about the {thing} of {day}", "could we talk about my {thing}"),
    },
    "test": {
        "angry": (
            "my {thing} is a disaster, I have had enough of it",
            "ridiculous, the {thing} is useless and nobody answers",
            "I will complain, the {thing} {day} was unacceptable",
        ),
        "worried": (
            "I am nervous and afraid, is my {thing} gone",
            "I do not know if the {thing} from {day} is lost, I am worried",
            "I really need the {thing}, please help, what if it never comes",
        ),
        "content": (
            "you were so kind, the {thing} is perfect",
            "a wonderful {thing} {day}, well done and thank you",
            "very happy, the {thing} was great",
        ),
        "open": ("it is me again about my {thing}", "the {thing} is here since {day}", "I have something to say about the {thing}"),
    },
}


def message(feeling: str, split: Split, draw: random.Random) -> dict[str, str]:
    """What one customer says and how: the words tell what is felt, or the voice, or both; never neither."""
    words = feeling if draw.random() < IN_WORDS else "open"
    tone = feeling if draw.random() < IN_VOICE else "flat"
    if (words, tone) == ("open", "flat"):
        words, tone = draw.choice(((feeling, "flat"), ("open", feeling)))
    sentences = SENTENCES[split][words]
    number = draw.randrange(len(sentences))
    said = sentences[number].format(thing=draw.choice(THINGS), day=draw.choice(DAYS))
    return {"said": said, "sentence": f"{split}-{words}-{number}", "words": words, "tone": tone, "seed": str(draw.getrandbits(32))}
