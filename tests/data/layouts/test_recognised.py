from __future__ import annotations

import os
import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout, layouts, recognised
from triptych.modalities import rooms

NAMES = sorted(layouts())


@pytest.mark.parametrize("name", NAMES)
def test_each_is_recognised_as_itself_and_nothing_else(miniature, name):
    root = miniature(name)
    assert [each.NAME for each in layouts().values() if each.matches(root)] == [name]
    assert recognised(root) is layout(name)


def test_a_folder_of_classes_a_file_and_nothing_are_none(tmp_path, make):
    for label in ("cats", "dogs", "happy"):
        make.picture(tmp_path / "data" / label / "a.png")
    make.sound(tmp_path / "data/sad/a.wav")
    make.text(tmp_path / "data/labels.csv", "file,label\na,b\n")
    assert recognised(tmp_path / "data") is None
    assert recognised(tmp_path / "data/labels.csv") is None
    assert recognised(tmp_path / "none") is None


def test_pictures_in_folders_of_moods_are_no_songs(tmp_path, make):
    make.picture(tmp_path / "happy/a.png")
    make.picture(tmp_path / "sad/a.png")
    assert recognised(tmp_path) is None


def test_two_data_sets_in_one_folder_are_not_guessed(miniature):
    coco, questions = miniature("coco"), miniature("vqa_v2")
    shutil.copytree(questions, coco, dirs_exist_ok=True)
    with pytest.raises(InputError) as caught:
        recognised(coco)
    assert "more than one" in str(caught.value) and "coco, vqa_v2" in str(caught.value)


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="did you mean 'librispeech'") as caught:
        layout("libri_speech")
    assert all(name in caught.value.known for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_is(name):
    found = layout(name)
    assert found.__doc__ and name == found.NAME and (found.GROUP is None or isinstance(found.GROUP, str))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_told_what_should_be_there(tmp_path, name):
    with pytest.raises(InputError) as caught:
        layout(name).read(tmp_path)
    assert str(tmp_path) in caught.value.where and caught.value.fix


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_can_be_decoded(miniature, name):
    """The rooms' own readers take the cells as they come; a span of a video has no room yet."""
    columns = {"image": rooms()["image"], "audio": rooms()["audio"]}
    found = [row for row in layout(name).read(miniature(name)).rows() if set(row.cells) & set(columns)]
    assert found or name == "howto100m"
    for row in found[:2]:
        for column in set(row.cells) & set(columns):
            columns[column].read(row.cells[column])


def test_names_that_no_file_can_have_cost_their_row(miniature, read):
    root = miniature("esc50")
    with (root / "meta/esc50.csv").open("a") as file:
        file.write(f"{'x' * 5000}.wav,1,0,dog,True,1,A\n,1,0,dog,True,1,A\n")
    rows, rejects = read("esc50", root)
    assert len(rows) == 3 and len(rejects) == 2


def test_half_a_character_can_be_written(miniature, read):
    root = miniature("howto100m")
    text = (root / "caption.json").read_text()
    (root / "caption.json").write_text(text.replace("hello there", r"hello \ud83d"))
    said = read("howto100m", root)[0]["nVbIUDjzWY4-0"]["text"]
    assert said == "hello ?" and said.encode()


def test_media_behind_a_link_and_a_loop_of_links(miniature, tmp_path, read):
    root = miniature("audioset")
    (root / "audio").rename(tmp_path / "disk")
    (root / "audio").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk/loop").symlink_to(root, target_is_directory=True)
    assert len(read("audioset", root)[0]) == 4


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may read everything")
def test_a_locked_folder_is_not_called_missing(miniature):
    root = miniature("coco")
    (root / "annotations").chmod(0)
    try:
        with pytest.raises(InputError, match="cannot look into a folder"):
            layout("coco").read(root)
    finally:
        (root / "annotations").chmod(0o755)
