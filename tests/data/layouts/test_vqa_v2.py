from __future__ import annotations

import json
import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def test_rows(miniature, read):
    root = miniature("vqa_v2")
    rows, rejects = read("vqa_v2", root, findings=1)
    assert list(rows) == ["1000", "1001", "9000", "9001", "42000"] and not rejects
    assert rows["9000"] == {
        "image": root / "train2014/COCO_train2014_000000000009.jpg",
        "question": "What is in the box?",
        "answer": "food",
        "answers": ["food"] * 10,
        "question_type": "what is",
        "answer_type": "other",
        "picture": "9",
        "split": "train",
    }
    assert rows["42000"]["split"] == "validation" and rows["1000"]["split"] == "test" and "answer" not in rows["1000"]


def test_test_dev_alone(miniature, read):
    root = miniature("vqa_v2")
    for part in ("train2014", "val2014", "test2015"):
        (root / f"v2_OpenEndedQuestions_mscoco_{part}_questions.json").unlink()
    rows, _ = read("vqa_v2", root)
    assert rows["1000"]["split"] == "test" and rows["1000"]["image"].name == "COCO_test2015_000000000001.jpg"


def test_pictures_in_a_folder_and_a_part_without_them(miniature, read):
    root = miniature("vqa_v2")
    (root / "images").mkdir()
    (root / "train2014").rename(root / "images/train2014")
    shutil.rmtree(root / "test2015")
    rows, _ = read("vqa_v2", root, findings=2)
    assert list(rows) == ["9000", "9001", "42000"]


def test_missing_parts(miniature):
    root = miniature("vqa_v2")
    read = layout("vqa_v2").read
    (root / "v2_mscoco_val2014_annotations.json").unlink()
    with pytest.raises(InputError, match="the file of answers to val2014 is missing") as caught:
        read(root)
    assert caught.value.where == str(root / "v2_mscoco_val2014_annotations.json")
    for folder in ("train2014", "val2014", "test2015"):
        shutil.rmtree(root / folder)
    with pytest.raises(InputError, match="the folder of pictures is missing"):
        read(root)
    for file in root.glob("*questions.json"):
        file.unlink()
    with pytest.raises(InputError, match="a file of questions is missing"):
        read(root)


def test_another_file_under_the_name(miniature, make):
    root = miniature("vqa_v2")
    make.text(root / "v2_mscoco_train2014_annotations.json", {"answers": []})
    with pytest.raises(InputError, match="no list of objects 'annotations'"):
        list(layout("vqa_v2").read(root).rows())


def test_rejects(miniature, make, read):
    root = miniature("vqa_v2")
    questions, answers = root / "v2_OpenEndedQuestions_mscoco_train2014_questions.json", root / "v2_mscoco_train2014_annotations.json"
    asked, said = json.loads(questions.read_text()), json.loads(answers.read_text())
    asked["questions"] += [
        {"question_id": 9000, "image_id": 9, "question": "Again?"},
        {"question_id": 9002, "image_id": 9, "question": "Unanswered?"},
        {"question_id": 77000, "image_id": 77, "question": "No picture?"},
        {"question_id": 9003, "image_id": 9, "question": "Another picture?"},
        {"question_id": 9004, "image_id": 9},
    ]
    said["annotations"] += [make.vqa_answer(77000, 77, "no"), make.vqa_answer(9003, 25, "no"), make.vqa_answer(9005, 9, "unasked")]
    said["annotations"] += [make.vqa_answer(9000, 9, "twice"), {"question_id": 9006}]
    questions.write_text(json.dumps(asked))
    answers.write_text(json.dumps(said))
    rows, rejects = read("vqa_v2", root, findings=1)
    reasons = dict(rejects)
    assert len(rows) == 5 and len(rejects) == 8 and rows["9000"]["answer"] == "food" and rows["9000"]["question"].startswith("What")
    assert "earlier row" in reasons["9000"] and "no answer to it" in reasons["9002"] and "is not there" in reasons["77000"]
    assert "about picture 9, its answer about 25" in reasons["9003"] and "does not ask it" in reasons["9005"]
    assert "no 'question'" in reasons[f"{questions.name} question 6"] and "answered before" in reasons[f"{answers.name} annotation 5"]
    assert f"{answers.name} annotation 6" in reasons
