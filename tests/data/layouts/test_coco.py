from __future__ import annotations

import json
import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def change(path, edit):
    found = json.loads(path.read_text())
    edit(found)
    path.write_text(json.dumps(found))


def test_rows(miniature, read):
    root = miniature("coco")
    rows, rejects = read("coco", root)
    assert list(rows) == ["9-100", "9-101", "25-102", "42-103"] and not rejects
    assert rows["9-101"] == {
        "image": root / "train2017/000000000009.jpg",
        "caption": "Ein Hund läuft",
        "picture": "9",
        "boxes": '[[1.5, 2, 4, 3.25, "dog"]]',
        "crowds": '[[0, 0, 12, 8, "person"]]',
        "split": "train",
    }
    assert rows["25-102"]["caption"] == "An empty street." and json.loads(rows["25-102"]["boxes"]) == [[3, 1, 2, 2, "person"]]
    assert rows["42-103"]["split"] == "validation" and "boxes" not in rows["42-103"]


def test_boxes_without_captions_and_pictures_in_a_folder(miniature, read):
    root = miniature("coco")
    for name in ("captions_train2017.json", "captions_val2017.json"):
        (root / "annotations" / name).unlink()
    (root / "images").mkdir()
    (root / "train2017").rename(root / "images/train2017")
    rows, rejects = read("coco", root)
    assert list(rows) == ["9", "25"] and not rejects and rows["25"]["image"] == root / "images/train2017/000000000025.jpg"


def test_names_of_2014(tmp_path, make, read):
    name = "COCO_val2014_000000000042.jpg"
    said = {"id": 1, "image_id": 42, "caption": "x"}
    make.text(tmp_path / "annotations/captions_val2014.json", {"images": [{"id": 42, "file_name": name}], "annotations": [said]})
    make.picture(tmp_path / "val2014" / name)
    rows, _ = read("coco", tmp_path)
    assert rows["42-1"]["image"].name == name and rows["42-1"]["split"] == "validation"


def test_a_side_whose_pictures_were_not_fetched_is_said(miniature, read):
    root = miniature("coco")
    shutil.rmtree(root / "val2017")
    rows, _ = read("coco", root, findings=1)
    assert len(rows) == 3
    assert "captions_val2017.json left aside: there is no folder" in layout("coco").read(root).findings[0]


def test_missing_parts(miniature):
    root = miniature("coco")
    for folder in ("train2017", "val2017"):
        shutil.rmtree(root / folder)
    with pytest.raises(InputError, match="the folder of pictures is missing") as caught:
        layout("coco").read(root)
    assert caught.value.where == str(root / "train2017")
    for file in (root / "annotations").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="an annotation file is missing") as caught:
        layout("coco").read(root)
    assert "captions_train2017.json" in caught.value.where


def test_another_file_under_the_name(miniature, make):
    root = miniature("coco")
    make.text(root / "annotations/captions_train2017.json", {"pictures": [], "annotations": []})
    with pytest.raises(InputError, match="no list of objects 'images'") as caught:
        list(layout("coco").read(root).rows())
    assert caught.value.known == ["annotations", "pictures"]
    make.text(root / "annotations/captions_train2017.json", '{"images": [')
    with pytest.raises(InputError, match="not a whole JSON file"):
        list(layout("coco").read(root).rows())
    make.text(root / "annotations/captions_train2017.json", "[]")
    with pytest.raises(InputError, match="holds a JSON list"):
        list(layout("coco").read(root).rows())


def test_rejects(miniature, read):
    root = miniature("coco")
    (root / "train2017/000000000025.jpg").unlink()

    def edit(found):
        found["images"] += [
            {"id": 5, "file_name": "../../secret.jpg"},
            {"id": 9, "file_name": "twice.jpg"},
            {"id": "x"},
            {"id": 6, "file_name": "6.jpg"},
        ]
        found["annotations"] += [
            {"id": 100, "image_id": 9, "caption": "the same id again"},
            {"id": 110, "image_id": 77, "caption": "no such picture"},
            {"id": 111, "image_id": 9, "caption": " "},
            {"id": 112, "caption": "of what?"},
            {"id": 113, "image_id": 5, "caption": "x"},
        ]

    change(root / "annotations/captions_train2017.json", edit)
    rows, rejects = read("coco", root)
    reasons = dict(rejects)
    assert list(rows) == ["9-100", "9-101", "42-103"] and len(rejects) == 9
    assert rows["9-100"]["caption"] == "A dog runs ."
    assert "stood in an earlier row" in reasons["9-100"]
    assert "lists no picture 77" in reasons["77-110"]
    assert reasons["9-111"] == "the caption is empty"
    assert reasons["captions_train2017.json annotation 6"] == "the annotation has no 'image_id'"
    assert "is no file name within" in reasons["5-113"]
    assert "000000000025.jpg is not there" in reasons["25-102"]
    assert "6.jpg is not there" in reasons["6"]
    assert "twice; the first is kept" in reasons["captions_train2017.json picture 3"]
    assert "'id' is 'x'" in reasons["captions_train2017.json picture 4"]


def test_rejected_boxes_leave_their_pictures(miniature, read):
    root = miniature("coco")

    def edit(found):
        box = {"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}
        found["annotations"] += [
            {**box, "id": 7},
            {**box, "id": 20, "category_id": 99},
            {**box, "id": 21, "bbox": [0, 0, 1]},
            {**box, "id": 22, "image_id": 77},
            {"id": 23},
        ]

    change(root / "annotations/instances_train2017.json", edit)
    rows, rejects = read("coco", root)
    assert len(rows) == 4 and json.loads(rows["9-100"]["boxes"]) == [[1.5, 2, 4, 3.25, "dog"]]
    assert [each for each, _ in rejects] == ["9-box-7", "9-box-20", "9-box-21", "77-box-22", "instances_train2017.json annotation 7"]
