from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout, layouts, recognised, within
from triptych.data.rows import Row
from triptych.data.sources import open_source
from triptych.data.sources.words import absolute
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
    assert f"coco:{coco}" in str(caught.value)
    columns = {name: {n for row in rows_of(f"{name}:{coco}") for n in row.cells} for name in ("coco", "vqa_v2")}
    assert "caption" in columns["coco"] and "question" in columns["vqa_v2"] and "question" not in columns["coco"]
    assert absolute("vqa_v2:both", coco) == f"vqa_v2:{coco / 'both'}"


@pytest.mark.parametrize(("name", "part"), [("common_voice", "clips"), ("esc50", "meta/esc50.csv")])
def test_what_is_missing_is_missed_by_its_name(miniature, name, part):
    """And not read as if it were something else: tables of any kind, a folder of one class."""
    root = miniature(name)
    (root / "meta/esc50-human.xlsx").write_bytes(b"PK") if name == "esc50" else (root / "validated.tsv").touch()
    shutil.rmtree(root / part) if part == "clips" else (root / part).unlink()
    assert recognised(root) is layout(name)
    with pytest.raises(InputError, match="is missing"):
        layout(name).read(root)


def rows_of(word: str | Path) -> list[Row]:
    return [row for row in open_source(Path(word), rooms()).rows() if isinstance(row, Row)]


def test_one_folder_further_in_is_found_and_of_several_none_is_guessed(miniature, tmp_path):
    """As archives unpack: `cv-corpus-17.0/cy`, `ESC-50-master`."""
    outer = tmp_path / "corpus"
    shutil.copytree(miniature("common_voice"), outer / "cy")
    assert rows_of(outer) == rows_of(outer / "cy")
    assert open_source(outer, rooms()).findings[0] == "cy holds common_voice as it is published, and is read"
    shutil.copytree(outer / "cy", outer / "de")
    with pytest.raises(InputError, match="common_voice in cy, common_voice in de") as caught:
        open_source(outer, rooms())
    assert f"cy={outer / 'cy'} de={outer / 'de'}" in str(caught.value)


def test_moods_on_both_sides_of_a_split_are_classes(miniature, tmp_path):
    for side in ("train", "test"):
        shutil.copytree(miniature("songs"), tmp_path / "split" / side)
    assert within(tmp_path / "split") is None


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
    """The rooms' own readers take the cells as they come."""
    columns = {name: rooms()[name] for name in ("image", "audio", "video")}
    found = [row for row in layout(name).read(miniature(name)).rows() if set(row.cells) & set(columns)]
    assert found
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
