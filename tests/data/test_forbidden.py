"""Folders and files that may not be read: an error that names the folder, a reject that names the file, nothing left out in silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from triptych.data.rejects import read_rejects


def as_others(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line for somebody for whom the rights of files hold: root's own power over them is given up."""
    command = [sys.executable, "-m", "triptych", *map(str, words)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.fixture
def place(tmp_path):
    """A folder with pictures of two classes."""
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or as_others("--help").returncode):
        pytest.skip("root may read everything, and setpriv, which would forbid it, is not there")
    for name in ("in/cat/a.png", "in/cat/b.png", "in/cat/c.png", "in/dog/d.png", "in/dog/e.png", "in/dog/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), len(name)).save(tmp_path / name)
    yield tmp_path
    for path in [tmp_path / "in", *(tmp_path / "in").iterdir(), tmp_path / "locked"]:
        if path.is_dir():
            path.chmod(0o755)


def test_a_folder_that_may_not_be_looked_into(place):
    (place / "in/dog").chmod(0)
    ran = as_others("data", "build", place / "in", place / "t.lance")
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("error: cannot look into a folder: Permission denied\n")
    assert f"where: {place / 'in/dog'}" in ran.stderr and "give yourself the right to read it" in ran.stderr
    assert not (place / "t.lance").exists() and not (place / "t.lance.build").exists()


def test_a_file_that_may_not_be_read_costs_its_row(place):
    (place / "in/dog/e.png").chmod(0)
    ran = as_others("data", "build", place / "in", place / "t.lance", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["rows"], told["kept"], told["rejected"]) == (6, 5, 1)
    (reject,) = read_rejects(place / "t.lance.rejects.csv")
    assert reject.id == "dog/e" and "Permission denied" in reject.reason


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl", "table.parquet", "table.tar"])
def test_a_table_that_may_not_be_read(place, name):
    (place / name).write_bytes(b'{"id": 1}')
    (place / name).chmod(0)
    ran = as_others("data", "build", place / name, place / "t.lance")
    assert ran.returncode == 2 and "Permission denied" in ran.stderr and str(place / name) in ran.stderr and "Traceback" not in ran.stderr


def test_a_place_that_may_not_be_written_to(place):
    (place / "locked").mkdir(mode=0o555)
    ran = as_others("data", "build", place / "in", place / "locked/t.lance")
    assert (ran.returncode, ran.stdout) == (1, "") and "Traceback" not in ran.stderr
    assert "Permission denied" in ran.stderr and str(place / "locked") in ran.stderr


def test_a_locked_folder_of_a_published_layout_is_not_called_missing(place):
    for number in range(3):
        (place / "songs/happy").mkdir(parents=True, exist_ok=True)
        (place / f"songs/happy/{number}.wav").write_bytes(b"RIFF")
    (place / "songs/sad").mkdir(mode=0)
    ran = as_others("data", "build", place / "songs", place / "t.lance")
    assert ran.returncode == 2 and "cannot look into a folder: Permission denied" in ran.stderr and "songs/sad" in ran.stderr
