"""Folders and files that may not be read: an error that names the folder, a reject that names the file, nothing left out in silence."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from tests.forked import TRIPTYCH

from triptych.data.rejects import read_rejects

HUMBLE = """
import ctypes, os
if os.geteuid() == 0:  # of all that root may do, what stands above the rights of files is given up
    libc, above = ctypes.CDLL(None), (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert all(libc.prctl(24, one, 0, 0, 0) == 0 for one in above)  # PR_CAPBSET_DROP: for programs that are started from here
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for place in (0, 1):  # what is in force, and what may be put in force again
        sets[place] &= ~sum(1 << one for one in above)
    assert libc.capset(header, sets) == 0
"""


@pytest.fixture
def as_others(forked):
    """The command line for somebody for whom the rights of files hold: root's own power over them is given up."""

    def called(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return forked.run_code(HUMBLE + TRIPTYCH, *words)

    return called


@pytest.fixture
def place(tmp_path, as_others):
    """A folder with pictures of two classes."""
    if os.geteuid() == 0 and as_others("--help").returncode:
        pytest.skip("root may read everything, and will not be without that here")
    for name in ("in/cat/a.png", "in/cat/b.png", "in/cat/c.png", "in/dog/d.png", "in/dog/e.png", "in/dog/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), len(name)).save(tmp_path / name)
    yield tmp_path
    for path in [tmp_path / "in", *(tmp_path / "in").iterdir(), tmp_path / "locked"]:
        if path.is_dir():
            path.chmod(0o755)


def test_a_folder_that_may_not_be_looked_into(place, as_others):
    (place / "in/dog").chmod(0)
    ran = as_others("data", "build", place / "in", place / "t.lance")
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("error: cannot look into a folder: Permission denied\n")
    assert f"where: {place / 'in/dog'}" in ran.stderr and "give yourself the right to read it" in ran.stderr
    assert not (place / "t.lance").exists() and not (place / "t.lance.build").exists()


def test_a_file_that_may_not_be_read_costs_its_row(place, as_others):
    (place / "in/dog/e.png").chmod(0)
    ran = as_others("data", "build", place / "in", place / "t.lance", "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["rows"], told["kept"], told["rejected"]) == (6, 5, 1)
    (reject,) = read_rejects(place / "t.lance.rejects.csv")
    assert reject.id == "dog/e" and "Permission denied" in reject.reason


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl", "table.parquet", "table.tar"])
def test_a_table_that_may_not_be_read(place, name, as_others):
    (place / name).write_bytes(b'{"id": 1}')
    (place / name).chmod(0)
    ran = as_others("data", "build", place / name, place / "t.lance")
    assert ran.returncode == 2 and "Permission denied" in ran.stderr and str(place / name) in ran.stderr and "Traceback" not in ran.stderr


def test_a_place_that_may_not_be_written_to(place, as_others):
    (place / "locked").mkdir(mode=0o555)
    ran = as_others("data", "build", place / "in", place / "locked/t.lance")
    assert (ran.returncode, ran.stdout) == (1, "") and "Traceback" not in ran.stderr
    assert "Permission denied" in ran.stderr and str(place / "locked") in ran.stderr


def test_a_locked_folder_of_a_published_layout_is_not_called_missing(place, as_others):
    for number in range(3):
        (place / "songs/happy").mkdir(parents=True, exist_ok=True)
        (place / f"songs/happy/{number}.wav").write_bytes(b"RIFF")
    (place / "songs/sad").mkdir(mode=0)
    ran = as_others("data", "build", place / "songs", place / "t.lance")
    assert ran.returncode == 2 and "cannot look into a folder: Permission denied" in ran.stderr and "songs/sad" in ran.stderr
