"""What was seen of files is kept: they are not decoded again, and what changed is."""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.contract.cells import Blob, Span
from triptych.contract.examined import Examined, Fault
from triptych.data import check
from triptych.data.facts import Facts
from triptych.data.looks import FILE, Looks, look_key
from triptych.data.rows import Row
from triptych.data.table import Table
from triptych.modalities import rooms


def aged(path, content: bytes, seconds: float = 100.0):
    path.write_bytes(content)
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


@given(
    st.builds(
        Examined,
        content=st.integers(0, 2**64 - 1),
        sketch=st.binary(max_size=300),
        measures=st.dictionaries(st.text(), st.floats(allow_nan=False)),
        traits=st.dictionaries(st.text(), st.text()),
        faults=st.tuples(st.builds(Fault, code=st.text(), text=st.text(), fix=st.text())),
        length=st.floats(0, 1e6),
    )
)
def test_what_is_kept_comes_back_as_it_was(tmp_path_factory, seen):
    looks = Looks(tmp_path_factory.mktemp("looks"))
    looks.put(b"key", seen)
    assert looks.get(b"key") == seen
    assert looks.get(b"other") is None
    looks.close()


def test_a_content_is_that_of_the_bytes_however_the_file_is_called(tmp_path):
    looks = Looks(tmp_path / "cache")
    one, other = aged(tmp_path / "a", b"same"), aged(tmp_path / "b", b"same")
    assert looks.content(one) == looks.content(other) == looks.content(Blob(b"same")) != looks.content(Blob(b"else"))
    assert looks.content(Span(one, 0, 1)) != looks.content(Span(one, 0, 2))
    aged(one, b"diff", 50)
    assert looks.content(one) == looks.content(Blob(b"diff"))


def test_a_file_written_just_now_is_not_trusted(tmp_path):
    looks = Looks(tmp_path / "cache")
    fresh = tmp_path / "fresh"
    fresh.write_bytes(b"one")
    about = fresh.stat()
    assert looks.content(fresh) == looks.content(Blob(b"one"))
    fresh.write_bytes(b"two")
    os.utime(fresh, ns=(about.st_mtime_ns, about.st_mtime_ns))  # within the same tick of a coarse clock
    assert looks.content(fresh) == looks.content(Blob(b"two"))


def test_another_setting_or_room_is_another_look():
    image, audio = rooms()["image"], rooms()["audio"]
    settings = image.Input().prepare
    keys = {
        look_key(image, settings, "content"),
        look_key(image, settings, "other"),
        look_key(image, settings.model_copy(update={"size": 32}), "content"),
        look_key(audio, audio.Input().prepare, "content"),
    }
    assert len(keys) == 4


def test_a_damaged_file_is_begun_anew_and_one_that_cannot_be_made_keeps_nothing(tmp_path):
    (tmp_path / FILE).write_bytes(b"this is no database" * 1000)
    looks = Looks(tmp_path)
    looks.put(b"key", Examined(1))
    assert looks.get(b"key") == Examined(1)
    (tmp_path / "file").write_text("")
    nowhere = Looks(tmp_path / "file")
    nowhere.put(b"key", Examined(1))
    assert nowhere.get(b"key") is None
    assert nowhere.content(Blob(b"x"))
    nowhere.close()


def test_many_threads_and_two_owners_use_one_file(tmp_path):
    one, other = Looks(tmp_path), Looks(tmp_path)

    def work(looks, start):
        for number in range(start, start + 200):
            looks.put(str(number % 150).encode(), Examined(number % 150))
        looks.flush()

    threads = [threading.Thread(target=work, args=(looks, start)) for looks in (one, other) for start in (0, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    third = Looks(tmp_path)
    assert all(third.get(str(number).encode()) == Examined(number) for number in range(150))
    assert sqlite3.connect(tmp_path / FILE).execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / f"{number}.png")
        aged(tmp_path / f"{number}.png", (tmp_path / f"{number}.png").read_bytes())
    aged(tmp_path / "5.png", b"no picture")
    rows = [Row(str(number), {"image": tmp_path / f"{number}.png"}) for number in range(6)]
    return Table(["image"], rows, "here", tmp_path)


def test_a_table_that_was_screened_is_not_decoded_again_and_gives_the_same(pictures, tmp_path, monkeypatch):
    room = rooms()["image"]
    decoded = []
    read = type(room).read
    monkeypatch.setattr(type(room), "read", lambda self, source: decoded.append(source) or read(self, source))

    def screened():
        facts = Facts({"image": (room, room.Input().prepare)})
        looks = Looks(tmp_path / "cache")
        table = check.screen(pictures, {"image": room}, 0.5, facts=facts, looks=looks)
        looks.close()
        return table, facts.columns["image"]

    table, facts = screened()
    assert len(decoded) == 6
    again, same = screened()
    assert len(decoded) == 7, "only the one that cannot be read is tried again"
    assert [r.id for r in again.rejects] == [r.id for r in table.rejects] == ["5"]
    assert same.content == facts.content and same.sketches_NS().tolist() == facts.sketches_NS().tolist()
    aged(tmp_path / "0.png", (tmp_path / "1.png").read_bytes(), 50)
    changed = screened()[1]
    assert changed.content[0] == changed.content[1]
