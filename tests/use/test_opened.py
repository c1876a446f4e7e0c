"""A run folder, opened again without its recipe or data."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import triptych
from triptych.base.errors import BadValue, InputError


@pytest.fixture
def moved(tiny_run, tmp_path) -> Path:
    """The run alone, in another place."""
    shutil.copytree(tiny_run.folder.path, tmp_path / "moved")
    return tmp_path / "moved"


def test_it_answers_as_before_in_another_place(tiny_run, moved):
    row = {"text": "a bright sharp whistle, number 3"}
    assert triptych.open_run(moved).predict(**row).tasks == tiny_run.predict(**row).tasks


def test_two_predictions_of_one_file_are_identical(tiny_run, tiny_table):
    picture, sound = tiny_table.parent / "pictures/1.png", tiny_table.parent / "sounds/1.wav"
    first = tiny_run.predict(image=picture, audio=sound)
    assert tiny_run.predict(image=picture, audio=sound) == first
    assert triptych.open_run(tiny_run.folder.path).predict(image=picture, audio=sound) == first


def test_rows_together_equal_rows_alone(tiny_run, tiny_table):
    folder = tiny_table.parent
    rows = [{"image": folder / "pictures/1.png"}, {"audio": folder / "sounds/2.wav", "text": "a tone"}, {"text": "x"}]
    for row, answer in zip(rows, tiny_run.predict_rows(rows), strict=True):
        alone = tiny_run.predict(**row)
        assert alone["label"]["said"] == answer["label"]["said"]
        assert alone["label"]["probabilities"] == pytest.approx(answer["label"]["probabilities"], abs=1e-5)


def test_path_bytes_array_and_picture_are_the_same_thing(tiny_run, tiny_table):
    path = tiny_table.parent / "pictures/1.png"
    picture = Image.open(path)
    answers = [
        tiny_run.predict(image=value)["label"]
        for value in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), np.array(picture), picture)
    ]
    picture.close()
    assert all(answer == answers[0] for answer in answers)


def test_neighbours_come_from_the_runs_own_gallery(tiny_run):
    nearest = tiny_run.predict(text="a deep dark tone")["match"]["nearest"]["text"]
    assert set(nearest) == {"image", "audio"}
    assert [hit["similarity"] for hit in nearest["image"]] == sorted((hit["similarity"] for hit in nearest["image"]), reverse=True)
    assert {hit["label"] for hit in nearest["image"]} <= {"low", "high"}


@pytest.mark.parametrize(
    ("row", "message"), [({"photo": "a.png"}, "unknown input 'photo'"), ({}, "no input at all"), ({"text": None}, "no input at all")]
)
def test_wrong_rows_are_answered_with_the_known_inputs(tiny_run, row, message):
    with pytest.raises(InputError, match=message) as caught:
        tiny_run.predict(**row)
    assert "image" in str(caught.value)


def test_an_unreadable_file_is_named(tiny_run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(BadValue, match=r"bad\.png"):
        tiny_run.predict(image=tmp_path / "bad.png")


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json", "scores.json"])
def test_a_run_without_a_file_says_which(moved, name):
    (moved / name).unlink()
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        triptych.open_run(moved)


def weights(folder: Path) -> list[Path]:
    weights = sorted((folder / "model").rglob("*.safetensors"))  # states of the training hold their own checksums
    return weights + sorted((folder / "inputs").rglob("*.json")) + sorted(folder.rglob("part.json"))


def test_every_file_that_answers_depend_on_is_watched(moved):
    assert len(weights(moved)) >= 10
    for path in weights(moved):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged in (bytes(flipped), whole[: len(whole) // 2]):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=path.name.replace(".", r"\.")):
                triptych.open_run(moved).predict(text="a")
        path.unlink()
        with pytest.raises(InputError, match=path.name.replace(".", r"\.")):
            triptych.open_run(moved).predict(text="a")
        path.write_bytes(whole)


def test_a_newer_or_unfinished_run_is_refused(moved):
    about = (moved / "run.json").read_text()
    (moved / "run.json").write_text(about.replace('"format": 1', '"format": 2').replace('"cost"', '"costs"'))  # not "damaged"
    with pytest.raises(InputError, match="newer triptych"):
        triptych.open_run(moved)
    (moved / "run.json").write_text(about.replace('"status": "done"', '"status": "failed"'))
    with pytest.raises(InputError, match="not finished"):
        triptych.open_run(moved)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        triptych.open_run(tmp_path)
    with pytest.raises(InputError, match="there is no run"):
        triptych.open_run(tmp_path / "none")
