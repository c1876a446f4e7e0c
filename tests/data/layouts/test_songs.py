from __future__ import annotations

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout


def test_rows(miniature, read):
    root = miniature("songs")
    rows, rejects = read("songs", root)
    assert (
        list(rows) == ["epic/y", "happy/03 - Queen - Don't Stop - Live", "happy/ABBA - Waterloo", "sad/rain", "suspense/x"] and not rejects
    )
    file = root / "happy/ABBA - Waterloo.mp3"
    assert rows["happy/ABBA - Waterloo"] == {"audio": file, "label": "happy", "artist": "ABBA", "title": "Waterloo"}
    assert rows["happy/03 - Queen - Don't Stop - Live"]["title"] == "Don't Stop - Live"
    assert rows["sad/rain"] == {"audio": root / "sad/rain.wav", "label": "sad"} and layout("songs").GROUP == "artist"


@pytest.mark.parametrize(
    ("name", "artist", "title"),
    [
        ("01. Adele - Hello", "Adele", "Hello"),
        ("50 Cent - In da Club", "50 Cent", "In da Club"),
        ("10 - Pearl Jam", "10", "Pearl Jam"),
        ("a-ha - Take on Me", "a-ha", "Take on Me"),
        (" - Untitled", None, None),
        ("a-ha", None, None),
    ],
)
def test_artist_and_title(tmp_path, make, read, name, artist, title):
    make.sound(tmp_path / f"Sad/{name}.wav")
    (cells,) = read("songs", tmp_path, findings=1)[0].values()
    assert (cells.get("artist"), cells.get("title"), cells["label"]) == (artist, title, "sad")


def test_missing_parts(tmp_path, make):
    with pytest.raises(InputError, match="no folder of a mood") as caught:
        layout("songs").read(tmp_path)
    assert caught.value.known == ["epic", "happy", "sad", "suspense"]
    make.text(tmp_path / "happy/list.txt", "x")
    with pytest.raises(InputError, match="no mood's folder holds a song"):
        layout("songs").read(tmp_path)


def test_what_is_left_aside_is_said(miniature, make, read):
    root = miniature("songs")
    make.text(root / "happy/cover.txt", "x")
    (root / "epic/y.wav").unlink()
    assert len(read("songs", root, findings=2)[0]) == 4
    says = " ".join(layout("songs").read(root).findings)
    assert "the folder epic holds no song" in says and "it is no song: happy/cover.txt" in says


def test_rejects(miniature, make, read):
    root = miniature("songs")
    make.sound(root / "sad/rain.flac")
    (root / "sad/gone.mp3").symlink_to(root / "nowhere.mp3")
    rows, rejects = read("songs", root)
    assert rows["sad/rain"]["audio"].suffix == ".flac" and len(rows) == 5
    assert dict(rejects)["sad/rain"] == "rain.wav is the song rain.flac in another format; the first is kept"
    assert "is not a file" in dict(rejects)["sad/gone"]
