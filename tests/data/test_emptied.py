"""Words that stand for an empty cell: said by the user, never guessed, and asked about by the doctor and the build."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.plain import is_number
from triptych.data.build import Plan, build
from triptych.data.rows import Reject, Row
from triptych.data.settings import DataSettings
from triptych.data.sources.iterable import from_rows
from triptych.data.sources.tabled import as_table
from triptych.data.sources.words import opened
from triptych.data.stored import read_stored
from triptych.data.suspects import SUSPECTS, is_suspect
from triptych.modalities import rooms
from triptych.run.progress import Voice

QUIET = Voice(quiet=True)
LINES = "id,picture,price,label\na,NA,1.5,cat\nb,-,NA,dog\nc,,2.5,NA\nd,,null,None\n"


def written(tmp_path: Path, content: str = LINES) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(content)
    return path


def rows(path: Path, **words) -> list[Row | Reject]:
    return list(opened(DataSettings(source=str(path), **words), rooms(), {"picture": rooms()["image"]}).rows())


def test_only_the_words_that_are_said_are_empty(tmp_path):
    path = written(tmp_path)
    found = {row.id: row.cells for row in rows(path, empty=["NA", "-"])}
    assert found["a"] == {"id": "a", "price": "1.5", "label": "cat"} and found["b"] == {"id": "b", "label": "dog"}
    assert found["c"] == {"id": "c", "price": "2.5"} and found["d"] == {"id": "d", "price": "null", "label": "None"}
    assert rows(path)[3].cells["label"] == "None" and rows(path)[0].cells["picture"] == tmp_path / "NA"


def test_an_empty_number_is_no_wrong_number(tmp_path):
    """What is empty is so before types are asked for, and before a text is made of it."""
    words = {"price": {"type": "number"}, "text": "{label} costs {price}"}
    found = rows(written(tmp_path), empty=["NA", "null"], columns=words)
    assert [isinstance(row, Row) for row in found] == [True] * 4
    assert [row.cells.get("price") for row in found] == [1.5, None, 2.5, None]
    assert [row.cells.get("text") for row in found] == ["cat costs 1.5", None, None, None]
    assert any(isinstance(row, Reject) for row in rows(written(tmp_path), columns=words))


def test_a_table_on_the_disk_and_one_in_memory_say_the_same(tmp_path):
    path = written(tmp_path, LINES.replace("NA,1.5", ",1.5").replace("-,NA", ",NA"))
    build(opened(DataSettings(source=str(path)), rooms(), {}), tmp_path / "t.lance", rooms(), Plan(), QUIET)
    words = DataSettings(source=str(tmp_path / "t.lance"), empty=["NA", "None"])
    found = as_table(opened(words, rooms(), {}), words, rooms(), QUIET)
    assert list(found.rows.cells("label")) == ["cat", "dog", None, None] and len(found.rows) == 4
    assert found.rows[2].cells.keys() == {"price"} and found.subset([3, 0]).rows.take([1, 0], ["label"])[1].cells == {}
    built = build(opened(words, rooms(), {}), tmp_path / "u.lance", rooms(), Plan(), QUIET)
    assert built.kept == 4 and list(read_stored(tmp_path / "u.lance").rows.cells("label")) == ["cat", "dog", None, None]


@settings(max_examples=40, deadline=None)
@given(cells=st.lists(st.sampled_from(["NA", " NA ", "na", "x", "", "-", "NAN"]), min_size=1, max_size=8))
def test_spaces_do_not_count_and_capitals_do(cells):
    words = DataSettings(source="rows:r", empty=["NA", "-"])
    source = opened(words, rooms(), {}, from_rows([{"a": cell, "n": 1} for cell in cells], name="r"))
    found = [row.cells.get("a") for row in source.rows()]
    assert found == [None if cell.strip() in ("NA", "-", "") else cell for cell in cells]


def test_a_column_of_numbers_with_words_for_nothing_is_said(tmp_path):
    path = written(tmp_path, "a,b,c\n1,x,5\nNA,-,6\n-,y,7\n3,NA,8\n")
    built = build(opened(DataSettings(source=str(path)), rooms(), {}), tmp_path / "t.lance", rooms(), Plan(), QUIET)
    assert {column.name: column.kind for column in built.columns} == {"a": "text", "b": "text", "c": "integer"}
    assert built.findings == [
        "a: 2 numbers, but 1 say 'NA', 1 say '-', so it is kept as text; --empty NA --empty - makes those cells empty"
    ]
    words = DataSettings(source=str(path), empty=["NA", "-"])
    built = build(opened(words, rooms(), {}), tmp_path / "t.lance", rooms(), Plan(), QUIET)
    assert {column.name: column.kind for column in built.columns} == {"a": "integer", "b": "text", "c": "integer"} and not built.findings


@pytest.mark.parametrize("word", sorted(SUSPECTS))
def test_suspects_are_seen_in_any_case(word):
    assert is_suspect(word) and is_suspect(word.upper()) and is_suspect(f" {word}")
    assert not is_suspect(f"{word}{word}x") and (not is_number(word) or word.endswith("nan"))
