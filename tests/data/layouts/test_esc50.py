from __future__ import annotations

import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def test_rows(miniature, read):
    root = miniature("esc50")
    rows, rejects = read("esc50", root)
    assert list(rows) == ["1-100032-A-0", "4-17-B-14", "5-9032-A-0"] and not rejects
    assert rows["1-100032-A-0"] == {
        "audio": root / "audio/1-100032-A-0.wav",
        "category": "dog",
        "src_file": "100032",
        "take": "A",
        "fold": 1,
        "target": 0,
        "esc10": True,
        "split": "train",
    }
    assert [cells["split"] for cells in rows.values()] == ["train", "train", "test"] and layout("esc50").GROUP == "src_file"
    assert rows["4-17-B-14"]["esc10"] is False


@pytest.mark.parametrize(("gone", "part"), [("audio", "the folder of clips"), ("meta", "the table esc50.csv")])
def test_missing_parts(miniature, gone, part):
    root = miniature("esc50")
    shutil.rmtree(root / gone)
    with pytest.raises(InputError, match=f"ESC-50: {part} is missing") as caught:
        layout("esc50").read(root)
    assert caught.value.where.startswith(str(root / gone)) and caught.value.fix


def test_another_header(miniature):
    table = miniature("esc50") / "meta/esc50.csv"
    table.write_text(table.read_text().replace("src_file", "source"))
    with pytest.raises(InputError) as caught:
        layout("esc50").read(table.parents[1])
    assert "no column 'src_file'" in str(caught.value) and "filename,fold,target,category,esc10,src_file,take (expected)" in str(
        caught.value
    )
    assert str(table) in caught.value.where


def test_rejects(miniature, read):
    root = miniature("esc50")
    with (root / "meta/esc50.csv").open("a") as file:
        file.write("1-100032-A-0.wav,2,0,dog,True,1,A\nnone.wav,1,0,dog,True,1,A\n5-1-A-1.wav,6,0,dog,True,1,A\n")
        file.write("short.wav,1\n/etc/passwd,1,0,dog,True,1,A\n")
    rows, rejects = read("esc50", root)
    reasons = dict(rejects)
    assert len(rows) == 3 and len(rejects) == 5 and rows["1-100032-A-0"]["fold"] == 1
    assert "earlier row" in reasons["1-100032-A-0"] and "is not there" in reasons["none"] and "fold '6'" in reasons["5-1-A-1"]
    assert "2 cells where 7 are expected" in reasons["esc50.csv line 8"] and "no file name within" in reasons["passwd"]


def test_a_quote_that_is_never_closed_swallows_nothing(miniature):
    root = miniature("esc50")
    before = list(layout("esc50").read(root).rows())
    with (root / "meta/esc50.csv").open("a") as file:
        file.write('"x.wav,1,0,dog,True,1,A\ny.wav,1,0,dog,True,1,A\n')
    torn, follows = list(layout("esc50").read(root).rows())[len(before) :]
    assert "not closed" in torn.reason and "is not there" in follows.reason
