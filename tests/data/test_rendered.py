"""A column of texts rendered into new columns of a table: counted, the same in any order, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import triptych
from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import Blob
from triptych.data.build import Plan, build
from triptych.data.rendered import Task, render_column
from triptych.data.rows import Row, Source
from triptych.data.settings import SplitSettings
from triptych.data.split import divide
from triptych.data.stored import open_dataset, read_stored
from triptych.modalities import rooms
from triptych.run.progress import Voice

QUIET = Voice(quiet=True)


@dataclass(frozen=True)
class Shouting:
    """A rendering that needs nothing: the text in capitals, as a file; `size` bytes of it."""

    size: int = 0
    fails_at: str = ""
    slow: float = 0.0

    def columns(self):
        return {"loud": "integer"}

    def needs(self):
        return ("lang",)

    def draw(self, row_id, text, cells):
        if cells["lang"] == "xx":
            raise BadValue("nobody speaks xx")
        return {"loud": len(row_id)}

    def render(self, text, drawn):
        if text == self.fails_at:
            raise InputError("the voice broke")
        time.sleep(self.slow)
        return Blob(text.upper().encode() + b" " * self.size, "said.wav")


def made(tmp_path, count=25, chunk=10, name="t.lance"):
    rows = [Row(f"r{n}", {"text": f"<b>text</b> {n}", "lang": "en", "n": n}) for n in range(count)]
    rows[3] = Row("r3", {"lang": "en", "n": 3})
    rows[4] = Row("r4", {"text": "<br>", "lang": "en", "n": 4})
    rows[5] = Row("r5", {"text": "five", "lang": "xx", "n": 5})
    build(Source("rows", lambda: iter(rows)), tmp_path / name, rooms(), Plan(chunk_rows=chunk), QUIET)
    return tmp_path / name


def task(table, rendering=None, **more):
    return Task(table, "text", more.pop("into", "voice"), rendering or Shouting(), rooms()["text"], **more)


def cells(table, name):
    return [row.cells.get(name) for row in read_stored(table).rows]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_row_is_counted_and_has_its_own(tmp_path, workers):
    table = made(tmp_path)
    found = render_column(task(table, workers=workers), QUIET)
    assert (found.rows, found.made, found.empty, found.refused) == (25, 22, 1, 2)
    assert [(r.id, r.reason) for r in found.reasons] == [
        ("r4", "nothing is left of it without markup and control characters"),
        ("r5", "nobody speaks xx"),
    ]
    assert found.rejects.read_text().splitlines()[1].startswith("r4,")
    voices = cells(table, "voice")
    assert voices[7] == b"TEXT 7" and voices[7].name.endswith(".wav") and voices[3:6] == [None] * 3
    assert cells(table, "voice.loud")[:6] == [2, 2, 2, None, None, None] and cells(table, "n") == list(range(25))
    assert found.columns == ["voice", "voice.loud"] and read_stored(table).columns[-2:] == found.columns
    assert not list(tmp_path.glob("*.build"))


def test_the_older_version_stays_and_a_column_is_not_written_over(tmp_path):
    table = made(tmp_path)
    first = open_dataset(table).version
    render_column(task(table), QUIET)
    assert "voice" not in read_stored(table, first).columns
    with pytest.raises(InputError, match="has a column 'voice' already") as caught:
        render_column(task(table), QUIET)
    assert "--replace" in caught.value.fix
    render_column(task(table, Shouting(size=3), replace=True), QUIET)
    assert cells(table, "voice")[7] == b"TEXT 7   "
    assert sorted(read_stored(table).columns) == sorted(["id", "text", "lang", "n", "voice", "voice.loud"])
    assert len(open_dataset(table).schema.names) == 4 + 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"column": "txt"}, "no column 'txt'"),
        ({"column": "voice"}, "holds no texts"),
        ({"into": "text"}, "cannot be called 'text'"),
        ({"into": "lang"}, "cannot be called 'lang'"),
        ({"into": "id"}, "cannot be called 'id'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is(tmp_path, change, says):
    table = made(tmp_path)
    render_column(task(table), QUIET)
    version = open_dataset(table).version
    words = {"column": "text", "into": "other"} | change
    with pytest.raises(InputError, match=says):
        render_column(Task(table, words["column"], words["into"], Shouting(), rooms()["text"]), QUIET)
    assert open_dataset(table).version == version


def test_files_may_lie_beside_the_table(tmp_path):
    table = made(tmp_path)
    render_column(task(table, files=tmp_path / "said"), QUIET)
    paths = cells(table, "voice")
    assert paths[7].read_bytes() == b"TEXT 7" and len(list((tmp_path / "said").iterdir())) == 22
    table.rename(tmp_path / "moved.lance")
    assert cells(tmp_path / "moved.lance", "voice")[7].read_bytes() == b"TEXT 7"


def test_a_voice_that_breaks_leaves_the_table_as_it_was_and_says_why(tmp_path):
    table = made(tmp_path)
    version = open_dataset(table).version
    with pytest.raises(InputError, match="the voice broke"):
        render_column(task(table, Shouting(fails_at="text 17")), QUIET)
    assert open_dataset(table).version == version and "voice" not in read_stored(table).columns


def test_nothing_that_can_be_rendered_is_an_error(tmp_path):
    rows = [Row(f"r{n}", {"text": "x", "lang": "xx"}) for n in range(5)]
    build(Source("rows", lambda: iter(rows)), tmp_path / "t.lance", rooms(), Plan(), QUIET)
    with pytest.raises(InputError, match="none of the 5 rows") as caught:
        render_column(task(tmp_path / "t.lance"), QUIET)
    assert "nobody speaks xx" in caught.value.what and read_stored(tmp_path / "t.lance").columns == ["id", "text", "lang"]


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_rendered import Shouting, task
from triptych.data.rendered import render_column
from triptych.run.progress import Voice
if __name__ == "__main__":
    print(render_column(task(Path(sys.argv[1]), Shouting(slow=float(sys.argv[2]))), Voice()).made)
"""


def start(forked, table, slow):
    script = SCRIPT.format(here=str(Path(__file__).parent))
    return forked.start(table, slow, code=script, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_lines(journal, count):
    end = time.monotonic() + 100
    while time.monotonic() < end:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("nothing was written down")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_work_that_was_stopped_leaves_the_table_whole_and_goes_on(tmp_path, how, forked):
    table = made(tmp_path, count=60, chunk=5)
    version = open_dataset(table).version
    journal = tmp_path / "t.lance.build" / "c_voice.jsonl"
    working = start(forked, table, 0.02)
    wait_for_lines(journal, 4)
    working.send_signal(how)
    assert working.wait(timeout=100) != 0
    working.communicate()
    assert open_dataset(table).version == version and "voice" not in read_stored(table).columns
    with journal.open("ab") as file:  # it was in the middle of a line
        file.write(b'{"taken": 5, "ke')
    again = start(forked, table, 0.02)
    out, said = again.communicate(timeout=100)
    assert out.strip() == "57" and "going on after" in said
    assert cells(table, "voice")[59] == b"TEXT 59" and not journal.exists()
    kept = {Path(p).name for batch in open_dataset(table).tracked_files() for p in batch.column("path").to_pylist()}
    assert {file.name for file in (table / "data").iterdir()} <= kept


def test_other_words_begin_anew(tmp_path):
    table = made(tmp_path)
    aside = tmp_path / "t.lance.build"
    with pytest.raises(InputError):
        render_column(task(table, Shouting(fails_at="text 17")), QUIET)
    assert len((aside / "c_voice.jsonl").read_text().splitlines()) == 2
    assert render_column(task(table, Shouting(size=1)), QUIET).made == 22
    assert cells(table, "voice")[7] == b"TEXT 7 "


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path):
    """200 and 2,000 rows of 100 kB: 20 MB and 200 MB of new values."""
    script = SCRIPT.replace("Shouting(slow=float(sys.argv[2]))", "Shouting(size=int(sys.argv[2]))")
    script += "    import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    peaks = []
    for count in (200, 2_000):
        table = made(tmp_path, count=count, chunk=100, name=f"{count}.lance")
        code = script.format(here=str(Path(__file__).parent))
        done = subprocess.run([sys.executable, "-c", code, str(table), "100000"], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 90, peaks


def test_voices_keep_apart_in_a_split_and_python_speaks_too(tmp_path):
    pytest.importorskip("espeakng_loader")
    rows = [Row(f"r{n}", {"text": f"number {n}", "label": "ab"[n % 2]}) for n in range(40)]
    build(Source("rows", lambda: iter(rows)), tmp_path / "t.lance", rooms(), Plan(), QUIET)
    found = triptych.speak(tmp_path / "t.lance", "text", voices="en", speakers="f1,f2,f3,m1,m2,m3,m4,m5", seed=3, quiet=True)
    assert found.made == 40
    table = read_stored(tmp_path / "t.lance")
    sides = divide(table, SplitSettings(group="voice.speaker", test=0.3, validation=0.2), None).splits
    by_side = {side: {s for s, at in zip(table.rows.cells("voice.speaker"), sides, strict=True) if at == side} for side in set(sides)}
    assert len(by_side) == 3 and not set.intersection(*by_side.values()) and not by_side["train"] & by_side["test"]
    with pytest.raises(InputError, match="unknown field 'voice'"):
        triptych.speak(tmp_path / "t.lance", "text", voice="en", quiet=True)
    assert json.dumps(found.columns)
