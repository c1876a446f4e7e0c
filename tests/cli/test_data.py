"""The verbs under `triptych data`, as a user types them, on a folder as users have them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture
def messy(tmp_path) -> Path:
    """Class folders with good files of three kinds, and all that lies about in such folders: 44 files that could be rows."""
    root = tmp_path / "messy"
    for place, name in enumerate(("cats", "dogs", "a class with spaces", "emoji 😀")):
        (root / name).mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(8 * place + number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(noise).save(root / name / f"{number}.png")
            (root / name / f"{number}.txt").write_text(f"a picture of {name}, number {number}")
            soundfile.write(root / name / f"{number}.wav", 0.3 * np.sin(np.arange(2000) / (5 + number + 8 * place)), 8000)
    picture = (root / "dogs/1.png").read_bytes()
    odd = {
        "cats/zero.png": b"",
        "dogs/cut.jpg": picture[:200],
        "dogs/page.png": b"<!DOCTYPE html><html>404</html>",
        "dogs/fake.wav": picture,
        "dogs/two\nlines.png": picture,
        "dogs/bad\nlines.png": b"x",
        "dogs/\x1b[31mred.png": b"x",
        "dogs/😀 smile.png": picture,
        ".hidden/x.png": b"x",
        "cats/.DS_Store": b"x",
        "README.md": b"# my pets",
        "dogs/cv.pdf": b"%PDF",
        "more.zip": b"PK\x03\x04",
    }
    for name, content in odd.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "dogs/loop").symlink_to("..", target_is_directory=True)
    (root / "dogs/dangling.png").symlink_to("nowhere.png")
    os.mkfifo(root / "dogs/pipe.wav")
    return root


REJECTED = ["cats/zero", "dogs/\x1b[31mred", "dogs/bad\nlines", "dogs/cut", "dogs/dangling", "dogs/fake", "dogs/page", "dogs/pipe"]


def test_a_messy_folder_is_built_with_a_line_a_problem_and_a_summary(cli, messy, tmp_path):
    code, out, err = cli("data", "build", messy, tmp_path / "t.lance")
    assert code == 0 and "Traceback" not in err
    lines = out.splitlines()
    assert sum(line.startswith("rejected ") for line in lines) == 8 and "\x1b" not in out
    assert r"rejected dogs/bad\nlines: this is not a picture" in out and r"rejected dogs/\x1b[31mred: " in out
    assert "note: 3 files of other kinds were left aside: 1 README.md, 1 .zip, 1 .pdf" in lines
    assert "note: links to folders were not followed: dogs/loop; to read what lies there, put the folder itself in place" in lines
    assert f"42 rows in, 34 kept, 8 rejected -> {tmp_path / 't.lance'} (version 1)" in lines
    with (tmp_path / "t.lance.rejects.csv").open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == REJECTED


def test_json_is_one_line_with_the_count(cli, messy, tmp_path):
    code, out, err = cli("data", "build", messy, tmp_path / "t.lance", "--json")
    assert (code, err) == (0, "") and out.count("\n") == 1
    told = json.loads(out)
    assert (told["rows"], told["kept"], told["rejected"], told["version"]) == (42, 34, 8, 1)
    assert told["columns"] == {"image": "media", "text": "media", "audio": "media", "label": "text"}
    assert len(told["findings"]) == 2 and told["rejects"] == str(tmp_path / "t.lance.rejects.csv")


def test_too_many_rejects_stop_with_the_list_unless_told_otherwise(cli, messy, tmp_path):
    (messy / "cats/more.png").write_bytes(b"x")
    code, out, err = cli("data", "build", messy, tmp_path / "t.lance")
    assert (code, out) == (2, "") and "error: 9 of 43 rows cannot be used, all listed in" in err
    assert r"dogs/bad\nlines: this is not a picture" in err and "--max-rejected 0.21" in err and "\x1b" not in err
    with (tmp_path / "t.lance.refused.csv").open(newline="") as file:
        assert [line["id"] for line in csv.DictReader(file)] == sorted([*REJECTED, "cats/more"])
    assert cli("data", "build", messy, tmp_path / "t.lance", "--max-rejected", 0.21)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["messy", "t.lance", "t.lance.rejects.csv"]


def test_what_was_built_is_shown_split_and_proposed(cli, messy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("data", "build", "messy", "t.lance")[0] == 0
    code, out, _ = cli("data", "show", "t.lance")
    assert code == 0 and "34 rows" in out and "note: 8 rows were rejected, with reasons in t.lance.rejects.csv" in out
    code, out, _ = cli("data", "split", "t.lance", "--stratify", "label", "--json")
    told = json.loads(out)
    assert code == 0 and sum(told["sides"].values()) == told["rows"] == 34
    code, out, _ = cli("init", "t.lance", "--out", "t.yaml")
    assert code == 0 and "kind: classify" in out
    code, out, err = cli("check", "t.yaml", "--json")
    assert code == 0 and (json.loads(out)["kept"], json.loads(out)["rejected"]) == (34, 0), err


def test_words_for_nothing_from_the_command_line(cli, tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,x\nNA,-\n3,y\n")
    code, out, _ = cli("data", "build", tmp_path / "t.csv", tmp_path / "t.lance")
    assert code == 0 and "note: a: 2 numbers, but 1 say 'NA', so it is kept as text; --empty NA makes those cells empty" in out
    code, out, _ = cli("data", "build", tmp_path / "t.csv", tmp_path / "t.lance", "--empty", "NA", "--empty", "-", "--json")
    assert code == 0 and json.loads(out)["columns"] == {"a": "integer", "b": "text"} and json.loads(out)["kept"] == 3


def test_a_second_build_at_the_same_time_is_refused(messy, tmp_path, forked):
    """The first waits in the middle of its rows until it is told to go on."""
    program = """
import sys, time
from pathlib import Path
from triptych.data.build import Plan, build
from triptych.data.rows import Row, Source
from triptych.run.progress import Voice
def rows():
    yield Row("a", {"n": 1})
    print("begun", flush=True)
    sys.stdin.readline()
build(Source("slow", rows), Path(sys.argv[1]), {}, Plan(), Voice(quiet=True))
"""
    pipe = subprocess.PIPE
    first = forked.start(tmp_path / "t.lance", code=program, stdin=pipe, stdout=pipe)
    assert first.stdout.readline() == "begun\n"
    words = ("data", "build", messy, tmp_path / "t.lance")
    second = forked.run(*words)
    assert second.returncode == 2 and "this table is being built by another process" in second.stderr and second.stdout == ""
    first.communicate("go on\n\n", timeout=60)
    assert first.returncode == 0
    third = forked.run(*words)
    assert third.returncode == 0 and "(version 2)" in third.stdout
