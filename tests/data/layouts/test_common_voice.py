from __future__ import annotations

import shutil

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def test_rows(miniature, read):
    root = miniature("common_voice")
    rows, rejects = read("common_voice", root)
    assert list(rows) == [f"common_voice_en_{number}" for number in range(1, 5)] and not rejects
    assert rows["common_voice_en_1"] == {
        "audio": root / "clips/common_voice_en_1.mp3",
        "sentence": "The cat sat.",
        "speaker": "anna",
        "sentence_id": "5f1",
        "up_votes": 2,
        "down_votes": 0,
        "age": "twenties",
        "gender": "female_feminine",
        "locale": "en",
        "split": "train",
    }
    assert [cells["sentence"] for cells in rows.values()][1:] == ['He said "no".', '"Quoted."', 'A 5" pipe']
    assert [cells["split"] for cells in rows.values()] == ["train", "train", "validation", "test"]


def test_validated_alone_has_no_split(miniature, read):
    root = miniature("common_voice")
    for part in ("train", "dev", "test"):
        (root / f"{part}.tsv").unlink()
    rows, _ = read("common_voice", root, findings=1)
    assert len(rows) == 4 and not any("split" in cells for cells in rows.values())


def test_the_oldest_release(tmp_path, make, read):
    make.text(
        tmp_path / "train.tsv", "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\nanna\tabc\tHi.\t2\t1\t\t\tus\n"
    )
    make.sound(tmp_path / "clips/abc.mp3")
    rows, _ = read("common_voice", tmp_path, findings=1)
    assert rows["abc"]["audio"] == tmp_path / "clips/abc.mp3" and rows["abc"]["accent"] == "us"


def test_missing_parts(miniature):
    root = miniature("common_voice")
    shutil.rmtree(root / "clips")
    with pytest.raises(InputError, match="the folder of clips is missing") as caught:
        layout("common_voice").read(root)
    assert caught.value.where == str(root / "clips")
    for file in root.glob("*.tsv"):
        file.unlink()
    with pytest.raises(InputError, match="a table of clips is missing"):
        layout("common_voice").read(root)


def test_another_header(miniature):
    root = miniature("common_voice")
    (root / "dev.tsv").write_text((root / "dev.tsv").read_text().replace("sentence\t", "text\t"))
    with pytest.raises(InputError, match="no column 'sentence'") as caught:
        layout("common_voice").read(root)
    assert "dev.tsv, line 1" in caught.value.where and caught.value.known == ["client_id\tpath\tsentence (expected)"]


def test_rejects(miniature, make, read):
    root = miniature("common_voice")
    with (root / "test.tsv").open("a") as file:
        file.write(make.voice_line("dora", 1, "In train too.") + make.voice_line("dora", 9, "No clip.") + make.voice_line("dora", 3, ""))
        file.write("dora\tx.mp3\n")
    rows, rejects = read("common_voice", root)
    reasons = dict(rejects)
    assert len(rows) == 4 and len(rejects) == 4 and rows["common_voice_en_1"]["split"] == "train"
    assert "earlier row" in reasons["common_voice_en_1"] and "common_voice_en_9.mp3 is not there" in reasons["common_voice_en_9"]
    assert "sentence in test.tsv is empty" in reasons["common_voice_en_3"] and "2 cells where 13" in reasons["test.tsv line 6"]
