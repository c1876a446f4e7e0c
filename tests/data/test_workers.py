"""A file that crashes its decoder, hangs it, or ends its process costs its row, and nothing else of the build."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from triptych.base.errors import TriptychError
from triptych.contract.cells import Blob
from triptych.data import workers
from triptych.data.build import Plan, build
from triptych.data.rejects import read_rejects
from triptych.data.rows import Row, Source
from triptych.data.stored import read_stored
from triptych.run.progress import Voice

PLANTED = '''
"""A room whose values do to their reader what they say."""

import ctypes
import os
import signal
import time
from pathlib import Path

from triptych.base.errors import BadValue


class Planted:
    name = "planted"
    suffixes = frozenset({".bomb"})
    guest = frozenset()
    by_reference = True

    def read(self, source):
        said = source if isinstance(source, bytes) else Path(source).read_bytes()
        word, _, rest = said.decode().partition(" ")
        if word == "segfault":
            ctypes.string_at(0)
        elif word == "exit":
            os._exit(int(rest))
        elif word == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "hang":
            time.sleep(600)
        elif word == "bad":
            raise BadValue("it is bad")
        elif word == "bug":
            raise ZeroDivisionError("a bug of the room")
        elif word == "once":
            mark = Path(rest)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGABRT)
        return said


ROOMS = {"planted": Planted()}
'''


@pytest.fixture
def planted(tmp_path, monkeypatch):
    (tmp_path / "planted_room.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    import planted_room

    yield planted_room.ROOMS
    del sys.modules["planted_room"]


def source(*said: str, folder: Path | None = None) -> Source:
    """By value, or by reference where there is a folder."""
    rows = []
    for number, words in enumerate(said):
        cell: Blob | Path = Blob(words.encode(), "x.bomb")
        if folder is not None:
            cell = folder / f"{number}.bomb"
            cell.write_bytes(words.encode())
        rows.append(Row(f"r{number}", {"thing": cell, "n": number}))
    return Source("planted", lambda: iter(rows), folder or Path())


def made(source: Source, table: Path, rooms, **plan):
    return build(source, table, rooms, Plan(**{"max_rejected": 1.0, **plan}), Voice(quiet=True))


@pytest.mark.parametrize("count", [1, 2])
def test_a_crash_costs_its_row_wherever_it_stands(tmp_path, planted, count):
    said = ["good"] * 30
    for place, word in {0: "segfault", 7: "exit 3", 8: "killed", 15: "bad", 20: "segfault", 29: "exit 0"}.items():
        said[place] = word
    built = made(source(*said, folder=tmp_path), tmp_path / "t.lance", planted, workers=count, chunk_rows=10)
    assert (built.rows, built.kept, built.rejected) == (30, 24, 6)
    reasons = {reject.id: reject.reason for reject in read_rejects(built.rejects)}
    assert list(reasons) == ["r0", "r7", "r8", "r15", "r20", "r29"]
    assert "its decoder crashed" in reasons["r0"] and "signal 11, SIGSEGV" in reasons["r0"] and "SIGSEGV" in reasons["r20"]
    assert (
        "exit code 3" in reasons["r7"] and "SIGKILL" in reasons["r8"] and "it is bad" in reasons["r15"] and "exit code 0" in reasons["r29"]
    )
    assert [row.id for row in read_stored(tmp_path / "t.lance").rows] == [f"r{n}" for n in range(30) if f"r{n}" not in reasons]


def test_a_decoder_that_hangs_costs_its_row(tmp_path, planted):
    built = made(source(*["good"] * 5, "hang", *["good"] * 5), tmp_path / "t.lance", planted, patience=3.0)
    assert (built.kept, built.rejected) == (10, 1)
    (reject,) = read_rejects(built.rejects)
    assert reject.id == "r5" and reject.reason == "its decoder hangs: reading it took more than 3 s"


def test_what_crashes_once_is_kept(tmp_path, planted):
    """Out of memory for a moment, killed by a person: the row itself is fine, and is read again before it is blamed."""
    built = made(source("good", f"once {tmp_path / 'mark'}", "good"), tmp_path / "t.lance", planted)
    assert (built.kept, built.rejected) == (3, 0) and (tmp_path / "mark").exists()


def test_too_many_crashes_stop_the_build_with_the_list(tmp_path, planted):
    with pytest.raises(TriptychError, match="2 of 4 rows cannot be used") as caught:
        made(source("good", "segfault", "good", "exit 1"), tmp_path / "t.lance", planted, max_rejected=0.2)
    assert "r1: its decoder crashed" in str(caught.value) and not (tmp_path / "t.lance/_versions").exists()


def test_a_bug_of_a_room_is_not_taken_for_a_bad_row(tmp_path, planted):
    with pytest.raises(ZeroDivisionError, match="a bug of the room") as caught:
        made(source("good", "bug"), tmp_path / "t.lance", planted)
    assert "planted_room.py" in "".join(caught.value.__notes__)


def test_a_room_that_a_worker_cannot_import_is_named(tmp_path, planted, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="planted_room"):
        made(source("good"), tmp_path / "t.lance", planted)


def test_no_process_stays_behind(tmp_path, planted, monkeypatch):
    started = []

    class Watched(workers.Worker):
        def __init__(self):
            super().__init__()
            started.append(self.process)

    monkeypatch.setattr(workers, "Worker", Watched)
    made(source("good", "segfault", "hang"), tmp_path / "t.lance", planted, patience=0.5, workers=2, chunk_rows=1)
    with pytest.raises(ZeroDivisionError):
        made(source("bug", *["good"] * 10), tmp_path / "t.lance", planted, workers=2, chunk_rows=1)
    assert len(started) >= 6 and all(process.poll() is not None for process in started)


def test_a_hanging_worker_does_not_outlive_a_builder_that_is_killed(tmp_path, planted):
    program = """
        from pathlib import Path
        from planted_room import ROOMS
        from triptych.contract.cells import Blob
        from triptych.data import workers
        from triptych.data.build import Plan, build
        from triptych.data.rows import Row, Source
        from triptych.run.progress import Voice
        made = workers.Worker.give
        def give(worker, task):
            made(worker, task)
            print(worker.process.pid, flush=True)
        workers.Worker.give = give
        rows = [Row("a", {"thing": Blob(b"hang", "x.bomb")})]
        build(Source("s", lambda: iter(rows)), Path("t.lance"), ROOMS, Plan(), Voice(quiet=True))
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    builder = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    worker = int(builder.stdout.readline())
    time.sleep(1.5)
    builder.kill()
    builder.wait()
    builder.stdout.close()

    def gone():
        return not Path(f"/proc/{worker}").exists() or "\nState:\tZ" in Path(f"/proc/{worker}/status").read_text()

    for _ in range(100):
        if gone():
            break
        time.sleep(0.1)
    assert gone(), "the worker is still there"


def test_a_program_without_a_guard_builds(tmp_path, planted):
    """Workers import nothing of the program that started them."""
    program = """
        from pathlib import Path
        from planted_room import ROOMS
        from triptych.contract.cells import Blob
        from triptych.data.build import Plan, build
        from triptych.data.rows import Row, Source
        from triptych.run.progress import Voice
        print("once")
        rows = [Row("a", {"thing": Blob(b"good", "x.bomb")})]
        print(build(Source("s", lambda: iter(rows)), Path("t.lance"), ROOMS, Plan(workers=2), Voice(quiet=True)).kept)
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    ran = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "once\n1\n", "")
