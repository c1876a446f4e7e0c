"""The words under `data:`: columns renamed, written and typed; sources mixed; patterns. In memory and over a stored table alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.data.build import SILENT, Plan, build
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import DataSettings
from triptych.data.sources import open_source
from triptych.data.sources.asked import asked as asked_for
from triptych.data.sources.joined import held
from triptych.data.sources.stamps import stamp
from triptych.data.sources.tabled import as_table, collected
from triptych.data.sources.words import Changed, Columns, opened
from triptych.data.stored import read_stored
from triptych.data.table import Table
from triptych.modalities import rooms


def words(source, **columns) -> DataSettings:
    return parse(DataSettings, {"source": str(source) if isinstance(source, Path) else source, "columns": columns}, "a test")


def table(source, **columns) -> Table:
    asked = words(source, **columns)
    return as_table(opened(asked, rooms(), {}), asked, rooms(), SILENT)


def lines(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.fixture(params=["t.csv", "t.jsonl", "t.lance"])
def three(request, tmp_path) -> Path:
    """One table as a file in memory, as a stream and on the disk."""
    csv = lines(tmp_path / "t.csv", "id,label,price,ok,tags", "a,cat,1.5,yes,x|y", "b,dog,12,no,", 'c,"{c}",x,maybe,z')
    if request.param == "t.jsonl":
        import json

        rows = [{"id": row.id, **{n: c for n, c in row.cells.items() if n != "id"}} for row in collected(open_source(csv, rooms())).rows]
        return lines(tmp_path / "t.jsonl", *(json.dumps(row) for row in rows))
    if request.param == "t.lance":
        build(open_source(csv, rooms()), tmp_path / "t.lance", rooms(), Plan(), SILENT)
    return tmp_path / request.param


def test_a_column_renamed(three):
    found = table(three, animal="label")
    assert [row.cells["animal"] for row in found.rows] == ["cat", "dog", "{c}"]
    assert "label" not in found.columns and "animal" in found.columns and not any("label" in row.cells for row in found.rows)
    assert list(found.rows.cells("animal")) == ["cat", "dog", "{c}"] and list(found.rows.cells("label")) == [None] * 3


def test_a_template_and_braces(three):
    found = table(three, text="{{It}} is {label} for {price}")
    assert [row.cells["text"] for row in found.rows] == ["{It} is cat for 1.5", "{It} is dog for 12", "{It} is {c} for x"]
    assert [row.cells["label"] for row in found.rows] == ["cat", "dog", "{c}"]


def test_a_template_over_an_empty_cell_is_empty(three):
    assert [row.cells.get("said") for row in table(three, said="<{tags}>").rows] == ["<x|y>", None, "<z>"]


def test_types_and_the_cells_that_cost_their_row(three):
    found = table(three, price={"type": "number"})
    assert [row.cells["price"] for row in found.rows] == [1.5, 12] and found.rejects == [Reject("c", "price: 'x' is no number")]
    found = table(three, ok={"type": "boolean"})
    assert [row.cells["ok"] for row in found.rows] == [True, False]
    assert "'maybe' is neither true nor false" in found.rejects[0].reason
    assert [row.cells.get("tags") for row in table(three, tags={"type": "list"}).rows] == [["x", "y"], None, ["z"]]
    assert next(row.cells["all"] for row in table(three, all={"column": "label", "type": "list", "separator": "a"}).rows) == ["c", "t"]


def test_a_column_that_no_row_has(three):
    with pytest.raises(InputError) as caught:
        table(three, animal="lable")
    assert "no row has a column 'lable', which data.columns.animal asks for" in str(caught.value) and "'label'" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "answer"),
    [("It is {label", "cannot be read"), ("It is {}", "name one column"), ("{label!r}", "name one column"), ("{label:>9}", "name one")],
)
def test_templates_that_cannot_be_read(three, said, answer):
    with pytest.raises(InputError, match=answer):
        words(three, text=said)


def test_two_ways_to_say_a_column_are_refused(three):
    with pytest.raises(InputError, match="keep one of them"):
        words(three, text={"column": "a", "template": "{b}"})


# mixtures


def mixture(folder: Path) -> list[dict]:
    import json

    (folder / "one").mkdir(parents=True)
    (folder / "two").mkdir()
    for name in ("one", "two"):
        (folder / name / "a.png").write_bytes(b"x")
    lines(folder / "one/t.csv", "id,image,label", "a,a.png,x", "b,gone.png,y")
    lines(folder / "two/t.jsonl", json.dumps({"image": "a.png", "extra": 1}), "{broken")
    build(Source("r", lambda: iter([Row("z", {"label": "q"})])), folder / "three.lance", rooms(), Plan(), SILENT)
    return [
        {"name": "one", "source": str(folder / "one/t.csv")},
        {"name": "two", "source": str(folder / "two/t.jsonl"), "weight": 3},
        {"name": "three", "source": str(folder / "three.lance")},
    ]


def test_a_mixture_has_names_weights_and_a_folder_for_each(tmp_path):
    asked = words(mixture(tmp_path))
    source = opened(asked, rooms(), {"image": rooms()["image"]})
    assert source.weights == {"one": 1.0, "two": 3.0, "three": 1.0}
    found = list(source.rows())
    assert [(row.id, row.cells["source"]) for row in found if isinstance(row, Row)] == [
        ("one/a", "one"),
        ("one/b", "one"),
        ("two/row-1", "two"),
        ("three/z", "three"),
    ]
    assert [row.cells.get("image") for row in found if isinstance(row, Row)] == [
        tmp_path / "one/a.png",
        tmp_path / "one/gone.png",
        tmp_path / "two/a.png",
        None,
    ]
    (broken,) = (row for row in found if isinstance(row, Reject))
    assert broken.id == "two/row-2" and "line 2" in broken.reason
    assert list(source.rows()) == found


def test_columns_of_a_mixture(tmp_path):
    found = table(mixture(tmp_path), kind="label")
    assert {row.id: row.cells.get("kind") for row in found.rows} == {"one/a": "x", "one/b": "y", "two/row-1": None, "three/z": "q"}
    with pytest.raises(InputError, match="the column 'source' says which one a row is from"):
        parse(DataSettings, {"source": mixture(tmp_path / "again"), "columns": {"source": "label"}}, "a test")


def test_a_source_of_a_mixture_has_columns_of_its_own_and_loses_none(tmp_path):
    """What one source calls `pic` another calls `image` already: it keeps its own, however the rows come."""
    lines(tmp_path / "a.csv", "id,image,label", "a,a.png,x")
    lines(tmp_path / "b.csv", "id,pic,kind,label,price", "b,b.png,y,owner,NA", "c,,,owner,3")
    lines(tmp_path / "d.jsonl", '{"image": "d.png", "label": "z"}', '{"pic": "e.png"}')
    parts = [{"name": name[0], "source": str(tmp_path / name)} for name in ("a.csv", "b.csv", "d.jsonl")]
    own = [{**part, "columns": {"label": "kind", "price": {"type": "number"}}} if part["name"] == "b" else part for part in parts]
    asked = parse(DataSettings, {"source": own, "columns": {"image": "pic", "said": "a {label}"}, "empty": ["NA"]}, "a test")
    found = {row.id: row.cells for row in as_table(opened(asked, rooms(), {}), asked, rooms(), SILENT).rows}
    assert {row_id: cells.get("image") for row_id, cells in found.items()} == {
        "a/a": "a.png",
        "b/b": "b.png",
        "b/c": None,
        "d/row-1": "d.png",
        "d/row-2": "e.png",
    }
    assert [cells.get("label") for cells in found.values()] == ["x", "y", None, "z", None]
    assert found["b/b"]["said"] == "a y" and "price" not in found["b/b"] and found["b/c"]["price"] == 3
    own[0] = {**own[0], "columns": {"label": "lable"}}
    asked = parse(DataSettings, {"source": own}, "a test")
    with pytest.raises(InputError, match=r"'lable', which data\.source\.a\.columns\.label asks for"):
        list(opened(asked, rooms(), {}).rows())


def test_columns_of_one_source_on_the_command_line():
    asked = asked_for(["a=a.csv", "b=b.csv"], ["b/text=said", "all={text}"], rooms())
    assert [list(part.columns) for part in asked.source] == [[], ["text"]] and list(asked.columns) == ["all"]


def test_a_stopped_build_does_not_go_on_with_other_words(tmp_path):
    lines(tmp_path / "t.csv", "id,a,b", *(f"{n},x,y" for n in range(4)))
    stamps = {stamp(opened(words(tmp_path / "t.csv", **columns), rooms(), {})) for columns in ({}, {"c": "a"}, {"c": "b"})}
    assert len(stamps) == 3


def test_a_source_with_a_column_called_source_is_refused_in_a_mixture_alone(tmp_path):
    path = lines(tmp_path / "t.csv", "source,label", "web,x", "web,y")
    assert [row.cells["source"] for row in table(path).rows] == ["web", "web"]
    with pytest.raises(InputError, match="a column is called 'source'"):
        table([{"name": "a", "source": str(path)}])
    assert [row.cells["origin"] for row in table([{"name": "a", "source": str(path)}], origin="source").rows] == ["web", "web"]


@pytest.mark.parametrize("names", [("a", "a"), ("a b", "c")])
def test_names_of_parts(tmp_path, names):
    with pytest.raises(InputError):
        words([{"name": name, "source": "x.csv"} for name in names])


# patterns


def test_patterns_of_files_and_of_tables(tmp_path):
    for name in ("b", "a"):
        lines(tmp_path / f"t-{name}.jsonl", f'{{"n": "{name}"}}')
        (tmp_path / f"clips/{name}").mkdir(parents=True)
        (tmp_path / f"clips/{name}/1.wav").write_bytes(b"x")
    assert [(row.id, row.cells["n"]) for row in open_source(tmp_path / "t-*.jsonl", rooms()).rows()] == [
        ("t-a/row-1", "a"),
        ("t-b/row-1", "b"),
    ]
    assert [row.id for row in open_source(tmp_path / "t-{b,a}.jsonl", rooms()).rows()] == ["t-b/row-1", "t-a/row-1"]
    assert {row.id: row.cells["label"] for row in open_source(tmp_path / "clips/**/*.wav", rooms()).rows()} == {"a/1": "a", "b/1": "b"}
    with pytest.raises(InputError, match="no file fits the pattern"):
        open_source(tmp_path / "*.nothing", rooms())
    with pytest.raises(InputError, match="there is no file"):
        open_source(tmp_path / "t-{a,c}.jsonl", rooms())


# the same words over a table on the disk

NAMES = ["a", "b", "c"]
CELL = st.none() | st.sampled_from(["1", "2.5", "x", "y|z"])
SAID = st.sampled_from(["a", "b", "<{a}>", "{a} and {b}", {"type": "list"}, {"type": "number"}, {"column": "c", "type": "text"}])


@settings(max_examples=40, deadline=None)
@given(
    cells=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6),
    said=st.dictionaries(st.sampled_from(["a", "b", "n", "m"]), SAID, max_size=3),
    data=st.data(),
)
def test_a_stored_table_gives_what_memory_does(tmp_path_factory, cells, said, data):
    rows = [Row(f"r{i}", {n: c for n, c in zip(NAMES, row, strict=True) if c is not None}) for i, row in enumerate(cells)]
    if not any(row.cells for row in rows):
        return
    path = tmp_path_factory.mktemp("any") / "t.lance"
    build(Source("any", lambda: iter(rows)), path, rooms(), Plan(), SILENT)
    stored = read_stored(path)
    kept = [row for row in stored.rows]
    asked = words(path, **said)
    try:
        wanted = list(opened_in_memory(stored, kept, asked))
    except InputError as error:
        with pytest.raises(InputError, match="no row has a column"):
            opened(asked, rooms(), {})
        assert "no row has a column" in str(error)
        return
    found = opened(asked, rooms(), {}).table
    assert found is not None
    assert {r.id for r in found.rejects} == {r.id for r in wanted if isinstance(r, Reject)}
    wanted = [row for row in wanted if isinstance(row, Row)]
    same(found.rows, wanted, list(found.columns))
    if wanted:
        places = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=5))
        same(found.rows.subset(places), [wanted[place] for place in places], list(found.columns))
        assert found.rows.take(places) == [wanted[place] for place in places]
        louder = found.rows.mapped(lambda row: Row(row.id + "!", row.cells))
        assert [row.id for row in louder] == [f"{row.id}!" for row in wanted]


def opened_in_memory(stored: Table, rows: list[Row], asked: DataSettings):
    columns = Columns(asked.columns, dict.fromkeys(stored.columns))
    columns.check("memory")
    return [columns.row(row, Path()) for row in rows]


def same(found, wanted: list[Row], columns: list[str]):
    assert list(found) == wanted and len(found) == len(wanted) and list(found.ids()) == [row.id for row in wanted]
    assert [found[place] for place in range(len(wanted))] == wanted
    for name in columns:
        if name != "id":
            assert list(found.cells(name)) == [row.cells.get(name) for row in wanted]
            assert [row.cells.get(name) for row in found.take(range(len(wanted)), [name])] == [row.cells.get(name) for row in wanted]


def test_a_table_without_words_is_itself(tmp_path):
    build(Source("any", lambda: iter([Row("r", {"a": "x"})])), tmp_path / "t.lance", rooms(), Plan(), SILENT)
    assert not isinstance(opened(words(tmp_path / "t.lance"), rooms(), {}).table.rows, Changed)
    assert held(read_stored(tmp_path / "t.lance")).total == 1
