from __future__ import annotations

import codecs
import gzip
import json
import math
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.data.rows import Reject, Row
from triptych.data.sources import jsonl as reader
from triptych.data.sources import open_source
from triptych.data.sources.elements import elements
from triptych.data.sources.encoded import look
from triptych.data.sources.tabled import read_source
from triptych.modalities import rooms


def source(tmp_path, content: str | bytes, name: str = "t.jsonl"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(path, rooms())


def rows(tmp_path, content: str | bytes, name: str = "t.jsonl") -> list:
    return list(source(tmp_path, content, name).rows())


def test_nested_objects_are_columns_and_lists_of_scalars_stay_lists(tmp_path):
    line = {
        "text": "hi",
        "a": {"b": {"c": 1}, "d": None},
        "tags": ["x", "y"],
        "none": [],
        "boxes": [{"x": 1}],
        "mixed": [1, [2]],
        "on": True,
    }
    (row,) = rows(tmp_path, json.dumps(line))
    assert row == Row(
        "row-1",
        {"text": "hi", "a.b.c": 1, "tags": ["x", "y"], "none": [], "boxes": '[{"x": 1}]', "mixed": "[1, [2]]", "on": True},
    )


def test_what_says_nothing_has_no_cell(tmp_path):
    (row,) = rows(tmp_path, '{"a": null, "b": "", "c": "  ", "d": NaN, "e": {}, "f": 0, "g": false}')
    assert row.cells == {"f": 0, "g": False}


def test_a_broken_line_costs_its_row_and_is_found_again(tmp_path):
    lines = [f'{{"n": {n}}}' for n in range(1, 10)]
    lines[6], lines[7] = '{"n": 7, "text" "x"}', '{"text": "a\tb"}'
    lines[4] = '{"n": 5'
    found = rows(tmp_path, "\n".join(lines))
    assert [row.id for row in found] == [f"row-{n}" for n in range(1, 10)]
    assert found[4] == Reject("row-5", "line 5, column 8: this is not JSON: expecting ',' delimiter")
    assert found[6] == Reject("row-7", "line 7, column 17: this is not JSON: expecting ':' delimiter")
    assert found[7] == Reject("row-8", "line 8, column 12: this is not JSON: invalid control character")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[1]", "not a list"),
        ("7", "not a number"),
        ("null", "not null"),
        ('"x"', "not a text"),
        ('{"a": 1, "a": 2}', "the name 'a' is used twice"),
        ('{"a.b": 1, "a": {"b": 2}}', "two fields come to one column, 'a.b'"),
        ("{" + '"a":{' * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_a_line_that_is_no_row(tmp_path, line, says):
    first, bad, last = rows(tmp_path, f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    assert isinstance(first, Row) and isinstance(last, Row) and last.id == "row-3"
    assert isinstance(bad, Reject) and bad.id == "row-2" and "line 2" in bad.reason and says in bad.reason


def test_empty_lines_are_passed_over_and_counted(tmp_path):
    assert [row.id for row in rows(tmp_path, '\n{"a": 1}\r\n  \n{"a": 2}')] == ["row-2", "row-4"]


def test_ids_are_used_where_they_are_whole_and_single(tmp_path):
    ids = lambda text: [row.id for row in rows(tmp_path, text)]  # noqa: E731
    assert ids('{"id": "x"}\n{"id": 7}\n') == ["x", "7"]
    assert ids('{"id": "x"}\n{"id": "x"}\n') == ["row-1", "row-2"]
    assert ids('{"id": "x"}\n{"a": 1}\n') == ["row-1", "row-2"]
    assert ids('{"id": "x"}\n{"id": tru}\n') == ["x", "row-2"]


MARKED = [("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("encoding", "bom"), MARKED)
def test_encodings(tmp_path, encoding, bom, packed):
    content = bom + '{"text": "grüße 😀"}\r\n{"text": "b"}'.encode(encoding)
    found = source(tmp_path, gzip.compress(content) if packed else content, "t.jsonl.gz" if packed else "t.ndjson")
    assert [row.cells["text"] for row in found.rows()] == ["grüße 😀", "b"] and not found.findings


def test_latin1_is_read_and_said(tmp_path):
    found = source(tmp_path, '{"text": "grüße"}\n'.encode("latin-1"))
    assert next(found.rows()).cells["text"] == "grüße"
    assert found.findings == ["t.jsonl is not UTF-8; it was read as Latin-1"]


def test_latin1_is_seen_where_it_begins_late_and_where_a_letter_lies_across_a_chunk(tmp_path):
    wide = '{"text": "' + "é" * 2**20 + '"}\n'
    assert not source(tmp_path, wide).findings
    assert source(tmp_path, wide.encode() + '{"text": "é"}'.encode("latin-1")).findings


def test_half_an_emoji_can_be_written(tmp_path):
    (row,) = rows(tmp_path, '{"text": "cut \\ud83d", "\\ud83d": 1}')
    assert row.cells == {"text": "cut \ufffd", "\ufffd": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ('{\n"a": 1\n}', "one JSON object over several lines"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a text file"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(tmp_path, content, says):
    with pytest.raises(InputError) as caught:
        source(tmp_path, content)
    assert says in str(caught.value) and "t.jsonl" in str(caught.value)


def test_a_packed_file_that_breaks_off_keeps_the_rows_before(tmp_path):
    whole = gzip.compress("".join(f'{{"n": {n}, "h": "{hash(str(n))}"}}\n' for n in range(2000)).encode())
    found = rows(tmp_path, whole[: len(whole) // 2], "t.jsonl.gz")
    assert len(found) > 100 and all(isinstance(row, Row) for row in found[:-1])
    assert isinstance(found[-1], Reject) and f"breaks off after line {len(found) - 1}" in found[-1].reason


def test_a_line_without_end_is_never_held(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "LONGEST_LINE", 50)
    first, long, last = rows(tmp_path, '{"a": 1}\n{"a": "' + "x" * 10_000 + '"}\n{"a": 2}\n')
    assert first.cells == {"a": 1} and last == Row("row-3", {"a": 2})
    assert long == Reject("row-2", "line 2 has more than 50 characters")


@pytest.mark.slow
def test_the_same_rows_each_time_and_no_more_memory_for_more_of_them(tmp_path):
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        file.writelines(f'{{"id": "r{n}", "text": "some words for row {n}", "deep": {{"n": {n}}}}}\n' for n in range(20_000))
    found = open_source(path, rooms())
    tracemalloc.start()
    assert sum(isinstance(row, Row) for row in found.rows()) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # the rows themselves are 12 MB
    again = found.rows()
    assert [next(again).id, next(again).id] == ["r0", "r1"]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
NAMES = st.text(st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1, max_size=6)


def test_a_list_of_conversations_is_read_as_it_is(tmp_path):
    """LLaVA's file: one JSON list, indented or on one line."""
    asked = [
        {"id": f"{n}", "image": f"{n}.png", "conversations": [{"from": "human", "value": "<image>\n[what], {is} it\\?"}]} for n in range(3)
    ]
    for name, indent in (("t.json", 2), ("t.json", None), ("t.jsonl", None)):
        found = rows(tmp_path, json.dumps(asked, indent=indent), name)
        assert [row.id for row in found] == ["0", "1", "2"]
        assert [row.cells["image"] for row in found] == ["0.png", "1.png", "2.png"]
        assert json.loads(found[2].cells["conversations"]) == asked[2]["conversations"]
    assert [row.id for row in rows(tmp_path, gzip.compress(json.dumps(asked).encode()), "t.json.gz")] == ["0", "1", "2"]
    lines = "\n".join(map(json.dumps, asked))
    assert [row.id for row in rows(tmp_path, lines, "t.json")] == ["0", "1", "2"]


def test_what_is_broken_in_a_list_costs_its_row(tmp_path):
    content = '[{"a": 1}, {"a": 2,, "b": 3}, 4, {"a": 5}, {"a": "6'
    found = rows(tmp_path, content, "t.json")
    assert [type(row) for row in found] == [Row, Reject, Reject, Row, Reject, Reject]
    assert "element 2, column" in found[1].reason and "not a number" in found[2].reason
    assert "element 5" in found[4].reason and "the list has no end" in found[5].reason
    after = rows(tmp_path, '[{"a": 1}]\n[{"a": 2}]', "t.json")
    assert isinstance(after[0], Row) and "behind the end of the list" in after[1].reason


@given(
    held=st.lists(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_elements_are_those_of_json_wherever_a_piece_ends(tmp_path, held, chunk, indent):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(held, indent=indent), encoding="utf-8")
    found = [part for part in elements(look(path), 10**6, chunk) if part.strip()]
    assert [json.loads(part) for part in found] == held


def test_an_element_that_is_too_long_is_never_held(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([[1], list(range(200)), [2]]))
    assert [part and json.loads(part) for part in elements(look(path), 50, 16)] == [[1], None, [2]]


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)


def expected(value, name="") -> dict:
    if isinstance(value, dict):
        return {k: v for inner, held in value.items() for k, v in expected(held, f"{name}.{inner}" if name else inner).items()}
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}
    return {name: value}


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=5), ascii=st.booleans())
def test_what_was_written_is_read_back(tmp_path_factory, lines, ascii):
    path = tmp_path_factory.getbasetemp() / "back.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=ascii) for line in lines), encoding="utf-8", newline="")
    table = read_source(path, rooms())
    assert not table.rejects and len(table.rows) == len(lines)
    for row, line in zip(table.rows, lines, strict=True):
        wanted = expected(line)
        assert row.cells.keys() == wanted.keys()
        for name, cell in row.cells.items():
            nested = isinstance(wanted[name], list) and any(item is None or isinstance(item, list | dict) for item in wanted[name])
            assert (json.loads(cell) if nested else cell) == wanted[name]


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=60), st.text('{}[]",:\\ \n\r\t1aé\u2028\ud83d', max_size=60).map(lambda t: t.encode("utf-8", "replace"))
    )
)
def test_any_bytes_are_rows_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    try:
        found = list(open_source(path, rooms()).rows())
    except InputError as problem:
        assert "any.jsonl" in problem.where
        return
    assert len({row.id for row in found}) == len(found) > 0
    assert not any(isinstance(cell, float) and math.isnan(cell) for row in found if isinstance(row, Row) for cell in row.cells.values())
