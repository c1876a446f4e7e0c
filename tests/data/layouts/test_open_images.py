from __future__ import annotations

import json
import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout

BOXES = "train-annotations-bbox.csv"
LABELS = "train-annotations-human-imagelabels-boxable.csv"


def test_rows(miniature, read):
    root = miniature("open_images")
    rows, rejects = read("open_images", root)
    assert list(rows) == ["000002b66c9c498e", "00000b4dcff7f799", "00001a21632de752", "0001eeaf4aed83f9"] and not rejects
    first = rows["000002b66c9c498e"]
    assert first["image"] == root / "train/000002b66c9c498e.jpg" and first["split"] == "train"
    assert json.loads(first["boxes"]) == [[0.0125, 0.1484, 0.1828, 0.4391, "Person"]]
    assert json.loads(first["crowds"]) == [[0.5, 0.25, 0.25, 0.75, "Person"]]
    assert first["labels"] == ["Person"] and first["absent"] == ["Ball, round"]
    assert set(rows["00000b4dcff7f799"]) == {"image", "boxes", "split"}
    assert rows["00001a21632de752"]["labels"] == ["Ball, round", "/m/0unnamed"]
    assert rows["0001eeaf4aed83f9"]["split"] == "validation"


def test_later_versions_names_and_the_archives_folders(miniature, make, read):
    root = miniature("open_images")
    (root / "annotations").mkdir()
    (root / BOXES).rename(root / "annotations" / f"oidv6-{BOXES}")
    names = (root / "class-descriptions-boxable.csv").read_text()
    (root / "class-descriptions-boxable.csv").unlink()
    make.text(root / "oidv7-class-descriptions-boxable.csv", f"LabelName,DisplayName\n{names}")
    (root / "train").rename(root / "train_0")
    make.picture(root / "train_f/ffffed83f9000000.jpg")
    with (root / LABELS).open("a") as file:
        file.write("ffffed83f9000000,verification,/m/011k07,1\n")
    (root / f"validation{LABELS.removeprefix('train')}").rename(root / "oidv7-val-annotations-human-imagelabels.csv")
    rows, rejects = read("open_images", root)
    assert len(rows) == 5 and not rejects
    assert rows["0001eeaf4aed83f9"]["labels"] == ["Tortoise"] and rows["0001eeaf4aed83f9"]["split"] == "validation"
    assert rows["00000b4dcff7f799"]["image"] == root / "train_0/00000b4dcff7f799.jpg" and "Tortoise" in rows["00000b4dcff7f799"]["boxes"]
    assert rows["ffffed83f9000000"]["image"] == root / "train_f/ffffed83f9000000.jpg"


def test_a_file_that_is_not_in_order_loses_nothing(miniature, read):
    root = miniature("open_images")
    before = read("open_images", root)
    header, *lines = (root / BOXES).read_text().splitlines(keepends=True)
    (root / BOXES).write_text(header + lines[2] + "".join(lines[:2]))
    assert read("open_images", root, findings=1) == before


def test_a_box_that_comes_again_is_rejected(miniature, read):
    root = miniature("open_images")
    before = read("open_images", root)[0]
    lines = (root / BOXES).read_text().splitlines(keepends=True)
    (root / BOXES).write_text("".join([*lines[:2], lines[1], *lines[2:]]))
    rows, rejects = read("open_images", root)
    assert rows == before and [reason for _, reason in rejects] == [rejects[0][1]] and "stood before" in rejects[0][1]


def test_a_side_whose_pictures_were_not_fetched_is_said(miniature, read):
    root = miniature("open_images")
    shutil.rmtree(root / "train")
    rows, _ = read("open_images", root, findings=1)
    assert list(rows) == ["0001eeaf4aed83f9"]


def test_missing_parts(miniature):
    root = miniature("open_images")
    read = layout("open_images").read
    for side in ("train", "validation"):
        shutil.rmtree(root / side)
    with pytest.raises(InputError, match="the folder of pictures is missing") as caught:
        read(root)
    assert caught.value.where == str(root / "train")
    (root / "class-descriptions-boxable.csv").unlink()
    with pytest.raises(InputError, match="the file of class names is missing") as caught:
        read(root)
    assert caught.value.where == str(root / "class-descriptions-boxable.csv")


@pytest.mark.parametrize(("name", "gone"), [(BOXES, "XMin"), (LABELS, "Confidence")])
def test_another_header(miniature, name, gone):
    root = miniature("open_images")
    (root / name).write_text((root / name).read_text().replace(gone, "Other"))
    with pytest.raises(InputError) as caught:
        layout("open_images").read(root)
    assert f"no column {gone!r}" in str(caught.value) and "ImageID,Source,LabelName,Confidence" in caught.value.known[0]


def test_other_class_names(miniature, make):
    root = miniature("open_images")
    make.text(root / "class-descriptions-boxable.csv", "/m/011k07,Tortoise\n/m/01g317,Ball, round\n")
    with pytest.raises(InputError, match="the line is '/m/01g317,Ball,round'") as caught:
        layout("open_images").read(root)
    assert "line 2" in caught.value.where


def test_rejects(miniature, read):
    root = miniature("open_images")
    (root / "train/00000b4dcff7f799.jpg").unlink()
    text = (root / BOXES).read_text().splitlines(keepends=True)
    bad = [
        "000002b66c9c498e,xclick,/m/01g317,1,0.9,0.2,0,1,0,0,0,0,0\n",
        "000002b66c9c498e,xclick,/m/01g317\n",
        "000002b66c9c498e,xclick,/m/011k07,1,0,1,0,x,0,0,0,0,0\n",
    ]
    (root / BOXES).write_text("".join([*text[:2], *bad, *text[2:]]))
    with (root / "validation-annotations-human-imagelabels-boxable.csv").open("a") as file:
        file.write("0001eeaf4aed83f9,verification,/m/01g317,0.7\n")
        file.write("00001a21632de752,verification,/m/01g317,1\n")  # a picture of the training side
    (root / "validation/00001a21632de752.jpg").write_bytes(b"x")
    rows, rejects = read("open_images", root, findings=1)
    assert list(rows) == ["000002b66c9c498e", "00001a21632de752", "0001eeaf4aed83f9"]
    assert json.loads(rows["000002b66c9c498e"]["crowds"]) == [[0.5, 0.25, 0.25, 0.75, "Person"]]  # the lines around the bad one
    assert [each for each, _ in rejects] == [
        "000002b66c9c498e Person",
        f"{BOXES} line 4",
        "000002b66c9c498e Tortoise",
        "00000b4dcff7f799",
        "00001a21632de752",
        "0001eeaf4aed83f9 Person",
    ]
    reasons = [reason for _, reason in rejects]
    assert "does not lie in the picture" in reasons[0] and "3 cells where 13" in reasons[1] and "is not there" in reasons[3]
    assert "earlier row" in reasons[4] and "people say 0 or 1" in reasons[5]
