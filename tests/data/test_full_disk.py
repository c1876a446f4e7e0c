"""A build whose disk fills says so, leaves the table as it was, and goes on when there is room."""

from __future__ import annotations

import csv
import errno
import os
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from triptych.base.errors import TriptychError
from triptych.data import build as building
from triptych.data.build import Plan, build
from triptych.data.journal import Journal
from triptych.data.rejects import read_rejects
from triptych.data.sources import open_source
from triptych.data.stored import open_dataset, read_stored
from triptych.modalities import rooms
from triptych.run.progress import Voice

QUIET = Voice(quiet=True)


def pictures(folder: Path, count: int, bad: int = 0) -> Path:
    """A table of noisy pictures of about 7 kB each, the last of which are broken."""
    folder.mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "picture", "n"])
        for number in range(count):
            noise = np.random.default_rng(number).integers(0, 255, (48, 48, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"{number}.png")
            writer.writerow([f"p{number}", f"{number}.png", number])
        for number in range(bad):
            (folder / f"bad{number}.png").write_bytes(b"")
            writer.writerow([f"bad{number}", f"bad{number}.png", number])
    return folder / "table.csv"


def made(source: Path, table: Path, **plan):
    plan = {"copied": True, "chunk_rows": 20, "workers": 0, **plan}
    return build(open_source(source, rooms()), table, rooms(), Plan(**plan), QUIET)


PROGRAM = """
import resource
import sys
from triptych.cli.main import run
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
run()
"""


@pytest.fixture
def command(forked):
    """`triptych data build` in a process of its own, whose files may have `limit` bytes."""

    def called(*words: str | Path, limit: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
        return forked.run_code(PROGRAM, limit, "data", "build", *words)

    return called


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("a small disk can be made by root only; the other tests of this file make writing fail")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_full_disk_leaves_the_old_table_and_the_build_goes_on(tmp_path, disk, workers, command):
    table = disk / "t.lance"
    made(pictures(tmp_path / "old", 10), table)
    source = pictures(tmp_path / "new", 300, bad=3)
    ran = command(source, table, "--copy", "--workers", workers)
    assert ran.returncode == 1 and ran.stdout == ""
    assert ran.stderr.startswith("error: the disk is full\n") and "Traceback" not in ran.stderr
    assert f"where: {disk}" in ran.stderr and "the table is as it was" in ran.stderr
    assert [row.id for row in read_stored(table).rows] == [f"p{n}" for n in range(10)]
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    ran = command(source, table, "--copy", "--workers", workers)
    assert ran.returncode == 0 and "303 rows in, 300 kept, 3 rejected" in ran.stdout
    assert [row.id for row in read_stored(table).rows] == [f"p{n}" for n in range(300)]
    assert len(read_rejects(disk / "t.lance.rejects.csv")) == 3 and sorted(os.listdir(disk)) == ["t.lance", "t.lance.rejects.csv"]


def test_a_file_that_may_not_grow(tmp_path, command):
    """Where nobody can mount a disk: the same way through the code, by the limit on one file."""
    table = tmp_path / "t.lance"
    made(pictures(tmp_path / "old", 10), table)
    source = pictures(tmp_path / "new", 200)
    ran = command(source, table, "--copy", limit=200_000)
    assert ran.returncode == 1 and ran.stderr.startswith("error: the disk is full\n")
    assert len(read_stored(table).rows) == 10
    assert command(source, table, "--copy").returncode == 0 and len(read_stored(table).rows) == 200


def failing(monkeypatch, where: str) -> None:
    """The disk is full at one step of the build, and stays so."""
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*args, **kwargs):
        raise full

    if where == "journal's head":
        monkeypatch.setattr(Journal, "begin", refuse)
    elif where == "journal's line":
        add, count = Journal.add, iter(range(3))
        monkeypatch.setattr(Journal, "add", lambda self, done: add(self, done) if next(count, None) is not None else refuse())
    elif where == "rejects":
        monkeypatch.setattr(building, "write_rejects", refuse)
    elif where == "commit":
        import lance

        monkeypatch.setattr(lance.LanceDataset, "commit", refuse)


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("where", ["journal's head", "journal's line", "rejects", "commit"])
def test_full_at_every_step(tmp_path, monkeypatch, where, append):
    table = tmp_path / "t.lance"
    made(pictures(tmp_path / "old", 10, bad=1), table)
    source = pictures(tmp_path / "new", 120, bad=5) if not append else renamed(pictures(tmp_path / "new", 120, bad=5))
    with monkeypatch.context() as full:
        failing(full, where)
        with pytest.raises(TriptychError, match="the disk is full") as caught:
            made(source, table, append=append)
    assert "the table is as it was" in caught.value.fix and caught.value.exit_code == 1
    assert len(read_stored(table).rows) == 10 and [r.id for r in read_rejects(tmp_path / "t.lance.rejects.csv")] == ["bad0"]
    said: list[str] = []
    monkeypatch.setattr(QUIET, "say", said.append)
    built = made(source, table, append=append)
    assert (built.kept, built.rejected, built.version) == (120, 5, 2)
    assert where == "journal's head" or "going on with a build that was stopped" in said[0]
    assert len(read_stored(table).rows) == 120 + 10 * append and open_dataset(table).version == 2
    assert len(read_rejects(tmp_path / "t.lance.rejects.csv")) == 5 + append and not (tmp_path / "t.lance.build").exists()


def renamed(source: Path) -> Path:
    """Other ids, so that they can be appended."""
    source.write_text(source.read_text().replace("\np", "\nq").replace("\nbad", "\nworse"))
    return source


@pytest.mark.parametrize("where", ["before it is put beside", "after it"])
def test_stopped_between_the_version_and_its_rejects(tmp_path, monkeypatch, where):
    """Neither is lost, and nothing is written twice."""
    table, source = tmp_path / "t.lance", pictures(tmp_path / "in", 50, bad=2)
    made(pictures(tmp_path / "old", 10, bad=1), table)
    renamed(source)
    with monkeypatch.context() as stopped:
        target = Path if where.startswith("before") else building.shutil
        stopped.setattr(target, "replace" if target is Path else "rmtree", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(source, table, append=True)
    assert len(read_stored(table).rows) == 60
    assert made(source, table, append=True).version == 2
    assert len(read_stored(table).rows) == 60
    assert [r.id for r in read_rejects(tmp_path / "t.lance.rejects.csv")] == ["bad0", "worse0", "worse1"]


def test_a_journal_that_lost_its_end(tmp_path, monkeypatch):
    """A power cut may leave zeros, or half a line."""
    table, source = tmp_path / "t.lance", pictures(tmp_path / "in", 100)
    with monkeypatch.context() as full:
        failing(full, "commit")
        with pytest.raises(TriptychError):
            made(source, table)
    journal = tmp_path / "t.lance.build/journal.jsonl"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join(lines[:3]) + b"\n" + bytes(300) + b"\n" + lines[3] + b"\n")
    assert made(source, table).kept == 100
    assert [row.id for row in read_stored(table).rows] == [f"p{n}" for n in range(100)]
