"""Samples of posts and cases: some labels are in one input, one in neither alone; every part of a case tells its own sign."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from triptych.data.samples import SAMPLES
from triptych.data.toy_cases import FINDINGS, case
from triptych.data.toy_posts import LABELS, THINGS, labels_of, post
from triptych.modalities import rooms

POSTS = [post("post", "train", random.Random(f"{n}")) for n in range(3000)]
CASES = [case("case", "train", random.Random(f"{n}")) for n in range(3000)]


def kind_of(one):
    return one["sentence"].split("-")[1] if one["sentence"] else ""


def best_guess(rows, seen, target):
    """Share of rows that are right if the likeliest answer to what is seen is given."""
    counts = defaultdict(Counter)
    for row in rows:
        counts[seen(row)][target(row)] += 1
    return sum(max(one.values()) for one in counts.values()) / len(rows)


@pytest.mark.parametrize(
    ("label", "picture", "text"), [("weapon", 1, 0), ("alcohol", 1, 0), ("insult", 0, 1), ("advert", 0, 1), ("mocking", 0, 0)]
)
def test_a_label_is_plain_from_where_it_is_and_from_nowhere_else(label, picture, text):
    def has(row):
        return label in row["labels"].split("|")

    share = np.mean([has(row) for row in POSTS])
    always = max(share, 1 - share)
    from_picture = best_guess(POSTS, lambda row: tuple(sorted(row["things"].split(", "))), has)
    from_text = best_guess(POSTS, kind_of, has)
    both = best_guess(POSTS, lambda row: (kind_of(row), row["things"]), has)
    assert 0.08 < share < 0.3 and both == 1
    assert (from_picture == 1) == bool(picture) and (from_text == 1) == bool(text)
    if label == "mocking":
        assert max(from_picture, from_text) < always + 0.05
        assert [labels_of("smell", ["bin"]), labels_of("smell", ["snail"]), labels_of("plain", ["bin"])] == [["mocking"], [], []]


def test_a_post_has_a_picture_or_a_text_and_some_lack_one():
    assert all(row["things"] or row["said"] for row in POSTS)
    assert 0.04 < np.mean([not row["things"] for row in POSTS]) < 0.12 and 0.03 < np.mean([not row["said"] for row in POSTS]) < 0.1
    assert set(LABELS) == {label for row in POSTS for label in row["labels"].split("|")} - {""}


def test_every_sign_counts_and_no_part_gives_the_finding_away():
    parts = ("shadow", "sentence", "spoken")

    def recent(row):
        return row["report"].endswith("recent")

    seen = {"shadow": lambda row: row["shadow"].split()[:1], "sentence": lambda row: row["sentence"].split("-")[1:2], "spoken": recent}

    def of(names):
        return best_guess(CASES, lambda row: str([seen[name](row) for name in names]), lambda row: row["finding"])

    assert set(FINDINGS) == {row["finding"] for row in CASES}
    assert of(parts) > 0.95
    assert all(of([name]) < 0.65 for name in parts)
    assert all(of([name for name in parts if name != gone]) < 0.75 for gone in parts)
    assert all(0.04 < np.mean([not row[name] for row in CASES]) < 0.13 for name in parts)


def test_sides_of_the_split_share_no_sentence():
    for name in ("posts", "cases"):
        sides = defaultdict(set)
        for row in SAMPLES[name].wanted():
            sides[row.split].add(dict(row.traits)["sentence"])
        assert not (sides["train"] - {""}) & (sides["test"] | sides["validation"])


def test_rows_without_a_picture_have_no_file_and_others_show_what_is_told():
    rows = SAMPLES["posts"].wanted()[:200]
    cells = rooms()["image"].toy("posts", rows, 0)
    for row, cell in zip(rows, cells, strict=True):
        assert bool(cell.content) == bool(dict(row.traits)["things"])
    scans = SAMPLES["cases"].wanted()[:120]
    dark = defaultdict(list)
    for row, cell in zip(scans, rooms()["image"].toy("cases", scans, 0), strict=True):
        shadow = dict(row.traits)["shadow"]
        if not shadow:
            assert cell.content == ""
            continue
        pixels = np.asarray(rooms()["image"].read(cell.content), np.float64)
        left, right = (pixels[10:38, a:b].mean() for a, b in ((8, 20), (28, 40)))
        assert (left < right) == shadow.endswith("left")
        dark[shadow.split()[0]].append(abs(left - right))
    assert np.mean(dark["large"]) > 2 * np.mean(dark["small"])
    assert len(THINGS) == 9
