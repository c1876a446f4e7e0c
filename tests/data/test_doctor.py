"""The data doctor: every finding is planted once, and is not there where the data are as they should be."""

from __future__ import annotations

import csv
import random

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageFilter

from triptych.base.settings import parse
from triptych.run.inspect import findings
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe

WORDS = ["river", "stone", "cloud", "paper", "garden", "winter", "engine", "window"]
WORDS += ["bottle", "summer", "candle", "mirror", "forest", "pencil", "bridge", "harbor"]


def sentence(seed: int, words: int = 9) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def picture(path, seed: int, size: int = 48) -> str:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(path)
    return path.name


def sound(path, seed: int, seconds: float = 0.6, rate: int = 16_000, gain: float = 0.3) -> str:
    """Some tones after one another, so that two seeds give two sounds."""
    draw = np.random.default_rng(seed)
    pitches = np.repeat(draw.uniform(100, 3000, 12), int(seconds * rate / 12) + 1)[: int(seconds * rate)]
    samples = gain * np.sin(2 * np.pi * np.cumsum(pitches) / rate) + 0.002 * draw.normal(size=len(pitches))
    soundfile.write(path, np.clip(samples, -1, 1), rate)
    return path.name


def found(tmp_path, rows: list[dict], tasks=None, split=None, **inputs) -> dict[str, list[dict]]:
    """What `check` finds in a CSV file with these rows, by code."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    tree = {
        "data": {"source": str(tmp_path / "t.csv"), "split": split or {}},
        "inputs": inputs,
        "tasks": tasks or {"kind": {"kind": "classify", "target": "label"}},
        "stages": [{"train": ["all"], "epochs": 1}],
    }
    recipe = parse(Recipe, tree, "a test")
    told: dict[str, list[dict]] = {}
    for finding in findings(recipe, open_table(recipe, Voice(quiet=True)))["findings"]:
        told.setdefault(finding["code"], []).append(finding)
    return told


def texts(count: int, **more) -> list[dict]:
    return [{"text": sentence(n), "label": "ab"[n % 2], **more} for n in range(count)]


TEXT = {"text": {"modality": "text"}}
IMAGE = {"image": {"modality": "image"}}
AUDIO = {"audio": {"modality": "audio", "prepare": {"rate": 16000, "seconds": 1.0}}}
QUIET = {"unused column"}


def test_good_tables_are_left_in_peace(tmp_path):
    assert set(found(tmp_path, texts(60), **TEXT)) <= QUIET
    pictures = [{"image": picture(tmp_path / f"{n}.png", n), "label": "ab"[n % 2]} for n in range(60)]
    assert set(found(tmp_path, pictures, **IMAGE)) <= QUIET
    sounds = [{"audio": sound(tmp_path / f"{n}.wav", n), "label": "ab"[n % 2]} for n in range(60)]
    assert set(found(tmp_path, sounds, **AUDIO)) <= QUIET


@pytest.mark.parametrize("kind", ["picture", "sound", "text"])
def test_near_copies_across_the_split_are_a_leak(tmp_path, kind):
    def row(n: int, side: str, copy: bool = False) -> dict:
        name = tmp_path / f"{side}{n}{'.jpg' if copy else '.png'}"
        if kind == "picture":
            picture(name, n)
            if copy:  # saved again smaller, in another format, a little softer
                Image.open(name).resize((40, 40)).filter(ImageFilter.GaussianBlur(0.5)).save(name, quality=60)
        elif kind == "sound":
            name = name.with_suffix(".flac" if copy else ".wav")
            sound(name, n, gain=0.1 if copy else 0.3)
        said = sentence(n, 16).upper() + "!" if copy else sentence(n, 16)
        return {"x": said if kind == "text" else name.name, "label": "ab"[n % 2], "side": side}

    rows = [*(row(n, "train") for n in range(50)), *(row(100 + n, "test") for n in range(20))]
    column = {"x": {"modality": {"picture": "image", "sound": "audio"}.get(kind, "text")}}
    split = {"column": "side", "validation": 0}
    assert "leak" not in found(tmp_path, rows, split=split, **column)
    planted = [*rows, *(row(n, "test", copy=True) for n in range(5))]
    (leak,) = found(tmp_path, planted, split=split, **column)["leak"]
    assert leak["severity"] == "error" and leak["rows"] == 5 and "data.split.group" in leak["fix"]
    assert set(leak["examples"]) & {f"row-{n}" for n in range(71, 76)}


def test_copies_on_one_side_are_a_note(tmp_path):
    rows = [{"image": picture(tmp_path / f"{n}.png", n % 40), "label": "ab"[n % 2], "side": "train"} for n in range(42)]
    told = found(tmp_path, rows, split={"column": "side", "validation": 0}, **IMAGE)
    (copies,) = told["copies"]
    assert copies["severity"] == "note" and copies["rows"] == 4 and "leak" not in told


@pytest.mark.parametrize("column", ["speaker", "songId", "writer_id"])
def test_a_group_on_both_sides_is_said_even_if_the_recipe_knows_nothing_of_it(tmp_path, column):
    rows = [{**row, column: f"p{n % 7}", "side": "test" if n % 5 == 0 else "train"} for n, row in enumerate(texts(70))]
    (group,) = found(tmp_path, rows, split={"column": "side", "validation": 0}, **TEXT)["group"]
    assert group["severity"] == "warning" and f"7 of 7 values of {column}" in group["text"]
    told = found(tmp_path, rows, split={"column": "side", "group": column, "validation": 0}, **TEXT)
    assert told["group"][0]["severity"] == "error"
    assert "group" not in found(tmp_path, rows, split={"group": column}, **TEXT)


def test_silent_clipped_short_long_and_poor_sounds(tmp_path):
    rows = [{"audio": sound(tmp_path / f"{n}.wav", n), "label": "ab"[n % 2]} for n in range(40)]
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 16_000)
    sound(tmp_path / "loud.wav", 91, gain=9.0)
    sound(tmp_path / "brief.wav", 92, seconds=0.03)
    sound(tmp_path / "long.wav", 93, seconds=4.0)
    sound(tmp_path / "phone.wav", 94, rate=8000)
    soundfile.write(
        tmp_path / "far.wav", np.float32(1e37) * np.random.default_rng(9).standard_normal(16_000, np.float32), 16_000, subtype="FLOAT"
    )
    rows += [{"audio": f"{name}.wav", "label": "a"} for name in ("silent", "loud", "brief", "long", "phone", "far")]
    told = found(tmp_path, rows, **AUDIO)
    assert [told[code][0]["examples"] for code in ("silent", "clipped", "cut")] == [["row-41"], ["row-42"], ["row-44"]]
    assert told["silent"][0]["severity"] == "warning"
    assert told["out of range"][0]["examples"] == ["row-46"] and told["out of range"][0]["severity"] == "warning"
    assert ["row-43"] in [one["examples"] for one in told["short"]] and ["row-44"] in [one["examples"] for one in told["long"]]
    assert any("row-45" in one["examples"] for one in told["rate"])


def test_pictures_of_one_colour_and_tiny_ones(tmp_path):
    rows = [{"image": picture(tmp_path / f"{n}.png", n), "label": "ab"[n % 2]} for n in range(40)]
    Image.new("RGB", (48, 48), "red").save(tmp_path / "red.png")
    picture(tmp_path / "tiny.png", 99, size=8)
    rows += [{"image": name, "label": "a"} for name in ("red.png", "tiny.png")]
    told = found(tmp_path, rows, **{"image": {"modality": "image", "prepare": {"size": 48}}})
    assert told["constant"][0]["examples"] == ["row-41"] and told["tiny"][0]["examples"] == ["row-42"]


def test_texts_of_another_script_garbled_with_markup_or_control_characters_and_cut(tmp_path):
    odd = [
        "один два три четыре пять шесть",
        "caf\u00c3\u00a9 au lait with the neighbours",
        "some <b>bold</b> words &amp; more",
        "a bell\x07 rings here",
    ]
    rows = [*texts(80), *({"text": text, "label": "a"} for text in odd), {"text": sentence(999, 90), "label": "b"}]
    told = found(tmp_path, rows, **{"text": {"modality": "text", "prepare": {"max_tokens": 40}}})
    for code, row in (("script", 81), ("garbled", 82), ("markup", 83), ("control", 84), ("cut", 85)):
        assert told[code][0]["examples"] == [f"row-{row}"], code


def test_labels_misspelt_rare_uneven_and_absent(tmp_path):
    rows = [{"text": sentence(n), "label": "happy" if n % 2 else "suspense", "side": "test" if n % 4 == 0 else "train"} for n in range(80)]
    rows += [{"text": sentence(100 + n), "label": label, "side": "train"} for n, label in enumerate(["Happy", "suspence", "epic"])]
    told = found(tmp_path, rows, split={"column": "side", "validation": 0}, **TEXT)
    typos = " ".join(one["text"] for one in told["label typo"])
    assert "'Happy' (1 row) looks like 'happy'" in typos and "'suspence'" in typos and "epic" not in typos
    assert "epic" in told["rare class"][0]["text"]
    uneven = [{"text": sentence(n), "label": "a" if n < 195 else "b", "side": "train"} for n in range(203)]
    assert "uneven classes" in found(tmp_path, uneven, split={"column": "side", "validation": 0}, **TEXT)
    absent = [{"text": sentence(n), "label": "abc"[n % 3], "side": "test" if n % 3 == 0 else "train"} for n in range(60)]
    assert "absent class" in found(tmp_path, absent, split={"column": "side", "validation": 0}, **TEXT)


def test_classes_that_are_near_each_other_by_nature_are_no_typos(tmp_path):
    rows = [{"text": sentence(n), "label": ["cat", "car", "10", "1", "+1", "-1"][n % 6 if n < 120 else 0]} for n in range(300)]
    assert "label typo" not in found(tmp_path, rows, **TEXT)


def test_captions_that_several_rows_share_are_false_negatives(tmp_path):
    rows = [{"image": picture(tmp_path / f"{n}.png", n), "text": sentence(n % 20 if n < 40 else n)} for n in range(60)]
    match = {"match": {"kind": "contrast", "between": ["image", "text"]}}
    (shared,) = found(tmp_path, rows, match, **IMAGE, **TEXT)["shared"]
    assert shared["severity"] == "warning" and "67% of the rows share their text" in shared["text"] and "positives" in shared["fix"]
    match["match"]["positives"] = "text"
    assert "shared" not in found(tmp_path, rows, match, **IMAGE, **TEXT)


def test_a_transcript_too_long_for_its_sound(tmp_path):
    rows = []
    for n in range(60):
        words = 3 + n % 12
        sound(tmp_path / f"{n}.wav", n, seconds=words * 0.3, rate=8000)
        rows.append({"audio": f"{n}.wav", "text": sentence(n, words), "label": "ab"[n % 2]})
    assert "characters per seconds" not in found(tmp_path, rows, **AUDIO, **TEXT)
    rows[5]["text"] = sentence(7, 60)
    (ratio,) = found(tmp_path, rows, **AUDIO, **TEXT)["characters per seconds"]
    assert ratio["examples"] == ["row-6"] and ratio["severity"] == "warning"


def test_columns_that_say_nothing_or_are_not_used(tmp_path):
    rows = [{**row, "country": "NL", "price": str(n)} for n, row in enumerate(texts(40))]
    told = found(tmp_path, rows, **TEXT)
    assert "country" in told["constant column"][0]["text"] and "price" in told["unused column"][0]["text"]


def test_a_thousand_equal_rows_are_one_finding_soon(tmp_path):
    picture(tmp_path / "one.png", 1)
    rows = [{"image": "one.png", "label": "ab"[n % 2]} for n in range(1000)]
    told = found(tmp_path, rows, **IMAGE)
    assert len(told["leak"]) == 1 and told["leak"][0]["severity"] == "error"


def test_classes_called_like_nothing(tmp_path):
    rows = [{"text": sentence(n), "label": ("cat", "dog", "cat", "dog", "NA", "n/a")[n % 6]} for n in range(60)]
    (told,) = found(tmp_path, rows, **TEXT)["word for nothing"]
    assert told["severity"] == "warning" and told["rows"] == 20 and "'NA', 'n/a' are classes" in told["text"]
    assert 'data.empty: ["NA", "n/a"]' in told["fix"]
    for row in rows:
        row["label"] = row["label"].replace("NA", "none").replace("n/a", "dog")
    (told,) = found(tmp_path, rows, **TEXT)["word for nothing"]
    assert told["severity"] == "note" and "'none' is a class" in told["text"]


def test_signs_beside_each_other_are_classes(tmp_path):
    assert "word for nothing" not in found(tmp_path, [{"text": sentence(n), "label": "+-"[n % 2]} for n in range(60)], **TEXT)


def test_check_counts_rows(tmp_path):
    """Of numbers the rows and where they lie, of lists each label, of many classes the rows and how many there are."""
    rows = [
        {"text": sentence(n), "label": f"c{n % 9}", "n": n / 2 if n % 2 else "", "tags": ("a|b", "a", "")[n % 3], "side": "train"}
        for n in range(80)
    ]
    tasks = {
        "kind": {"kind": "classify", "target": "label"},
        "number": {"kind": "regress", "target": "n"},
        "tags": {"kind": "multilabel", "target": "tags"},
    }
    told = counted(tmp_path, rows, tasks)
    assert told["kind (label)"]["train"] == "80 rows, 9 classes"
    assert told["number (n)"]["train"] == "40 rows, 0.5 to 39.5"
    assert told["tags (tags)"]["train"] == "54 a, 27 b"


def counted(tmp_path, rows: list[dict], tasks: dict) -> dict[str, dict[str, str]]:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = {"source": str(tmp_path / "t.csv"), "split": {"column": "side", "validation": 0}}
    tree = {"data": data, "inputs": TEXT, "tasks": tasks, "stages": [{"train": ["all"], "epochs": 1}]}
    recipe = parse(Recipe, tree, "a test")
    return findings(recipe, open_table(recipe, Voice(quiet=True)))["targets"]
