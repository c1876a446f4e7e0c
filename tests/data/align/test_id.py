"""Joins by key: what counts as one key, what is repeated, kept, rejected and refused, and that nothing is lost."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import triptych
from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.align.keys import key_of
from triptych.data.build import SILENT, Plan, build
from triptych.data.rows import Row
from triptych.data.sources import tabled
from triptych.data.sources.iterable import from_rows
from triptych.data.sources.stamps import stamp
from triptych.data.sources.words import opened
from triptych.data.stored import read_stored
from triptych.modalities import rooms

_spec = importlib.util.spec_from_file_location("align_makers", Path(__file__).with_name("makers.py"))
makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(makers)
entries, jsonl, lines, words = makers.entries, makers.jsonl, makers.lines, makers.words


@pytest.fixture
def voices(tmp_path) -> Path:
    return lines(tmp_path / "voices.csv", "id,speaker,text", "v1,ann,hello", "v2,bea,bye", "v3,ann,yes", "v4,,no", "v5,cat,so")


def people(folder: Path, *rows: str, header: str = "name,age") -> str:
    return str(lines(folder / "people.csv", header, *(rows or ("ann,30", "bea ,40", "dan,50"))))


def test_many_to_one(voices, tmp_path):
    rows, rejects, findings = entries(voices, join=[{"source": people(tmp_path), "on": {"speaker": "name"}}])
    assert [row.id for row in rows] == ["v1", "v2", "v3", "v4", "v5"] and not rejects
    assert [row.cells.get("age") for row in rows] == ["30", "40", "30", None, None] and "name" not in rows[0].cells
    assert findings == [
        "join people.csv on speaker = name: 3 of 5 rows have a partner, 2 are kept without one, 0 are rejected; "
        "2 of its 3 rows were asked for, 1 were not"
    ]


def test_one_to_many_repeats_the_row(tmp_path):
    pictures = lines(tmp_path / "pictures.csv", "id,label", "p1,x", "p2,y", "p3,z")
    said = people(tmp_path, "p1,a dog", "p2,a cat", "p1,one dog", header="picture,caption")
    rows, _, findings = entries(pictures, join=[{"source": said, "on": {"id": "picture"}}])
    assert [(row.id, row.cells.get("caption"), row.cells.get("picture")) for row in rows] == [
        ("p1/row-1", "a dog", "p1"),
        ("p1/row-3", "one dog", "p1"),
        ("p2", "a cat", "p2"),
        ("p3", None, None),
    ]
    assert "1 row has several partners and became 2; data.split.group: picture" in findings[1]
    first, _, findings = entries(pictures, join=[{"source": said, "on": {"id": "picture"}, "many": "first"}])
    assert [row.cells.get("caption") for row in first] == ["a dog", "a cat", None] and "the first of each was taken" in findings[1]
    with pytest.raises(InputError, match="row p1 has 2 partners"):
        entries(pictures, join=[{"source": said, "on": {"id": "picture"}, "many": "refuse"}])


def test_many_to_many_is_refused_unless_a_word_allows_it(voices, tmp_path):
    twice = people(tmp_path, "ann,30", "ann,31")
    join = {"source": twice, "on": {"speaker": "name"}}
    with pytest.raises(InputError) as caught:
        entries(voices, join=[join])
    assert "speaker 'ann' comes several times on both sides: 2 times in people.csv, and in row v3 again" in str(caught.value)
    rows, _, _ = entries(voices, join=[{**join, "many": "all"}])
    assert [row.id for row in rows] == ["v1/row-1", "v1/row-2", "v2", "v3/row-1", "v3/row-2", "v4", "v5"]


def test_missing_sides(voices, tmp_path):
    join = {"source": people(tmp_path), "on": {"speaker": "name"}}
    rows, rejects, findings = entries(voices, join=[{**join, "missing": "reject"}])
    assert [row.id for row in rows] == ["v1", "v2", "v3"]
    assert [(reject.id, reject.reason) for reject in rejects] == [
        ("v4", "people.csv has no row with speaker None"),
        ("v5", "people.csv has no row with speaker 'cat'"),
    ]
    assert "0 are kept without one, 2 are rejected" in findings[0]
    with pytest.raises(InputError, match="row v4"):
        entries(voices, join=[{**join, "missing": "refuse"}])
    rows, _, _ = entries(voices, join=[{**join, "unused": "keep"}])
    assert rows[-1] == Row("people/row-3", {"age": "50", "speaker": "dan"})
    with pytest.raises(InputError, match=r"1 rows of people\.csv were not asked for: row-3"):
        entries(voices, join=[{**join, "unused": "refuse"}])


def test_columns_of_one_name_are_refused_with_a_way_out(voices, tmp_path):
    join = {"source": people(tmp_path, "ann,30,x", header="speaker,age,text"), "on": "speaker"}
    with pytest.raises(InputError) as caught:
        entries(voices, join=[join])
    assert "the rows have a column 'text' and so has people.csv" in str(caught.value) and "prefix: people_" in str(caught.value)
    rows, _, _ = entries(voices, join=[{**join, "prefix": "person_"}])
    assert rows[0].cells["person_text"] == "x" and rows[0].cells["text"] == "hello"
    rows, _, _ = entries(voices, join=[{**join, "columns": {"other": "text"}}])
    assert rows[0].cells["other"] == "x"


@pytest.mark.parametrize(
    ("join", "says"),
    [
        ({"on": {"speaker": "nmae"}}, "did you mean 'name'"),
        ({"on": {"speker": "name"}}, "no row has a column 'speker'"),
        ({"on": {"text": "name"}}, "the rows say hello, bye, yes; it says ann, bea, dan"),
        ({"on": {"speaker": "name"}, "columns": {"price": "cost"}}, "no row has a column 'cost'"),
    ],
)
def test_wrong_words_are_answered(voices, tmp_path, join, says):
    with pytest.raises(InputError) as caught:
        entries(voices, join=[{"source": people(tmp_path), **join}])
    assert says in str(caught.value).replace("bea ", "bea")


def test_an_empty_table_is_refused(voices, tmp_path):
    with pytest.raises(InputError, match="no rows below its header"):
        entries(voices, join=[{"source": str(lines(tmp_path / "e.csv", "name,age")), "on": {"speaker": "name"}}])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *((one, other, True) for one, other in ((1, "1"), (1.0, "1"), ("1.50", 1.5), (" a ", "a"), (0.0, "-0"), (2**60, str(2**60)))),
        *((one, other, True) for one, other in ((True, "true"), (1e-7, "0.0000001"))),
        *((one, other, False) for one, other in (("007", 7), ("A", "a"), ("12e5", "120e4"), ("1,5", 1.5))),
    ],
)
def test_what_is_one_key(one, other, same):
    assert (key_of(one) == key_of(other)) is same


def test_cells_that_are_no_key(tmp_path):
    left = jsonl(tmp_path / "l.jsonl", {"k": [1, 2], "x": 1}, {"k": 1, "x": 2}, {"x": 3})
    right = jsonl(tmp_path / "r.jsonl", {"k": [1], "y": 1}, {"k": "1", "y": 2}, {"y": 3})
    rows, rejects, _ = entries(left, join=[{"source": str(right), "on": "k"}])
    assert [row.cells.get("y") for row in rows] == [2, None]
    assert [(reject.id, reject.reason) for reject in rejects] == [("row-1", "k: a list is no key"), ("r/row-1", "k: a list is no key")]


def test_two_columns_as_one_key(tmp_path):
    left = lines(tmp_path / "l.csv", "song,take,x", "a,1,p", "a,2,q", "b,1,r")
    right = lines(tmp_path / "r.csv", "title,take,y", "a,2,two", "a,1,one")
    rows, _, _ = entries(left, join=[{"source": str(right), "on": {"song": "title", "take": "take"}}])
    assert [row.cells.get("y") for row in rows] == ["one", "two", None]
    asked = {"source": str(right), "columns": {"song": "title"}, "on": ["song", "take"]}
    assert entries(left, join=[asked])[0] == rows


def test_files_are_seen_from_their_own_folders(tmp_path):
    """A column of files of the joined table leads to its own folder, and a file is a key however it is written."""
    makers.recording(tmp_path / "sounds/1.wav", 0.1)
    left = lines(tmp_path / "left/l.csv", "file,label", "../sounds/1.wav,x")
    right = lines(tmp_path / "sounds/r.csv", "file,audio", "../sounds/1.wav,1.wav")
    asked = words(left, join=[{"source": str(right), "on": "file"}])
    build(opened(asked, rooms(), {}), tmp_path / "t.lance", rooms(), Plan(), SILENT)
    (row,) = read_stored(tmp_path / "t.lance").rows
    assert row.cells["audio"].resolve() == tmp_path / "sounds/1.wav"


keys = st.sampled_from(["a", "b", "c", "d", ""])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(keys, min_size=1, max_size=8), st.lists(keys, min_size=1, max_size=8), st.sampled_from(["keep", "reject"]))
def test_a_join_is_that_of_a_plain_loop_and_every_row_is_accounted_for(ours, theirs, missing):
    left = from_rows([{"k": key, "x": n} for n, key in enumerate(ours)])
    path = Path("unused")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        right = jsonl(Path(folder) / "r.jsonl", *({"k": key, "y": n} for n, key in enumerate(theirs)))
        asked = words(path, join=[{"source": str(right), "on": "k", "many": "all", "missing": missing}])
        found = opened(asked, rooms(), {}, left)
        by_key = defaultdict(list)
        for n, key in enumerate(theirs):
            by_key[key].append(n)
        wanted = [(x, y) for x, key in enumerate(ours) for y in (by_key[key] if key else []) or [None]]
        if all(y is None for _, y in wanted):
            with pytest.raises(InputError, match=r"no row has a|has no column 'k'"):  # a column of empty cells is none
                list(found.rows())
            return
        every = list(found.rows())
    rows = [(row.cells["x"], row.cells.get("y")) for row in every if isinstance(row, Row)]
    assert rows == [(x, y) for x, y in wanted if y is not None or missing == "keep"]
    assert len(every) == len(wanted) and len({row.id for row in every}) == len(every)


def test_a_table_larger_than_memory_is_joined_by_number(tmp_path, monkeypatch):
    """The same rows whether the table is held or lies on the disk, media included; it is brought there once."""
    left = from_rows([{"k": n % 50, "x": n} for n in range(200)])
    right = from_rows([{"k": n, "file": Blob(bytes([n]) * 1000, "a.bin")} for n in range(50)])
    build(right, tmp_path / "r.lance", rooms(), Plan(), SILENT)
    text = jsonl(tmp_path / "r.jsonl", *({"k": n, "y": f"{n}" * 50} for n in range(60)))
    found = []
    for most in (tabled.HELD_BYTES, 1000):
        monkeypatch.setattr(tabled, "HELD_BYTES", most)
        monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / f"cache{most}"))
        asked = words(Path("x"), join=[{"source": str(tmp_path / "r.lance"), "on": "k"}, {"source": str(text), "on": "k"}])
        source = opened(asked, rooms(), {}, left)
        rows = [(row.id, row.cells["x"], bytes(row.cells["file"][:1])[0], row.cells["y"]) for row in source.rows()]
        assert list(source.rows()) and len(source.findings) == 2  # a second pass says nothing twice
        found.append(rows)
        assert bool(list((tmp_path / f"cache{most}").rglob("*.lance"))) == (most == 1000)
    assert found[0] == found[1] and found[0][77][1:] == (77, 27, "27" * 50)


def test_what_a_joined_source_depends_on(voices, tmp_path):
    """A table in the cache, and a build that was killed, go on only where both sides and the words are the same."""
    join = {"source": people(tmp_path), "on": {"speaker": "name"}}
    first = stamp(opened(words(voices, join=[join]), rooms(), {}))
    assert first == stamp(opened(words(voices, join=[join]), rooms(), {}))
    assert first != stamp(opened(words(voices, join=[{**join, "prefix": "p_"}]), rooms(), {}))
    people(tmp_path, "ann,31")
    assert first != stamp(opened(words(voices, join=[join]), rooms(), {}))


def test_from_python_and_to_a_table(voices, tmp_path):
    tree = {"source": str(voices), "join": [{"source": people(tmp_path), "on": {"speaker": "name"}, "missing": "reject"}]}
    built = triptych.build(tree, tmp_path / "t.lance", max_rejected=0.5, quiet=True)
    assert (built.rows, built.kept, built.rejected) == (5, 3, 2) and "3 of 5 rows have a partner" in built.findings[0]
    with pytest.raises(InputError, match="unknown field 'split'"):
        triptych.build({**tree, "split": {}}, tmp_path / "t.lance", quiet=True)


def test_a_recipe_takes_the_same_words_and_its_paths_are_seen_from_its_folder(tmp_path):
    from triptych.run.recipe import read

    recipe = lines(
        tmp_path / "r/talk.yaml",
        "data:",
        "  source: calls",
        "  windows: {column: audio, seconds: 10}",
        "  join: [{source: people.csv, on: id}, {source: said.srt, by: time}]",
        "inputs: {audio: {}, text: {}}",
        "tasks: {match: {kind: contrast, between: [audio, text]}}",
        "stages: [{epochs: 1}]",
    )
    data = read(str(recipe)).data
    assert [data.source, *(join.source for join in data.join)] == [
        str(tmp_path / "r" / name) for name in ("calls", "people.csv", "said.srt")
    ]
    assert data.split.group == "recording"
    assert read(str(recipe), ["data.windows.overlap=3", "data.join.1.match=middle"]).data.join[1].match == "middle"
