from __future__ import annotations

import datetime
import json
import random
import tracemalloc
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.rows import Reject, Row
from triptych.data.sources import open_source
from triptych.data.sources.tabled import read_source
from triptych.modalities import rooms

FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def written(path: Path, columns: dict | pa.Table, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
    return path


def rows(path: Path) -> list:
    return list(open_source(path, rooms()).rows())


def cells(tmp_path: Path, **columns) -> list[dict]:
    return [row.cells for row in rows(written(tmp_path / "t.parquet", columns))]


def test_scalars_lists_and_structs(tmp_path):
    found = cells(
        tmp_path,
        n=pa.array([1, None], pa.int16()),
        x=[0.5, float("nan")],
        on=[True, False],
        text=["a", ""],
        tags=[["x", "y"], []],
        deep=[{"a": {"b": 1}, "c": None}, None],
        nothing=pa.nulls(2),
        boxes=[[{"x": 1}], None],
        pairs=pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    )
    assert found == [
        {"n": 1, "x": 0.5, "on": True, "text": "a", "tags": ["x", "y"], "deep.a.b": 1, "boxes": '[{"x": 1}]', "pairs": '[["k", 1]]'},
        {"on": False, "tags": []},
    ]


def test_dates_decimals_dictionaries_and_other_kinds(tmp_path):
    day, moment = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30)
    (found,) = cells(
        tmp_path,
        day=[day],
        days=[[day]],
        inner=[{"day": day}],
        moment=pa.array([moment], pa.timestamp("ms")),
        fine=pa.array([1], pa.timestamp("ns")),
        there=pa.array([moment], pa.timestamp("s", "+02:00")),
        nowhere=pa.array([0], pa.timestamp("s", "Mars/Base")),
        far=pa.array([2**45], pa.timestamp("s")),
        clock=[datetime.time(7, 5)],
        price=[Decimal("12.50")],
        count=[Decimal("12")],
        kind=pa.array(["x"]).dictionary_encode(),
        wide=pa.array(["y"], pa.large_string()),
    )
    assert found["day"] == "2024-02-29" and found["days"] == ["2024-02-29"] and found["inner.day"] == "2024-02-29"
    assert found["moment"].startswith("2024-02-29 12:30:00") and found["fine"] == "1970-01-01 00:00:00.000000001"
    assert found["nowhere"].startswith("1970-01-01 00:00:00") and isinstance(found["far"], str)
    assert found["there"].startswith("2024-02-29 14:30:00") and found["there"].endswith("+0200")
    assert found["clock"].startswith("07:05:00") and found["price"] == 12.5 and found["count"] == 12 and isinstance(found["count"], int)
    assert found["kind"] == "x" and found["wide"] == "y"


def test_files_by_value_by_reference_and_at_an_address(tmp_path):
    files = [
        {"bytes": b"one", "path": "sub/a 😀.png"},
        {"bytes": None, "path": "sub/b.png"},
        {"bytes": None, "path": "https://x.y/c.png"},
        {"bytes": None, "path": None},
        None,
    ]
    found = cells(tmp_path, file=pa.array(files, FILE), raw=pa.array([b"1", b"", None, None, None]), keep=list(range(5)))
    assert found[0]["file"] == b"one" and isinstance(found[0]["file"], Blob) and found[0]["file"].name == "a 😀.png"
    assert found[1]["file"] == tmp_path / "sub/b.png" and found[2]["file"] == "https://x.y/c.png"
    assert "file" not in found[3] and "file" not in found[4]
    assert isinstance(found[0]["raw"], Blob) and found[1]["raw"] == b"" and "raw" not in found[2]


def test_bytes_without_a_name_get_one_from_their_content(tmp_path):
    struct = pa.array([{"bytes": b"\x89PNG\r\n\x1a\n", "path": None}, {"bytes": b"?", "path": None}, {"bytes": b"fLaC", "path": "a"}], FILE)
    found = cells(tmp_path, picture=struct, raw=[b"GIF89a", b"?", b"OggS"])
    names = [(row["picture"].name, row["raw"].name) for row in found]
    assert names == [("picture.png", "raw.gif"), ("picture", "raw"), ("a.flac", "raw.ogg")]


def test_a_struct_called_like_a_file_that_is_none(tmp_path):
    assert cells(tmp_path, size=[{"bytes": 12, "path": "x"}]) == [{"size.bytes": 12, "size.path": "x"}]


def test_lists_of_lists_of_files_are_left_aside_and_said(tmp_path):
    files = pa.array([[[{"bytes": b"1", "path": None}]]], pa.list_(pa.list_(FILE)))
    path = written(tmp_path / "t.parquet", {"files": files, "n": [1]})
    found = open_source(path, rooms())
    assert [row.cells for row in found.rows()] == [{"n": 1}]
    assert found.findings == ["the column 'files' holds lists of files and was left aside"]


def test_classes_get_the_names_that_datasets_noted(tmp_path):
    kind = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    features = {"label": kind, "all": {"feature": kind, "_type": "List"}, "deep": {"label": kind}}
    table = pa.table({"label": [1, -1, 2], "all": [[0, 1], [], None], "deep": [{"label": 0}, None, None]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    first, second, third = rows(written(tmp_path / "t.parquet", table))
    assert first.cells == {"label": "dog", "all": ["cat", "dog"], "deep.label": "cat"} and second.cells == {"all": []}
    assert third == Reject("row-3", "class 2 has no name: there are 2, from 0 to 1")


@pytest.mark.parametrize(
    "note", [b"{", b"[]", b'{"info": 1}', b'{"info": {"features": [1]}}', b'{"info": {"features": {"a": 7, "b": [1, 2]}}}']
)
def test_a_strange_note_about_features_is_no_harm(tmp_path, note):
    table = pa.table({"a": [1], "b": [[1]]}).replace_schema_metadata({"huggingface": note})
    assert [row.cells for row in rows(written(tmp_path / "t.parquet", table))] == [{"a": 1, "b": [1]}]


def test_a_folder_is_read_in_order_and_its_names_say_more(tmp_path):
    for name, value in (("label=b c/two", 3), ("label=a/one", 1), ("label=a/two", 2), ("label=__HIVE_DEFAULT_PARTITION__/x", 0)):
        written(tmp_path / f"{name}.parquet", {"n": [value]})
    written(tmp_path / ".hidden.parquet", {"n": [9]})
    found = open_source(tmp_path, rooms())
    assert [(row.id, row.cells) for row in found.rows()] == [
        ("row-1", {"n": 0}),
        ("row-2", {"label": "a", "n": 1}),
        ("row-3", {"label": "a", "n": 2}),
        ("row-4", {"label": "b c", "n": 3}),
    ]
    assert found.total == 4 and list(found.rows()) == list(found.rows())


def test_sides_of_the_split_in_file_names(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        written(tmp_path / f"data/{name}.parquet", {"n": [1]})
    (tmp_path / "README.md").write_text("about it")
    assert [row.cells["split"] for row in rows(tmp_path)] == ["test", "train", "train"]
    written(tmp_path / "data/more.parquet", {"n": [1]})
    assert not any("split" in row.cells for row in rows(tmp_path))


def test_ids_are_used_where_they_are_single_in_all_files(tmp_path):
    written(tmp_path / "a.parquet", {"id": ["x", "y"]})
    written(tmp_path / "b.parquet", {"id": [7]})
    assert [row.id for row in rows(tmp_path)] == ["x", "y", "7"]
    written(tmp_path / "c.parquet", {"id": ["x"]})
    assert [row.id for row in rows(tmp_path)] == ["row-1", "row-2", "row-3", "row-4"]


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b"", lambda b: b"PAR1" + b"\0" * 40 + b"PAR1", lambda b: b"a,b\n1,2\n"])
def test_a_damaged_file_is_named(tmp_path, damage):
    written(tmp_path / "a.parquet", {"n": [1]})
    path = written(tmp_path / "bad one.parquet", {"n": [1]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        open_source(tmp_path, rooms())
    assert "bad one.parquet" in caught.value.where and "damaged" in caught.value.what


def test_damage_in_the_middle_is_named_when_it_is_met(tmp_path):
    path = written(tmp_path / "t.parquet", {"text": [f"row {n}" for n in range(1000)]}, use_dictionary=False, compression="zstd")
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    found = open_source(path, rooms())
    with pytest.raises(InputError, match="damaged"):
        list(found.rows())


def test_a_text_that_is_not_utf8_costs_its_row(tmp_path):
    """Arrow does not check it when it reads; Python cannot hold it."""
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"good", b"b\xe5d", b"fine"]).buffers())
    struct = pa.StructArray.from_arrays([bad], ["inner"])
    first, second, last = rows(written(tmp_path / "t.parquet", {"n": [1, 2, 3], "deep": struct}))
    assert (first.cells["deep.inner"], last.cells["deep.inner"]) == ("good", "fine")
    assert second == Reject("row-2", "deep: its text is not UTF-8")
    assert [row.id for row in rows(written(tmp_path / "ids.parquet", {"id": bad, "n": [1, 2, 3]}))] == ["row-1", "row-2", "row-3"]


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_any_damage_ends_in_rows_or_reasons(tmp_path, compression):
    """200 damaged files: bits flipped everywhere or in the footer, cut off."""
    table = pa.table(
        {
            "id": [f"r{n}" for n in range(50)],
            "text": [f"some words, number {n}" for n in range(50)],
            "deep": [{"a": n, "b": [n, n + 1]} for n in range(50)],
            "image": [{"bytes": b"x" * n, "path": "a.png"} for n in range(50)],
        }
    )
    content = written(tmp_path / "t.parquet", table, compression=compression, row_group_size=20).read_bytes()
    draw, ends = random.Random(0), Counter()
    for number in range(200):
        damaged = bytearray(content)
        for _ in range(1 << number % 5):
            damaged[draw.randrange(0 if number % 2 else len(content) - 600, len(content))] ^= 1 << draw.randrange(8)
        path = tmp_path / "damaged.parquet"
        path.write_bytes(damaged[: draw.randrange(len(damaged))] if number % 7 == 0 else damaged)
        try:
            assert all(isinstance(row, Row | Reject) for row in rows(path))
            ends["rows"] += 1
        except InputError as problem:
            assert "damaged.parquet" in problem.where
            ends["refused"] += 1
    assert ends["rows"] > 5 and ends["refused"] > 50


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = written(tmp_path / "t.parquet", pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]))
    with pytest.raises(InputError, match="two columns are called 'a'"):
        open_source(path, rooms())


@pytest.mark.slow
def test_no_more_memory_for_more_rows(tmp_path):
    path = written(
        tmp_path / "big.parquet", {"raw": [b"x" * 4000] * 12_000, "n": list(range(12_000))}, use_dictionary=False, compression=None
    )
    assert path.stat().st_size > 44 * 2**20
    found, before = open_source(path, rooms()), pa.total_allocated_bytes()
    tracemalloc.start()
    arrow = 0
    for number, row in enumerate(found.rows()):
        assert isinstance(row, Row)
        if number % 250 == 0:
            arrow = max(arrow, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert number == 11_999 and peak < 16 * 2**20 and arrow < 24 * 2**20


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ROW = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False),
        "text": st.none() | TEXT,
        "tags": st.none() | st.lists(TEXT, max_size=3),
        "deep": st.none() | st.fixed_dictionaries({"on": st.none() | st.booleans()}),
        "raw": st.none() | st.binary(max_size=5),
    }
)
SCHEMA = pa.schema(
    {
        "n": pa.int64(),
        "x": pa.float64(),
        "text": pa.string(),
        "tags": pa.list_(pa.string()),
        "deep": pa.struct({"on": pa.bool_()}),
        "raw": pa.binary(),
    }
)


@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(ROW, min_size=1, max_size=6))
def test_what_was_written_is_read_back(tmp_path_factory, wanted):
    path = written(tmp_path_factory.getbasetemp() / "back.parquet", pa.Table.from_pylist(wanted, SCHEMA))
    table = read_source(path, rooms())
    assert not table.rejects
    for row, line in zip(table.rows, wanted, strict=True):
        line["deep.on"] = (line.pop("deep") or {}).get("on")
        line["text"] = line["text"] if (line["text"] or "").strip() else None
        assert row.cells == {name: value for name, value in line.items() if value is not None}
