"""Every part of every published layout, lost or damaged in turn: an error that names it, or rows with what is lost told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from triptych.base.errors import InputError
from triptych.data.layouts import layout, layouts
from triptych.data.rows import Reject, Row

MEDIA = {".png", ".jpg", ".wav", ".flac", ".mp3", ".mp4", ".webm"}


def gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def a_web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html>\n<html><body>404, not found</body></html>\n")


def headless(path: Path) -> None:
    path.write_bytes(path.read_bytes().partition(b"\n")[2])


def another_header(path: Path) -> None:
    path.write_bytes(b"one,two,three\n" + path.read_bytes().partition(b"\n")[2])


def doubled(path: Path) -> None:
    """Every line, and so every id, twice; of JSON, two objects in one file."""
    path.write_bytes(path.read_bytes() * 2)


def western(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"e", b"\xe9"))


WAYS = [gone, emptied, halved, binary, a_web_page, headless, another_header, doubled, western]


OPTIONAL = {
    "audioset": ("balanced_train_segments.csv", "eval_segments.csv"),
    "coco": ("annotations/captions_train2017.json", "annotations/captions_val2017.json"),
    "librispeech": ("train-clean-100", "dev-clean", "test-other"),
    "open_images": ("train-annotations-", "validation-annotations-"),
    "songs": ("",),
    "vqa_v2": ("v2_OpenEndedQuestions_mscoco_", "v2_mscoco_"),
}
"""What need not be there: a side, a set, a kind of annotation that was never fetched, a song. Its absence is no damage."""


def parts(root: Path) -> list[Path]:
    """Every folder and file, one media file of each folder."""
    found: list[Path] = []
    for path in sorted(root.rglob("*")):
        if path.is_dir() or path.suffix not in MEDIA or not any(p.parent == path.parent and p.suffix in MEDIA for p in found):
            found.append(path)
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", layouts())
def test_nothing_is_lost_in_silence(miniature, tmp_path, name, way):
    root = miniature(name)
    before = list(layout(name).read(root).rows())
    for place in parts(root):
        inside = place.relative_to(root).as_posix()
        if place.is_dir() if way is not gone else inside.startswith(OPTIONAL.get(name, ("//",))):
            continue
        if name == "flickr30k" and way is headless:  # its file has no header: a line less is a line less
            continue
        copy = tmp_path / "broken"
        shutil.copytree(root, copy)
        way(copy / place.relative_to(root))
        where = f"{place.relative_to(root)} {way.__name__}"
        try:
            source = layout(name).read(copy)
            found = list(source.rows())
        except InputError as problem:
            assert problem.where and str(copy) in problem.where, where
        else:
            told = [*source.findings, *(each for each in found if isinstance(each, Reject))]
            kept = [each for each in found if isinstance(each, Row)]
            assert len(kept) >= len(before) or told, f"{where}: {len(before) - len(kept)} rows are lost and nothing is said"
            assert len({row.id for row in kept}) == len(kept), f"{where}: an id stands twice"
        shutil.rmtree(copy)


@pytest.mark.parametrize("name", [name for name in layouts() if name not in ("mnist", "songs")])
def test_an_id_that_comes_again_is_rejected_with_its_reason(miniature, name):
    """MNIST has no ids but places, and no two files of one folder have one name; a song in two formats is in `test_songs`."""
    root = miniature(name)
    before = list(layout(name).read(root).rows())
    table = {"audioset": "eval_segments.csv", "librispeech": "dev-clean/84/121123/84-121123.trans.txt", "esc50": "meta/esc50.csv"} | {
        "common_voice": "dev.tsv",
        "flickr30k": "results_20130124.token",
        "howto100m": "HowTo100M_v1.csv",
    }
    if name in table:
        path = root / table[name]
        path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    elif name == "open_images":  # the lines of one picture are joined: a picture of both sides is the id that comes again
        shutil.copytree(root / "train", root / "validation", dirs_exist_ok=True)
        shutil.copy(root / "train-annotations-bbox.csv", root / "validation-annotations-bbox.csv")
    else:
        again(root, {"coco": "annotations/captions_val2017.json", "vqa_v2": "v2_OpenEndedQuestions_mscoco_val2014_questions.json"}[name])
    found = list(layout(name).read(root).rows())
    rejects = [each for each in found if isinstance(each, Reject)]
    assert [row for row in found if isinstance(row, Row)] == before and rejects
    assert all("earlier row" in each.reason or "before" in each.reason or "twice" in each.reason for each in rejects)


def again(path: Path, name: str) -> None:
    import json

    tree = json.loads((path / name).read_text())
    listed = tree["annotations"] if "annotations" in tree else tree["questions"]
    listed.append(dict(listed[-1]))
    (path / name).write_text(json.dumps(tree))
