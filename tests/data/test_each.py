"""Lists in cells made into rows: every entry once, nothing lost without a word."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.base.plain import override
from triptych.contract.cells import Several
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import DataSettings, EachSettings
from triptych.data.sources.each import each_entry
from triptych.data.sources.words import opened
from triptych.modalities import rooms

BOXES = {"column": "boxes", "into": {"phrase": 4, "box": [0, 1, 2, 3]}}


def taken(rows, **words):
    made = each_entry(Source("here", lambda: iter(rows)), EachSettings(**words))
    return list(made.rows()), made.findings


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6), st.booleans())
def test_entries_come_in_their_order_with_the_rest_of_their_row_and_a_row_without_one_stays(lists, as_json):
    rows = [Row(f"r{n}", {"of": n, "list": json.dumps(one) if as_json else one}) for n, one in enumerate(lists)]
    made, _ = taken(rows, column="list") if rows else ([], None)
    for n, one in enumerate(lists):
        mine = [row for row in made if row.cells["of"] == n]
        assert [row.cells.get("list") for row in mine] == (one or [None])
        assert [row.id for row in mine] == ([f"r{n}-{place}" for place in range(1, len(one) + 1)] or [f"r{n}"])
        assert [row.cells.get("row") for row in mine] == ([f"r{n}"] * len(one) or [None])
    assert len({row.id for row in made}) == len(made)


def test_boxes_of_a_picture_become_a_phrase_and_a_box_a_row_and_each_picture_is_taken_once():
    boxes = json.dumps([[1, 2, 3.5, 4, "cat"], [5, 6, 7, 8, "red bus"]])
    rows = [Row(f"7-{n}", {"image": "a.jpg", "picture": 7, "boxes": boxes, "caption": f"c{n}"}) for n in range(3)]
    made, said = taken([*rows, Row("8", {"image": "b.jpg", "picture": 8}), Reject("9", "broken")], **BOXES, once="picture")
    assert made[0] == Row("7-0-1", {"image": "a.jpg", "picture": 7, "caption": "c0", "row": "7-0", "phrase": "cat", "box": [1, 2, 3.5, 4]})
    assert made[1].cells["phrase"] == "red bus"
    assert made[2:] == [Row("8", {"image": "b.jpg", "picture": 8}), Reject("9", "broken")]
    assert said == [
        "each: 1 row became 2, one for each entry of 'boxes'",
        "each: 1 row without an entry stays as it is",
        "each: 2 rows are left out, as one with the same 'picture' came before",
    ]


def test_entries_that_are_objects_or_several_files_or_nested():
    asked = [{"q": "how many?", "a": [{"said": "two"}]}, {"q": "what?", "a": None}]
    made, _ = taken([Row("1", {"asked": json.dumps(asked)})], column="asked", into={"question": "q", "answer": "a"}, name="of")
    assert [row.cells for row in made] == [
        {"of": "1", "question": "how many?", "answer": '[{"said": "two"}]'},
        {"of": "1", "question": "what?"},
    ]
    made, _ = taken([Row("1", {"image": Several(("a.png", "b.png"))})], column="image")
    assert [row.cells["image"] for row in made] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("cell", "into", "why"),
    [
        ("a|b", {}, "'a|b' is no list"),
        ("[[1, 2]]", {"phrase": 4}, "entry 1: [1, 2] has no place 4"),
        ("[3]", {"phrase": 0}, "entry 1: 3 has no place 0: it is no list"),
        ('[{"a": 1}]', {"phrase": "b"}, "entry 1: {\"a\": 1} has nothing called 'b'"),
        ("[" * 100_000, {}, "is no list"),
    ],
)
def test_what_cannot_be_taken_apart_is_rejected_with_its_reason(cell, into, why):
    fine = Row("2", {"boxes": '[[1, 2, 3, 4, "cat"], {"b": 1}]'})
    made, _ = taken([Row("1", {"boxes": cell}), fine], column="boxes", into=into)
    assert isinstance(made[0], Reject)
    assert why in made[0].reason


def test_a_column_that_is_not_there_stops_with_those_that_are():
    for words in ({"column": "boxs"}, {"column": "boxes", "once": "pictur"}):
        with pytest.raises(InputError, match=r"data\.each asks for"):
            taken([Row("1", {"boxes": "[1]", "picture": 1})], **words)


def test_places_that_no_entry_has_stop_with_the_first_reason():
    with pytest.raises(InputError, match=r"into asks for; the first: boxes, entry 1: \[1, 2\] has no place 4"):
        taken([Row("1", {"boxes": "[[1, 2], [3]]"})], column="boxes", into={"phrase": 4})


def test_a_recipe_takes_lists_apart_and_keeps_what_was_one_row_on_one_side(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "pictures": ["x.png", "y.png"]}))
    parts = [{"name": name, "source": str(tmp_path / f"{name}.jsonl")} for name in ("a", "b")]
    for source in (parts[0]["source"], parts):
        words = DataSettings(source=source, each="pictures")
        assert words.split.group == "row"
        found = opened(words, rooms(), {"pictures": rooms()["image"]})
        made = list(found.rows())
        assert [row.cells["pictures"] for row in made] == [tmp_path / "x.png", tmp_path / "y.png"] * (1 if isinstance(source, str) else 2)
        assert len([said for said in found.findings if said.startswith("each: 1 row")]) == (1 if isinstance(source, str) else 2)
    assert DataSettings(source="x", each={"column": "boxes", "once": "picture"}).split.group == "picture"
    tree = override({"source": "x", "each": "boxes"}, ["each.once=picture"])  # as --set data.each=boxes --set data.each.once=picture
    assert DataSettings(**tree).each == EachSettings(column="boxes", once="picture")
