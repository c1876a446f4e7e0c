"""Each published data set in miniature, as its publisher lays it out, with real media inside."""

from __future__ import annotations

import gzip
import json
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from triptych.data.layouts import layout
from triptych.data.rows import Reject, Row


def picture(path: Path, shade: int = 90) -> None:
    """A small JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (shade, 40, 200 - shade)).save(path)


def sound(path: Path, rate: int = 16000) -> None:
    """A twentieth of a second of WAV, FLAC or MP3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(rate // 20) / 9), rate)


def video(path: Path) -> None:
    """Eight frames of 32 x 32."""
    av = pytest.importorskip("av")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4" if path.suffix == ".mp4" else "libvpx", rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for shade in range(0, 160, 20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def text(path: Path, content: str | dict[str, Any]) -> None:
    """A text file, or an object as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")


def idx(path: Path, magic: int, shape: tuple[int, ...], body: bytes) -> None:
    """An idx file, packed where it is called .gz."""
    content = struct.pack(f">{1 + len(shape)}I", magic, *shape) + body
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist(root: Path) -> None:
    for side, count, mark in (("train", 3, ""), ("t10k", 2, ".gz")):
        idx(root / f"{side}-images-idx3-ubyte{mark}", 2051, (count, 4, 5), bytes(range(20 * count)))
        idx(root / f"{side}-labels-idx1-ubyte{mark}", 2049, (count,), bytes([7, 0, 4][:count]))


COCO_NAMES = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 18, "name": "dog", "supercategory": "animal"}]


def coco(root: Path) -> None:
    """Two pictures of train2017, one of val2017; the dog's picture has a crowd too."""
    dog, street, room = ({"id": number, "file_name": f"{number:012d}.jpg", "height": 8, "width": 12} for number in (9, 25, 42))
    said = {
        "train": [(100, 9, "A dog runs ."), (101, 9, "Ein Hund läuft"), (102, 25, "An empty street.\n")],
        "val": [(103, 42, "A room.")],
    }
    drawn = [(7, 9, 18, [1.5, 2, 4, 3.25], 0), (8, 9, 1, [0, 0, 12, 8], 1), (9, 25, 1, [3, 1, 2, 2], 0)]
    for side, pictures in (("train", [dog, street]), ("val", [room])):
        captions = [{"id": number, "image_id": image, "caption": words} for number, image, words in said[side]]
        text(root / f"annotations/captions_{side}2017.json", {"info": {}, "images": pictures, "licenses": [], "annotations": captions})
        for image in pictures:
            picture(root / f"{side}2017" / image["file_name"])
    boxes = [
        {"id": number, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": crowd, "area": 1.0, "segmentation": []}
        for number, image, kind, box, crowd in drawn
    ]
    text(root / "annotations/instances_train2017.json", {"images": [dog, street], "annotations": boxes, "categories": COCO_NAMES})


def flickr30k(root: Path) -> None:
    lines = [
        "1000092795.jpg#0\tTwo young guys with shaggy hair .",
        "1000092795.jpg#1\tTwo young , White males .",
        '10002456.jpg#0\tMen in " hard " hats .',
    ]
    text(root / "results_20130124.token", "\n".join(lines) + "\n")
    for name in ("1000092795.jpg", "10002456.jpg"):
        picture(root / "flickr30k-images" / name)


def open_images(root: Path) -> None:
    text(root / "class-descriptions-boxable.csv", '/m/011k07,Tortoise\n/m/01g317,Person\n/m/05ctyq,"Ball, round"\n')
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    boxes = [
        "000002b66c9c498e,xclick,/m/01g317,1,0.0125,0.1953,0.1484,0.5875,0,1,0,0,0",
        "000002b66c9c498e,xclick,/m/01g317,1,0.5,0.75,0.25,1,0,0,1,0,0",
        "00000b4dcff7f799,activemil,/m/011k07,1,0,1,0,1,0,0,0,0,0",
    ]
    text(root / "train-annotations-bbox.csv", header + "\n".join(boxes) + "\n")
    labels = [
        "000002b66c9c498e,verification,/m/01g317,1",
        "000002b66c9c498e,verification,/m/05ctyq,0",
        "00001a21632de752,crowdsource-verification,/m/05ctyq,1",
        "00001a21632de752,crowdsource-verification,/m/0unnamed,1",
    ]
    label_header = "ImageID,Source,LabelName,Confidence\n"
    text(root / "train-annotations-human-imagelabels-boxable.csv", label_header + "\n".join(labels) + "\n")
    text(root / "validation-annotations-human-imagelabels-boxable.csv", label_header + "0001eeaf4aed83f9,verification,/m/011k07,1\n")
    for name in ("train/000002b66c9c498e", "train/00000b4dcff7f799", "train/00001a21632de752", "validation/0001eeaf4aed83f9"):
        picture(root / f"{name}.jpg")


def librispeech(root: Path) -> None:
    said = {
        "train-clean-100/103/1240": ["CHAPTER ONE MISSUS RACHEL LYNDE IS SURPRISED", "THAT HAD ITS SOURCE AWAY BACK"],
        "dev-clean/84/121123": ["GO DO YOU HEAR"],
        "test-other/367/130732": ["LOBSTERS AND LOBSTERS"],
    }
    for chapter, lines in said.items():
        stem = "-".join(chapter.split("/")[1:])
        text(root / chapter / f"{stem}.trans.txt", "".join(f"{stem}-{place:04d} {words}\n" for place, words in enumerate(lines)))
        for place in range(len(lines)):
            sound(root / chapter / f"{stem}-{place:04d}.flac")
    comment = "; Some pipe(|) separated metadata\n;\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
    people = ["84   | F | dev-clean        |  8.02 | Christie Nowak", "103  | F | train-clean-100  | 25.19 | Karen | Savage"]
    text(root / "SPEAKERS.TXT", comment + "\n".join(people) + "\n")


VOICE_HEADER = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment\n"
)


def voice_line(speaker: str, number: int, sentence: str) -> str:
    return f"{speaker}\tcommon_voice_en_{number}.mp3\t5f{number}\t{sentence}\t\t2\t0\ttwenties\tfemale_feminine\t\t\ten\t\n"


def common_voice(root: Path) -> None:
    lines = {
        "train": voice_line("anna", 1, "The cat sat.") + voice_line("anna", 2, '"He said ""no""."'),
        "dev": voice_line("ben", 3, '"Quoted."'),
        "test": voice_line("cleo", 4, 'A 5" pipe'),
    }
    for part, content in lines.items():
        text(root / f"{part}.tsv", VOICE_HEADER + content)
    text(root / "validated.tsv", VOICE_HEADER + "".join(lines.values()))
    for number in range(1, 5):
        sound(root / f"clips/common_voice_en_{number}.mp3")


def segments(*lines: str) -> str:
    counts = f"# num_ytids={len(lines)}, num_segs={len(lines)}, num_unique_labels=3, num_positive_labels=5\n"
    header = f"# Segments csv created Sun Mar  5 10:54:25 2017\n{counts}# YTID, start_seconds, end_seconds, positive_labels\n"
    return header + "".join(f"{line}\n" for line in lines)


def audioset(root: Path) -> None:
    names = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n2,/m/0ytgt,"Child speech, kid speaking"\n72,/m/068hy,"Domestic animals, pets"\n'
    text(root / "class_labels_indices.csv", names)
    text(root / "eval_segments.csv", segments('--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/0ytgt"', '-0p7hKXZ1ww, 30.000, 40.000, "/m/09x0r"'))
    text(
        root / "balanced_train_segments.csv", segments('Zcla0H6ayn4, 20.000, 30.000, "/m/09x0r"', 'abc_DEF-123, 1.500, 11.500, "/m/068hy"')
    )
    for name in ("eval/--4gqARaEJE.wav", "eval/Y-0p7hKXZ1ww.wav", "train/Zcla0H6ayn4_20.000.flac", "train/abc_DEF-123_1500.wav"):
        sound(root / "audio" / name)


def howto100m(root: Path) -> None:
    lines = ["nVbIUDjzWY4,Cars & Other Vehicles,Motorcycles,27,52907", "CTPAZ2euJ2Q,Food and Entertaining,,1,1159"]
    text(root / "HowTo100M_v1.csv", "video_id,category_1,category_2,rank,task_id\n" + "\n".join(lines) + "\n")
    captions = {
        "nVbIUDjzWY4": {"start": [0.25, 0.5], "end": [0.5, 1.0], "text": ["hello there", 'über {braces} "and" [quotes]']},
        "CTPAZ2euJ2Q": {"start": [0], "end": [1], "text": ["chop it"]},
    }
    text(root / "caption.json", captions)
    video(root / "videos/nVbIUDjzWY4.mp4")
    video(root / "videos/CTPAZ2euJ2Q.webm")


def esc50(root: Path) -> None:
    lines = ["1-100032-A-0.wav,1,0,dog,True,100032,A", "4-17-B-14.wav,4,14,chirping_birds,False,17,B", "5-9032-A-0.wav,5,0,dog,True,9032,A"]
    text(root / "meta/esc50.csv", "filename,fold,target,category,esc10,src_file,take\n" + "\n".join(lines) + "\n")
    for line in lines:
        sound(root / "audio" / line.split(",")[0], rate=44100)


def vqa_v2(root: Path) -> None:
    asked = {
        "train2014": [(9000, 9, "What is in the box?"), (9001, 9, "Is it lunch?")],
        "val2014": [(42000, 42, "How many dogs?")],
        "test2015": [(1000, 1, "Where is he?"), (1001, 1, "Why?")],
        "test-dev2015": [(1000, 1, "Where is he?")],
    }
    said = {9000: "food", 9001: "yes", 42000: "2"}
    for part, questions in asked.items():
        listed = [{"image_id": image, "question": words, "question_id": number} for number, image, words in questions]
        text(root / f"v2_OpenEndedQuestions_mscoco_{part}_questions.json", {"info": {}, "data_subtype": part, "questions": listed})
        folder = part.replace("-dev", "")
        for _, image, _ in questions:
            picture(root / folder / f"COCO_{folder}_{image:012d}.jpg")
        if not part.startswith("test"):
            text(root / f"v2_mscoco_{part}_annotations.json", {"annotations": [vqa_answer(n, i, said[n]) for n, i, _ in questions]})


def vqa_answer(number: int, image: int, said: str) -> dict[str, Any]:
    people = [{"answer": said, "answer_confidence": "yes", "answer_id": person} for person in range(1, 11)]
    types = {"question_type": "what is", "answer_type": "other"}
    return {"question_id": number, "image_id": image, "multiple_choice_answer": said, "answers": people, **types}


def songs(root: Path) -> None:
    for name in ("happy/ABBA - Waterloo.mp3", "happy/03 - Queen - Don't Stop - Live.mp3", "sad/rain.wav", "suspense/x.flac", "epic/y.wav"):
        sound(root / name)


BUILDERS = [mnist, coco, flickr30k, open_images, librispeech, common_voice, audioset, howto100m, esc50, vqa_v2, songs]


@pytest.fixture
def miniature(tmp_path) -> Callable[[str], Path]:
    """Write a data set in miniature and give its folder."""
    builders = {builder.__name__: builder for builder in BUILDERS}

    def build(name: str) -> Path:
        root = tmp_path / f"{name} data"
        builders[name](root)
        return root

    return build


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of files, for what a test adds to a miniature."""
    makers = (picture, sound, video, text, idx, voice_line, segments, vqa_answer)
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})


@pytest.fixture
def read() -> Callable[..., tuple[dict[str, dict[str, Any]], list[tuple[str, str]]]]:
    """Read a folder with a layout: cells by id, and the rejects. It is read twice, and must say the same."""

    def both(name: str, root: Path, findings: int = 0):
        source = layout(name).read(root)
        found = list(source.rows())
        assert found == list(source.rows()), "the second reading differs from the first"
        assert len(source.findings) == findings, source.findings
        assert source.total in (None, len(found))
        rows = [each for each in found if isinstance(each, Row)]
        assert max(Counter(row.id for row in rows).values(), default=1) == 1, "an id stands twice"
        assert not any(cell is None or cell in ("", []) for row in rows for cell in row.cells.values())
        return {row.id: row.cells for row in rows}, [(each.id, each.reason) for each in found if isinstance(each, Reject)]

    return both
