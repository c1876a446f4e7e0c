from __future__ import annotations

import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def test_rows(miniature, read):
    root = miniature("audioset")
    rows, rejects = read("audioset", root)
    assert list(rows) == ["Zcla0H6ayn4", "abc_DEF-123", "--4gqARaEJE", "-0p7hKXZ1ww"] and not rejects
    assert rows["--4gqARaEJE"] == {
        "audio": root / "audio/eval/--4gqARaEJE.wav",
        "labels": ["Domestic animals, pets", "Child speech, kid speaking"],
        "start_seconds": 0.0,
        "end_seconds": 10.0,
        "split": "test",
    }
    names = ["Zcla0H6ayn4_20.000.flac", "abc_DEF-123_1500.wav", "--4gqARaEJE.wav", "Y-0p7hKXZ1ww.wav"]
    assert [cells["audio"].name for cells in rows.values()] == names
    assert [cells["split"] for cells in rows.values()] == ["train", "train", "test", "test"]


@pytest.mark.parametrize(
    "stem", ["Zcla0H6ayn4_20", "Zcla0H6ayn4_20.0", "Zcla0H6ayn4_20000_30000", "Zcla0H6ayn4_20.000_30.000", "YZcla0H6ayn4"]
)
def test_what_people_call_their_clips(miniature, read, stem):
    root = miniature("audioset")
    (root / "audio/train/Zcla0H6ayn4_20.000.flac").rename(root / f"{stem}.flac")
    assert read("audioset", root)[0]["Zcla0H6ayn4"]["audio"] == root / f"{stem}.flac"


def test_missing_parts(miniature):
    root = miniature("audioset")
    read = layout("audioset").read
    shutil.rmtree(root / "audio")
    with pytest.raises(InputError, match="a folder of clips is missing"):
        read(root)
    (root / "class_labels_indices.csv").unlink()
    with pytest.raises(InputError, match="the file of classes is missing") as caught:
        read(root)
    assert caught.value.where == str(root / "class_labels_indices.csv")
    for file in root.glob("*_segments.csv"):
        file.unlink()
    with pytest.raises(InputError, match="a file of segments is missing"):
        read(root)


@pytest.mark.parametrize(
    ("name", "old", "says"),
    [
        ("eval_segments.csv", "start_seconds", "# YTID, other, end_seconds, positive_labels"),
        ("class_labels_indices.csv", "mid", "no column 'mid'"),
    ],
)
def test_another_header(miniature, name, old, says):
    root = miniature("audioset")
    (root / name).write_text((root / name).read_text().replace(old, "other", 1))
    with pytest.raises(InputError) as caught:
        layout("audioset").read(root)
    assert says in str(caught.value) and "(expected)" in caught.value.known[0] and str(root / name) in caught.value.where


def test_rejects(miniature, read):
    root = miniature("audioset")
    with (root / "eval_segments.csv").open("a") as file:
        file.write('--4gqARaEJE, 50.000, 60.000, "/m/09x0r"\nnoclip00000, 0.000, 10.000, "/m/09x0r"\n')
        file.write('unknown0000, 0.000, 10.000, "/m/09x0r,/m/0none"\nbackwards00, 10.000, 0.000, "/m/09x0r"\nshort\n')
        file.write('../../x, 0.000, 10.000, "/m/09x0r"\n')
    rows, rejects = read("audioset", root)
    reasons = dict(rejects)
    assert len(rows) == 4 and len(rejects) == 6 and rows["--4gqARaEJE"]["start_seconds"] == 0
    assert "earlier row" in reasons["--4gqARaEJE"] and "no audio file is called noclip00000" in reasons["noclip00000"]
    assert "no class /m/0none" in reasons["unknown0000"] and "is none" in reasons["backwards00"]
    assert "1 cells where 4" in reasons["eval_segments.csv line 10"] and "no audio file" in reasons["../../x"]
