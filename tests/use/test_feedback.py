"""Remarks are kept whole or not at all, found again as they were, and what is doubtful in them is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import BadValue, InputError, TriptychError
from triptych.contract.cells import Blob, Several, Span
from triptych.contract.tasks import Classify, Contrast, Generate, MultiLabel, Regress
from triptych.use.disputes import doubts
from triptych.use.feedback import Feedback
from triptych.use.opinion import mos, summary
from triptych.use.packed import hashed, packed, unpacked
from triptych.use.remarks import Remark, corrected, kind_of

DIGIT = {"digit": Classify(target="digit")}


def said(correction: str, run: str = "one", *, at: str = "a", rater: str = "", sure: float = 0.5, task: str = "digit") -> Remark:
    answer = {"said": run, "confidence": sure}
    return Remark(kind="correction", task=task, correction=correction, answer=answer, input_hash=at, rater=rater)


files = st.builds(Blob, st.binary(max_size=40), st.text(max_size=8))
plain = st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
cells = st.dictionaries(
    st.text(min_size=1, max_size=8),
    files
    | plain
    | st.builds(Span, files, st.floats(0, 5), st.floats(6, 9))
    | st.builds(lambda some: Several(tuple(some)), st.lists(files, min_size=2, max_size=3)),
    max_size=4,
)
words = st.text(st.characters(codec="utf-8"), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)


@given(cells)
def test_cells_are_found_again_as_they_were(row):
    found = unpacked(*packed(row))
    assert found == row and hashed(found) == hashed(row)
    names = [one.name for cell in row.values() for one in [cell] if isinstance(one, Blob)]
    assert names == [one.name for cell in found.values() for one in [cell] if isinstance(one, Blob)]


def test_an_input_is_known_by_what_it_holds_not_by_its_name_or_order(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1234")
    assert hashed({"image": path, "text": "x"}) == hashed({"text": "x", "image": Blob(b"1234", "b.png"), "audio": None})
    assert len({hashed(row) for row in ({"a": "1"}, {"a": 1}, {"a": Blob(b"1")}, {"b": "1"}, {"a": Span(Blob(b"1"), 0, 1)})}) == 5
    with pytest.raises(BadValue, match="cannot be read"):
        packed({"image": tmp_path / "none.png"})
    with pytest.raises(BadValue, match="cannot be kept"):
        packed({"image": object()})


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(words, json_values.filter(lambda one: one is not None), words, cells), min_size=1, max_size=4))
def test_a_table_gives_back_what_was_said(tmp_path, sayings):
    shutil.rmtree(tmp_path / "f.lance", ignore_errors=True)
    table = Feedback(tmp_path / "f.lance")
    remarks = [
        Remark(kind="correction", task=task, correction=value, answer={"said": value}, note=note) for task, value, note, _ in sayings
    ]
    table.add_all([(one, row) for one, (*_, row) in zip(remarks, sayings, strict=True)])
    found = list(table.remarks())
    assert [one.remark for one in found] == [
        one.model_copy(update={"input_hash": hashed(row)}) for one, (*_, row) in zip(remarks, sayings, strict=True)
    ]
    assert [one.cells for one in found] == [row for *_, row in sayings]


def test_a_table_that_is_not_there_is_empty(tmp_path):
    table = Feedback(tmp_path / "f.lance")
    assert (len(table), table.version, list(table.remarks()), table.summary()["remarks"], table.findings()) == (0, 0, [], 0, [])
    (tmp_path / "other.lance").mkdir()
    (tmp_path / "other.lance" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no table of feedback"):
        Feedback(tmp_path / "other.lance").add(said("two"), {"text": "x"})


PROGRAM = """
import sys
from triptych.use.feedback import Feedback, Remark
table = Feedback(sys.argv[1])
for number in range(int(sys.argv[3])):
    table.add(Remark(kind="rating", rating=5, note=f"{sys.argv[2]} {number}"), {"text": "x" * 1000})
    print(number, flush=True)
"""


def test_two_processes_add_to_one_table_and_nothing_is_lost(tmp_path, forked):
    path = tmp_path / "f.lance"
    both = [forked.start(path, name, 8, code=PROGRAM, stdout=subprocess.PIPE) for name in "ab"]
    assert [one.communicate(timeout=200) and one.returncode for one in both] == [0, 0]
    notes = [one.remark.note for one in Feedback(path).remarks()]
    assert sorted(notes) == sorted(f"{name} {number}" for name in "ab" for number in range(8))
    assert [note for note in notes if note[0] == "a"] == [f"a {number}" for number in range(8)]


def test_a_process_that_is_killed_while_it_adds_takes_nothing_with_it(tmp_path, forked):
    path = tmp_path / "f.lance"
    one = forked.start(path, "a", 10_000, code=PROGRAM, stdout=subprocess.PIPE)
    assert one.stdout is not None
    for _ in range(5):
        one.stdout.readline()
    time.sleep(0.05)
    os.kill(one.pid, signal.SIGKILL)
    told = 5 + len(one.communicate(timeout=60)[0].split())
    there = len(Feedback(path))
    assert told <= there <= told + 1
    Feedback(path).add(said("two"), {"text": "x"})
    assert len(list(Feedback(path).remarks())) == there + 1


def test_a_full_disk_loses_nothing_earlier(tmp_path, monkeypatch):
    import lance

    table = Feedback(tmp_path / "f.lance")
    table.add(said("two"), {"text": "x"})

    def full(*args, **words):
        raise OSError("LanceError(IO): No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(lance, "write_dataset", full)
        with pytest.raises(TriptychError, match="the disk is full"):
            table.add(said("three"), {"text": "x"})
    assert [one.remark.correction for one in table.remarks()] == ["two"]


@pytest.mark.parametrize("damage", ["cut", "gone", "rubbish"])
def test_a_damaged_table_says_so(tmp_path, damage):
    table = Feedback(tmp_path / "f.lance")
    table.add(said("two"), {"text": "x"})
    for file in (tmp_path / "f.lance" / ("_versions" if damage == "rubbish" else "data")).iterdir():
        content = file.read_bytes()
        file.unlink() if damage == "gone" else file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\0" * 500)
    with pytest.raises(InputError, match="damaged"):
        list(table.remarks())


def test_many_small_files_are_brought_together(tmp_path, monkeypatch):
    monkeypatch.setattr("triptych.use.feedback.PIECES", 4)
    table = Feedback(tmp_path / "f.lance")
    for number in range(6):
        table.add(said(str(number)), {"text": str(number), "file": Blob(bytes([number]))})
    assert [one.remark.correction for one in table.remarks()] == list("012345")
    assert [one.cells["file"] for one in table.remarks()] == [bytes([number]) for number in range(6)]


def test_what_a_remark_may_say():
    assert kind_of({"chosen": "a", "rejected": "b"}) == "preference" and kind_of({"score": 3}) == "listening"
    for wrong in ({}, {"correction": "a", "rating": 3}):
        with pytest.raises(InputError):
            kind_of(wrong)
    for wrong in ({"kind": "rating"}, {"kind": "rating", "rating": 6}, {"kind": "preference", "chosen": "a", "rejected": "a"}):
        with pytest.raises(ValueError, match=" "):
            Remark.model_validate(wrong)
    assert corrected(" a|b |a", "tags", MultiLabel(target="tags")) == ["a", "b"]
    assert corrected("", "tags", MultiLabel(target="tags")) == []
    assert corrected("2.5", "n", Regress(target="n")) == 2.5
    for value, task in (("x", Regress(target="n")), ("", Classify(target="n")), ("x", Contrast(between=["a", "b"]))):
        with pytest.raises(InputError):
            corrected(value, "n", task)


def test_counts_and_how_often_the_run_was_right():
    tags = {"tags": MultiLabel(target="tags"), **DIGIT, "say": Generate(target="t", template="x")}
    labels = Remark(kind="correction", task="tags", correction=["a"], answer={"probabilities": {"a": 0.9, "b": 0.2}}, input_hash="q")
    told = summary(
        [said("one"), said("two", at="b", rater="x"), said("two", at="b", rater="y"), labels, Remark(kind="rating", rating=5)], tags
    )
    assert told["kinds"] == {"correction": 4, "rating": 1, "preference": 0, "listening": 0} and told["inputs"] == 4
    right = told["tasks"]["digit"]["right"]
    assert (right["count"], right["of"]) == (1, 3) and right["low"] < 1 / 3 < right["high"]
    assert told["tasks"]["digit"]["agreement"] == {"same": 1, "pairs": 1, "value": 1.0}
    assert told["tasks"]["tags"]["right"]["count"] == 1


def test_votes_on_voices_with_their_interval():
    from scipy import stats

    votes = [3.0, 4.0, 5.0, 4.0]
    found = mos([Remark(kind="listening", score=vote, rater=f"r{n}") for n, vote in enumerate(votes)])
    low, high = stats.t.interval(0.95, 3, loc=4.0, scale=stats.sem(votes))
    assert found["mean"] == 4 and found["low"] == pytest.approx(max(1, low)) and found["high"] == pytest.approx(min(5, high))
    twice = mos([Remark(kind="listening", score=vote, rater=f"r{n}") for n, vote in enumerate(votes) for _ in range(9)])
    assert twice["low"] == pytest.approx(found["low"])  # votes of one rater again and again make nothing surer
    assert mos([Remark(kind="listening", score=3), Remark(kind="listening", score=5)])["low"] is None


def test_contradictions_and_those_who_change_their_mind():
    found = doubts([said("two"), said("three"), said("four", at="b", rater="x"), said("five", at="b", rater="x")], DIGIT)
    assert len(found.contradictions) == 2 and len(found.superseded) == 1
    assert [one.code for one in found.findings if one.severity == "warning"] == ["contradictions"]


def test_a_planted_correction_is_seen_and_a_new_kind_of_input_is_not():
    fine = [said("one", at=f"f{n}", sure=0.99) for n in range(9)]
    planted = said("seven", at="p", sure=0.99)
    found = doubts([*fine, planted], DIGIT)
    assert list(found.suspects) == [planted.id]
    assert not doubts([*fine, planted], DIGIT, {planted.id: "seven"}).suspects  # the training rows nearest to it speak for it
    new = [said("seven", at=f"n{n}", sure=0.99) for n in range(10)]
    assert not doubts(new, DIGIT, {one.id: "one" for one in new}).suspects


def test_raters_who_stand_alone_or_flood():
    fine = [said("one", at=f"f{n}", rater="ann", sure=0.99) for n in range(10)]
    bad = [said("seven", at=f"b{n}", rater="eve", sure=0.5) for n in range(20)]
    codes = {one.code for one in doubts([*fine, *bad], DIGIT).findings}
    assert {"lone rater", "flood"} <= codes
    assert not doubts(fine, DIGIT).findings
