from __future__ import annotations

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout, recognised


def test_rows(miniature, read):
    root = miniature("librispeech")
    rows, rejects = read("librispeech", root)
    assert list(rows) == ["84-121123-0000", "367-130732-0000", "103-1240-0000", "103-1240-0001"] and not rejects
    assert rows["103-1240-0001"] == {
        "audio": root / "train-clean-100/103/1240/103-1240-0001.flac",
        "text": "THAT HAD ITS SOURCE AWAY BACK",
        "speaker": "103",
        "chapter": "1240",
        "sex": "F",
        "set": "train-clean-100",
        "split": "train",
    }
    assert rows["84-121123-0000"]["split"] == "validation" and rows["367-130732-0000"]["split"] == "test"
    assert "sex" not in rows["367-130732-0000"] and layout("librispeech").GROUP == "speaker"


def test_the_archives_folder_and_no_list_of_speakers(miniature, tmp_path, read):
    miniature("librispeech").rename(tmp_path / "LibriSpeech")
    (tmp_path / "LibriSpeech/SPEAKERS.TXT").unlink()
    assert recognised(tmp_path) is layout("librispeech")
    rows, _ = read("librispeech", tmp_path, findings=1)
    assert len(rows) == 4 and not any("sex" in cells for cells in rows.values())


def test_missing_parts(tmp_path, make):
    with pytest.raises(InputError, match="a set is missing") as caught:
        layout("librispeech").read(tmp_path)
    assert "train-clean-100" in caught.value.where and "dev-other" in caught.value.known
    make.sound(tmp_path / "dev-clean/a.flac")
    with pytest.raises(InputError, match="a chapter with its text is missing"):
        layout("librispeech").read(tmp_path)


def test_another_header(miniature, make):
    root = miniature("librispeech")
    make.text(root / "SPEAKERS.TXT", ";ID | NAME\n84 | x\n")
    with pytest.raises(InputError, match=r"the header is ';ID \| NAME'") as caught:
        layout("librispeech").read(root)
    assert ";ID  |SEX| SUBSET           |MINUTES| NAME (expected)" in caught.value.known


def test_rejects(miniature, make, read):
    root = miniature("librispeech")
    chapter = root / "train-clean-100/103/1240"
    with (chapter / "103-1240.trans.txt").open("a") as file:
        file.write("103-1240-0002 NO FILE\n103-1240-0000 AGAIN\n84-121123-0009 NOT HERE\n103-1240-0003\n")
    make.sound(chapter / "103-1240-0004.flac")
    make.sound(root / "dev-clean/84/99/84-99-0000.flac")
    rows, rejects = read("librispeech", root)
    reasons = dict(rejects)
    assert len(rows) == 4 and len(rejects) == 6 and rows["103-1240-0000"]["text"].startswith("CHAPTER")
    assert "103-1240-0002.flac is not there" in reasons["103-1240-0002"] and "earlier row" in reasons["103-1240-0000"]
    assert "stands in the file of speaker 103" in reasons["84-121123-0009"] and reasons["103-1240-0003"] == "the text is empty"
    assert "103-1240.trans.txt has no text of it" in reasons["103-1240-0004"] and "84-99.trans.txt has no text" in reasons["84-99-0000"]
