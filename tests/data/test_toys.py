"""Samples of songs, messages and scenes: causes are shared by all answers, rooms agree on a row, sides share nobody."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from triptych.contract.modality import ToyRow
from triptych.data.near import clusters
from triptych.data.samples import SAMPLES
from triptych.data.toy_messages import FEELINGS, message
from triptych.data.toy_scenes import ABOUT, scene
from triptych.data.toy_songs import MOODS, STYLES, song
from triptych.modalities import rooms


def songs(count, split="train"):
    return [(mood, song(mood, split, random.Random(f"{number}/{mood}"))) for number in range(count) for mood in MOODS]


def guessed(pairs, cues):
    """Share of songs whose mood is guessed from some of their traits: the likeliest by counts of half of them (naive Bayes)."""
    told = [(mood, {**traits, "tempo": str(int(traits["tempo"]) // 15)}) for mood, traits in pairs]
    half = len(told) // 2
    counts = {(cue, mood): Counter(t[cue] for m, t in told[:half] if m == mood) for cue in cues for mood in MOODS}

    def score(traits, mood):
        return sum(np.log((counts[cue, mood][traits[cue]] + 1) / (half / 4 + 5)) for cue in cues)

    return np.mean([mood == max(MOODS, key=lambda one: score(traits, one)) for mood, traits in told[half:]])


def test_no_cue_gives_a_mood_away_and_all_together_do():
    pairs, cues = songs(300), ["tempo", "mode", "harmony", "drums", "touch", "register", "layers", "dynamics"]
    assert all(guessed(pairs, [cue]) < 0.7 for cue in cues)
    assert guessed(pairs, cues) > 0.85
    assert set(STYLES) == set(MOODS)


def test_composers_keep_to_one_side_and_write_in_all_moods():
    sides, moods = defaultdict(set), defaultdict(set)
    for row in SAMPLES["songs"].wanted():
        sides[dict(row.traits)["composer"]].add(row.split)
        moods[dict(row.traits)["composer"]].add(row.concept)
    assert all(len(side) == 1 for side in sides.values())
    assert np.mean([len(mood) for mood in moods.values()]) > 3.5


def test_a_caption_says_what_is_played():
    rows = [row for row in SAMPLES["songs"].wanted() if row.split == "test"][:60]
    for row, cell in zip(rows, rooms()["text"].toy("songs", rows, 0), strict=True):
        traits = dict(row.traits)
        assert f"{traits['mode']} key" in cell.content
        if "drums" in cell.content:
            assert {"no": "without", "soft": "soft", "big": "big"}[traits["drums"]] in cell.content


def test_a_song_is_the_same_each_time_and_plays_its_tempo():
    row = ToyRow("epic", "train", tuple({**songs(1)[3][1], "tempo": "120", "drums": "big", "layers": "thin", "dynamics": "even"}.items()))
    first, again = rooms()["audio"].toy("songs", [row, row], 0)
    assert first == again and first.group.startswith("composer-")
    heard = rooms()["audio"].read(first.content)
    assert len(heard.samples_N) == 5 * heard.rate and 0.2 < np.abs(heard.samples_N).max() <= 1
    power = np.square(heard.samples_N.reshape(-1, 160)).sum(1)  # each 10 ms
    rise = np.maximum(np.diff(np.log(power + 1e-6)), 0)
    lags = {beat: np.dot(rise[beat:], rise[:-beat]) for beat in range(20, 71)}
    assert max(lags, key=lags.get) in range(48, 53) or max(lags, key=lags.get) in range(23, 28)  # half a second, or its half


def test_words_and_voice_each_leave_some_open_and_never_both():
    pairs = [(feeling, message(feeling, "train", random.Random(f"{n}/{feeling}"))) for n in range(200) for feeling in FEELINGS]
    assert all(traits["words"] in (feeling, "open") and traits["tone"] in (feeling, "flat") for feeling, traits in pairs)
    assert not any(traits["words"] == "open" and traits["tone"] == "flat" for _, traits in pairs)
    assert 0.25 < np.mean([traits["words"] == "open" for _, traits in pairs]) < 0.5
    assert 0.25 < np.mean([traits["tone"] == "flat" for _, traits in pairs]) < 0.5


def test_anger_is_faster_and_louder_than_worry():
    pytest.importorskip("espeakng_loader")
    said = {"said": "I have a question about the parcel from Monday", "sentence": "s", "words": "open", "seed": "1"}
    rows = [ToyRow(tone, "train", tuple({**said, "tone": tone}.items())) for tone in ("angry", "worried")] * 4
    heard = [rooms()["audio"].read(cell.content) for cell in rooms()["audio"].toy("messages", rows, 0)]
    loud = [np.abs(one.samples_N).max() for one in heard]
    assert min(loud[::2]) > max(loud[1::2])
    assert np.mean([len(one.samples_N) for one in heard[::2]]) < np.mean([len(one.samples_N) for one in heard[1::2]])


def scenes(split, count=60):
    draws = [(about, scene(about, split, random.Random(f"{n}/{about}"))) for n in range(count) for about in ABOUT]
    return [(about, traits, [thing.split() for thing in traits["things"].split(", ")]) for about, traits in draws]


def asked(traits):
    return traits["question"] or traits["said"]


def true_answer(about, question, things):
    """What is right, found anew from the things themselves: [size, colour, shape, place, ...] each."""
    words = (
        question.replace("circles", "circle").replace("squares", "square").replace("triangles", "triangle").replace("stars", "star").split()
    )
    if about == "colour":
        return next(colour for _, colour, shape, *_ in things if shape == words[-1])
    if about == "shape":
        return next(shape for _, colour, shape, *_ in things if colour == words[-1])
    if about == "count":
        return ("none", "one", "two", "three")[sum(len(places) for _, _, shape, *places in things if shape == words[2])]
    if about == "presence":
        return "yes" if any([colour, shape] == words[-2:] for _, colour, shape, *_ in things) else "no"
    at = {shape: divmod(int(place), 3) for _, _, shape, place in things}
    (row, column), (other_row, other_column) = at[words[2]], at[words[-1]]
    right = {"left": column < other_column, "right": column > other_column, "above": row < other_row, "below": row > other_row}
    return "yes" if right[words[3]] else "no"


def test_answers_about_a_scene_are_right_and_its_sentence_counts():
    for about, traits, things in scenes("train"):
        assert traits["answer"] == true_answer(about, asked(traits), things)
        assert all(f"{size} {colour} {shape}" in traits["caption"] for size, colour, shape, *_ in things)
        if len(things) == 2 and all(len(thing) == 4 for thing in things):
            assert any(f" {side} a " in traits["caption"] for side in ("left of", "right of", "above", "below"))


def test_a_question_alone_tells_no_more_than_chance():
    told = [(about, asked(traits), traits["answer"]) for about, traits, _ in scenes("train", 600)]
    half = len(told) // 2
    counts = defaultdict(Counter)
    for _, question, answer in told[:half]:
        counts[question][answer] += 1
    right = [counts[question].most_common(1)[0][0] == answer for _, question, answer in told[half:] if question in counts]
    assert np.mean(right) < 0.4  # three kinds have four answers, two have two: 0.35


def test_an_arrangement_stands_on_one_side_and_half_of_the_questions_are_spoken():
    def arrangement(things):
        return tuple(sorted((size, place) for size, _, _, *places in things for place in places))

    sides = {split: {arrangement(things) for *_, things in scenes(split)} for split in ("train", "test")}
    assert not sides["train"] & sides["test"]
    traits = [traits for _, traits, _ in scenes("train", 200)]
    assert 0.4 < np.mean([not one["question"] for one in traits]) < 0.5 and 0.4 < np.mean([not one["said"] for one in traits]) < 0.5
    assert all(one["question"] in ("", one["said"]) or not one["said"] for one in traits)


def test_no_scene_of_the_test_is_nearly_one_of_the_training():
    room, known = rooms()["image"], rooms()["image"].Input().examined()
    sides = ["train"] * 200 + ["test"] * 40
    rows = [ToyRow(about, side, tuple(t.items())) for side, n in (("train", 40), ("test", 8)) for about, t, _ in scenes(side, n)]
    seen = [room.examine(room.read(cell.content), known) for cell in room.toy("scenes", rows, 0)]
    sketches_NS = np.stack([np.frombuffer(one.sketch, np.uint8) for one in seen])
    content_N = np.array([one.content for one in seen], np.uint64)
    found = clusters(content_N, np.arange(len(seen)), sketches_NS, room.alike)
    assert not {n for n, side in zip(found, sides, strict=True) if side == "train"} & {
        n for n, side in zip(found, sides, strict=True) if side == "test"
    }


def test_a_scene_is_drawn_as_its_things_are_told():
    traits = {"things": "large red square 0 8, small blue circle 5", "seed": "3", "caption": "-"}
    (cell,) = rooms()["image"].toy("scenes", [ToyRow("count", "train", tuple(traits.items()))], 0)
    levels = np.asarray(rooms()["image"].read(cell.content)).astype(int)
    middles = levels[8::16, 8::16]
    assert [tuple(place) for place in np.argwhere(middles[..., 0] > 150)] == [(0, 0), (2, 2)]
    assert [tuple(place) for place in np.argwhere(middles[..., 2] > 150)] == [(1, 2)]


def test_only_spoken_questions_have_a_recording():
    pytest.importorskip("espeakng_loader")
    rows = [ToyRow("shape", "train", (("said", said),)) for said in ("what shape is red", "")]
    heard, none = rooms()["audio"].toy("scenes", rows, 0)
    assert heard.suffix == ".flac" and none.content == "" and none.group == ""


def test_products_of_one_side_are_on_no_other_and_rooms_agree_on_them():
    rows = SAMPLES["products"].wanted()
    sides: dict[str, set[str]] = {}
    for row in rows:
        traits = dict(row.traits)
        sides.setdefault(row.split, set()).add(traits["product"])
        words = {traits["kind"], traits["colour"], traits["pattern"]}
        assert words <= set(traits["wish"].split()) and traits["kind"] == row.concept
        short = len(words & set(traits["text"].replace(",", "").split()))
        assert short == 3 or (short == 1 and row.split == "train")
    assert not sides["train"] & sides["test"] and not sides["train"] & sides["validation"] and not sides["test"] & sides["validation"]
    assert len(sides["test"]) > 30


def test_a_product_is_drawn_in_its_colour():
    traits = {"product": "red plain mug", "colour": "red", "pattern": "plain", "seed": "1"}
    (cell,) = rooms()["image"].toy("products", [ToyRow("mug", "train", tuple(traits.items()))], 0)
    red, green, blue = rooms()["image"].read(cell.content).getpixel((28, 34))
    assert red > 180 and green < 80 and blue < 80
