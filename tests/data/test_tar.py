from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.rows import Reject, Row
from triptych.data.sources import open_source
from triptych.data.sources import tar as reader
from triptych.modalities import rooms


def info(name: str, **about) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in about.items():
        setattr(member, key, value)
    return member


def shard(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as archive:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else info(name, size=len(content))
            archive.addfile(member, io.BytesIO(content))
    return path


def rows(path: Path) -> list:
    return list(open_source(path, rooms()).rows())


def simple(path: Path, *keys: str, mode: str = "w") -> Path:
    return shard(
        path, *[member for key in keys for member in ((f"{key}.png", b"p" + key.encode()), (f"{key}.txt", key.encode()))], mode=mode
    )


def test_members_of_one_name_are_a_row(tmp_path):
    path = shard(
        tmp_path / "a.tar",
        ("./", b"") if False else (info("./d", type=tarfile.DIRTYPE), b""),
        ("./d/1.png", b"pixels"),
        ("./d/1.txt", " a häuschen\n".encode()),
        ("./d/1.json", json.dumps({"who": {"name": "x"}, "tags": ["a"], "text": "other"}).encode()),
        ("./d/1.cls", b"3\n"),
        ("./d/2.wav", b"sound"),
        ("./d/2.txt", "bäh".encode("latin-1")),
    )
    first, second = rows(path)
    assert first == Row(
        "d/1", {"image": b"pixels", "text": "a häuschen", "label": "3", "who.name": "x", "tags": ["a"], "json.text": "other"}
    )
    assert isinstance(first.cells["image"], Blob) and first.cells["image"].name == "./d/1.png"
    assert second == Row("d/2", {"audio": b"sound", "text": "bäh"})


def test_two_members_of_one_room_are_called_by_their_endings(tmp_path):
    (row,) = rows(shard(tmp_path / "a.tar", ("x.left.PNG", b"1"), ("x.right.jpg", b"2"), ("x.meta.json", b'{"n": 1}')))
    assert row == Row("x", {"left.PNG": b"1", "right.jpg": b"2", "n": 1})


def test_other_kinds_are_said_once_and_hidden_files_are_not(tmp_path):
    path = shard(tmp_path / "a.tar", ("x.png", b"1"), ("x.pyd", b"cos\nsystem"), ("._x.png", b"mac"), ("y.pyd", b""), ("README", b"read"))
    found = open_source(path, rooms())
    assert list(found.rows()) == list(found.rows()) == [Row("x", {"image": b"1"})]
    assert found.findings == [f"{kind} members are of a kind that is not read and were left aside" for kind in (".pyd", "suffixless")]


@pytest.mark.parametrize("name", ["/etc/passwd.png", "../x.png", "a/../../x.png", "C:\\x.png", "..\\x.png", "a/.."])
def test_a_path_that_climbs_out_is_refused_and_nothing_is_written(tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    path = shard(tmp_path / "in" / "a.tar", ("a.png", b"1"), (info(name, size=1), b"2"), ("z.png", b"3"))
    source = open_source(path, rooms())
    first, bad, last = source.rows()
    assert (first.id, last.id) == ("a", "z") and isinstance(bad, Reject) and "outside of the archive" in bad.reason
    assert not source.findings  # it is said once, as the reject
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [tmp_path / "in", path]


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (info("b.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link to /etc/passwd"),
        (info("b.png", type=tarfile.LNKTYPE, linkname="a.png"), "is a link to a.png"),
        (info("b.png", type=tarfile.CHRTYPE), "not a plain file"),
        (info("b.png", type=tarfile.FIFOTYPE), "not a plain file"),
    ],
)
def test_links_and_devices_cost_their_row(tmp_path, member, says):
    first, bad, last = rows(shard(tmp_path / "a.tar", ("a.png", b"1"), ("b.txt", b"text"), (member, b""), ("c.png", b"3")))
    assert (first.id, last.id) == ("a", "c") and bad.id == "b" and says in bad.reason and "b.png" in bad.reason


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("x.json", b'{"a": }', "x.json, line 1, column 7"), ("x.json", b"[1]", "an object is wanted"), ("x.txt", b"a\0b", "not a text")],
)
def test_a_bad_member_costs_its_row_and_is_named(tmp_path, name, content, says):
    bad, good = rows(shard(tmp_path / "a.tar", ("x.png", b"1"), (name, content), ("y.png", b"2")))
    assert isinstance(bad, Reject) and bad.id == "x" and says in bad.reason and name in bad.reason and good.id == "y"


def test_a_key_that_comes_again_is_not_a_second_row(tmp_path):
    first, second, again = rows(shard(tmp_path / "a.tar", ("x.png", b"1"), ("y.png", b"2"), ("x.txt", b"late")))
    assert (first.id, second.id) == ("x", "y") and isinstance(again, Reject) and "do not follow each other" in again.reason


def test_the_same_member_twice(tmp_path):
    (bad,) = rows(shard(tmp_path / "a.tar", ("x.png", b"1"), ("x.png", b"2")))
    assert bad == Reject("x", "two members are called x.png")


# many shards


def test_a_folder_a_pattern_and_braces(tmp_path):
    for number in range(3):
        simple(tmp_path / f"s-{number:03d}.tar", f"k{number}")
    simple(tmp_path / "s-003.tar.gz", "k3", mode="w:gz")
    ids = lambda path: [row.id for row in rows(path)]  # noqa: E731
    assert ids(tmp_path) == ["s-000/k0", "s-001/k1", "s-002/k2", "s-003/k3"]
    assert ids(tmp_path / "s-*.tar") == ["s-000/k0", "s-001/k1", "s-002/k2"]
    assert ids(tmp_path / "s-{000..001}.tar") == ["s-000/k0", "s-001/k1"]
    assert ids(tmp_path / "s-{002,000}.tar") == ["s-002/k2", "s-000/k0"]
    assert ids(tmp_path / "s-003.tar.gz") == ["k3"]
    with pytest.raises(InputError, match=r"there is no file .*s-003\.tar"):
        open_source(tmp_path / "s-{000..004}.tar", rooms())
    with pytest.raises(InputError, match="no file fits the pattern"):
        open_source(tmp_path / "t-*.tar", rooms())


# damage


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_shard_keeps_the_rows_before(tmp_path, mode):
    path = tmp_path / ("a.tar" if mode == "w" else "a.tar.gz")
    shard(path, *[(f"k{n:02d}.png", os.urandom(3000)) for n in range(20)], mode=mode)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = rows(path)
    assert 5 < len(found) < 15 and all(isinstance(row, Row) and len(row.cells["image"]) == 3000 for row in found[:-1])
    assert isinstance(found[-1], Reject) and f"{path.name} breaks off here" in found[-1].reason
    assert [row.id for row in found] == [f"k{n:02d}" for n in range(len(found))]


@pytest.mark.parametrize("cut", range(0, 8 * 512, 256))
def test_cut_anywhere_no_half_row_is_kept_and_the_cut_is_said(tmp_path, cut):
    path = simple(tmp_path / "a.tar", "one", "two")  # eight blocks of 512 bytes, then the end mark
    whole = rows(path)
    path.write_bytes(path.read_bytes()[:cut])
    if cut < 512:
        with pytest.raises(InputError, match="not a tar archive"):
            open_source(path, rooms())
        return
    found = rows(path)
    assert isinstance(found[-1], Reject) and all(row in whole for row in found[:-1]) and len(found) <= 2


def test_a_damaged_header_in_the_middle_is_said(tmp_path):
    path = simple(tmp_path / "a.tar", "one", "two", "three")
    content = bytearray(path.read_bytes())
    content[4 * 512 : 4 * 512 + 5] = b"WRONG"
    path.write_bytes(content)
    (bad,) = rows(path)
    assert isinstance(bad, Reject) and "a header is damaged" in bad.reason


def test_a_later_shard_that_is_none_costs_itself_only(tmp_path):
    simple(tmp_path / "a.tar", "k")
    (tmp_path / "b.tar").write_bytes(b"<html>not found</html>" * 100)
    simple(tmp_path / "c.tar", "k")
    assert [(row.id, type(row)) for row in rows(tmp_path)] == [("a/k", Row), ("b/b.tar", Reject), ("c/k", Row)]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 100, b"\x1f\x8b\x08broken", b"\0" * 10240])
def test_what_is_no_shard_is_refused_with_its_name(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "a.tar", rooms())
    assert "a.tar" in caught.value.where


def claiming(name: str, size: int) -> bytes:
    return info(name, size=size).tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("size", [2**33, 2**62])
def test_a_header_that_claims_exabytes_costs_nothing(tmp_path, size):
    path = tmp_path / "a.tar"
    path.write_bytes(claiming("a.png", 1) + b"1".ljust(512, b"\0") + claiming("b.png", size) + b"x" * 10_000)
    tracemalloc.start()
    first, bad = rows(path)
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()
    assert first.id == "a" and bad.id == "b" and "the file ends before" in bad.reason


def test_a_member_over_the_limit_costs_its_row_and_the_next_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LARGEST_ROW", 1000)
    path = shard(tmp_path / "a.tar", ("a.png", b"1" * 600), ("a.wav", b"1" * 600), ("b.png", b"1" * 1001), ("c.png", b"1" * 1000))
    first, second, last = rows(path)
    assert "claims 600 bytes; a row may have 1,000" in first.reason and "claims 1,001 bytes" in second.reason and last.id == "c"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_note_of_gigabytes_is_not_held(tmp_path, kind):
    path = tmp_path / "a.tar"
    good = claiming("a.png", 1) + b"1".ljust(512, b"\0")
    path.write_bytes(good + info("note", type=kind, size=2**30).tobuf(tarfile.GNU_FORMAT) + b"x" * 5_000_000)
    (bad,) = [row for row in rows(path) if isinstance(row, Reject)]
    assert "a header claims 1,073,741,824 bytes" in bad.reason


@pytest.mark.slow
def test_no_more_memory_for_more_rows(tmp_path):
    path = shard(tmp_path / "big.tar", *[(f"k{n:05d}.txt", b"text") for n in range(10_000)])
    tracemalloc.start()
    assert sum(isinstance(row, Row) for row in open_source(path, rooms()).rows()) == 10_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**20


NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="./\\\0"), min_size=1, max_size=120)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.dictionaries(
        NAME, st.tuples(st.binary(max_size=700), st.text(st.characters(codec="utf-8"), max_size=20)), min_size=1, max_size=4
    )
)
def test_what_was_written_is_read_back(tmp_path_factory, content):
    members = [(f"{key}.{end}", value) for key, (raw, text) in content.items() for end, value in (("png", raw), ("txt", text.encode()))]
    path = shard(tmp_path_factory.getbasetemp() / "back.tar", *members, format=tarfile.PAX_FORMAT)
    found = rows(path)
    assert [row.id for row in found] == list(content)
    for row, (raw, text) in zip(found, content.values(), strict=True):
        assert ("\0" in text) == isinstance(row, Reject)
        if isinstance(row, Row):
            assert row.cells["image"] == raw and row.cells.get("text", "") == text.removeprefix("\ufeff").strip()


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 4 * 512 - 1), byte=st.integers(0, 255))
def test_any_wrong_byte_ends_in_rows_or_reasons(tmp_path_factory, place, byte):
    path = simple(tmp_path_factory.getbasetemp() / "wrong.tar", "one", "two")
    content = bytearray(path.read_bytes())
    content[place] = byte
    path.write_bytes(content)
    try:
        found = rows(path)
    except InputError as problem:
        assert "wrong.tar" in problem.where
        return
    assert found and all(isinstance(row, Row | Reject) for row in found)
