from __future__ import annotations

import codecs
import csv
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from triptych.base.errors import InputError
from triptych.data.build import Plan, build
from triptych.data.sources import open_source
from triptych.data.sources.delimited import read_delimited
from triptych.data.sources.folder import read_folder
from triptych.data.sources.iterable import from_rows
from triptych.data.sources.tabled import collected, read_source
from triptych.data.stored import read_stored
from triptych.modalities import rooms
from triptych.run.progress import Voice


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def look(folder: Path):
    return read_folder(folder, rooms())


def table(tmp_path: Path, content: str | bytes, name: str = "t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_source(path, rooms())


def cells(found) -> list[dict]:
    return [row.cells for row in found.rows]


# folders


def test_folders_are_classes_and_the_first_of_them_counts(tmp_path):
    found = look(files(tmp_path, "happy/a.wav", "happy/2020/b.wav", "sad/c.wav"))
    assert {row.id: row.cells["label"] for row in found.rows} == {"happy/a": "happy", "happy/2020/b": "happy", "sad/c": "sad"}
    assert found.columns == ["audio", "label"]


def test_one_stem_is_one_row_with_several_inputs(tmp_path):
    found = look(files(tmp_path, "x/a.png", "x/a.txt", "x/a.WAV"))
    assert len(found.rows) == 1
    assert set(found.rows[0].cells) == {"image", "text", "audio", "label"}


def test_two_pictures_of_one_stem_are_two_rows(tmp_path):
    found = look(files(tmp_path, "x/a.jpg", "x/a.png"))
    assert sorted(Path(row.cells["image"]).name for row in found.rows) == ["a.jpg", "a.png"]
    assert {row.cells["label"] for row in found.rows} == {"x"}


def test_split_folders(tmp_path):
    found = look(files(tmp_path, "train/happy/a.png", "Valid/happy/a.png", "test/sad/a.png"))
    assert {(row.cells["split"], row.cells["label"]) for row in found.rows} == {
        ("train", "happy"),
        ("validation", "happy"),
        ("test", "sad"),
    }


def test_split_folders_without_classes_are_no_classes(tmp_path):
    found = look(files(tmp_path, "train/a.png", "train/a.txt", "test/b.png", "test/b.txt"))
    assert found.columns == ["image", "text", "split"]


def test_a_class_called_test_among_other_classes_is_a_class(tmp_path):
    found = look(files(tmp_path, "test/a.png", "real/b.png"))
    assert found.columns == ["image", "label"]


def test_other_kinds_are_counted_and_hidden_files_are_not(tmp_path):
    found = look(files(tmp_path, "x/a.png", "x/b.pdf", "x/c.pdf", "x/LICENSE", "x/.DS_Store", ".git/a.png"))
    assert found.findings == ["3 files of other kinds were left aside: 2 .pdf, 1 no suffix"]
    assert len(found.rows) == 1


@pytest.mark.parametrize(("names", "says"), [((), "it is empty"), (("a.pdf", "b.pdf"), "it holds 2 .pdf")])
def test_a_folder_without_readable_files(tmp_path, names, says):
    with pytest.raises(InputError) as caught:
        look(files(tmp_path, *names))
    assert says in str(caught.value) and ".png" in str(caught.value) and "FOLDER/happy" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may read everything")
def test_a_folder_without_the_right_to_read_it(tmp_path):
    files(tmp_path, "x/a.png", "y/b.png")
    (tmp_path / "y").chmod(0)
    try:
        with pytest.raises(InputError, match="cannot look into a folder"):
            look(tmp_path)
    finally:
        (tmp_path / "y").chmod(0o755)


def test_a_loop_of_links_ends_and_is_said(tmp_path):
    files(tmp_path, "x/a.png")
    (tmp_path / "x" / "again").symlink_to(tmp_path, target_is_directory=True)
    found = look(tmp_path)
    assert len(found.rows) == 1
    assert found.findings == ["links to folders were not followed: x/again; to read what lies there, put the folder itself in place"]


def test_a_text_about_the_data_is_no_row(tmp_path):
    found = look(files(tmp_path, "README.md", "License.txt", "x/a.png", "x/readme.txt", "readme.png"))
    assert sorted(row.id for row in found.rows) == ["readme", "x/a", "x/readme"]
    assert found.findings == ["2 files of other kinds were left aside: 1 License.txt, 1 README.md"]


@pytest.mark.parametrize("name", ["a b.png", "smile 😀.png", "two\nlines.png", "a.b.c.png", "-x.png", "%41.png", "ünï.png", "a,b;c.png"])
def test_any_file_name(tmp_path, name):
    found = look(files(tmp_path, f"cl ass/{name}"))
    assert [row.id for row in found.rows] == [f"cl ass/{name.removesuffix('.png')}"]


def test_a_name_that_is_not_utf8_gives_an_id_that_can_be_written(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"\xff\xfea.png")).write_bytes(b"x")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such name")
    row = look(tmp_path).rows[0]
    assert row.id.encode("utf-8") and row.cells["image"].exists()


NAMES = st.lists(
    st.tuples(*map(st.sampled_from, (["", "x/", "test/", "x/y/"], ["a", "a.png", "a.jpg", "b"], [".png", ".jpg", ".txt"]))),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=NAMES)
def test_every_file_is_in_exactly_one_row(tmp_path_factory, names):
    folder = files(tmp_path_factory.mktemp("any"), *map("".join, names))
    found = look(folder)
    held = [path for row in found.rows for path in row.cells.values() if isinstance(path, Path)]
    assert sorted(held) == sorted(folder / "".join(name) for name in names)
    assert len({row.id for row in found.rows}) == len(found.rows)


# tables


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, mark):
    found = table(tmp_path, f"text{mark}label\nhello there{mark}a\nbye{mark}b\n")
    assert cells(found) == [{"text": "hello there", "label": "a"}, {"text": "bye", "label": "b"}]


def test_a_comma_in_prose_is_no_delimiter(tmp_path):
    prose = "one, two, three, four"
    found = table(tmp_path, f"id;text;label\n1;{prose};a\n2;{prose}, five;b\n")
    assert cells(found)[0]["text"] == prose and not found.rejects


def test_one_column_of_prose_with_quotes(tmp_path):
    assert cells(table(tmp_path, 'text\n"a; b, c"\nplain\n')) == [{"text": "a; b, c"}, {"text": "plain"}]


MARKED = [("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE)]


@pytest.mark.parametrize(("encoding", "bom"), MARKED)
def test_encodings(tmp_path, encoding, bom):
    found = table(tmp_path, bom + "text,label\r\ngrüße 😀,a\r\n".encode(encoding))
    assert found.columns == ["text", "label"] and cells(found) == [{"text": "grüße 😀", "label": "a"}] and not found.findings


def test_latin1_is_read_and_said(tmp_path):
    found = table(tmp_path, "text,label\ngrüße,a\n".encode("latin-1"))
    assert cells(found)[0]["text"] == "grüße" and found.findings == ["t.csv is not UTF-8; it was read as Latin-1"]


def test_quotes_hold_newlines_delimiters_and_quotes(tmp_path):
    found = table(tmp_path, 'text;label\n"a;b\nc, ""d""";x\n"e\n\n\nf";y\n')
    assert [row["text"] for row in cells(found)] == ['a;b\nc, "d"', "e\n\n\nf"]


def test_quoted_newlines_in_the_header_do_not_hide_the_delimiter(tmp_path):
    found = table(tmp_path, '"long, long\nname";label\na;x\nb;y\n')
    assert found.columns == ["long, long\nname", "label"]


TORN = {
    "to the end of the file": ('a,x\n"b,y\nc,z\nd,w\n', "ax cz dw", [3]),
    "in the last line": ('a,x\n"b,y\n', "ax", [3]),
    "up to the next quoted cell": ('"b,y\nc,z\n"d",w\ne,"f"\n', "cz dw ef", [2]),
    "up to a mark that closes it by chance": ('"b,y\nc,5"\nd,w\n', 'c5" dw', [2]),
    "where all cells are quoted": ('"a","x"\n"b,"y"\n"c","z"\n', "ax cz", [3]),
    "twice": ('"b,y\nc,z\n"d,w\ne,f\n', "cz ef", [2, 4]),
    "and an empty line": ('"b,y\n\nc,z\n', "cz", [2]),
    "and a line with fewer cells": ('"b,y\nc\nd,w\ne,f\ng,h\ni,j\n', "dw ef gh ij", [2, 3]),
    "within a text that is cut off": ('"a\nb",x\n"c\nd and\ne', "a\nbx", [4, 5, 6]),
}


@pytest.mark.parametrize("kind", TORN)
def test_a_quote_that_is_never_closed_costs_its_line(tmp_path, kind):
    content, kept, lines = TORN[kind]
    found = table(tmp_path, f"text,label\n{content}")
    assert ["".join(row.values()) for row in cells(found)] == kept.split(" ")
    assert [reject.id for reject in found.rejects] == [f"t.csv line {line}" for line in lines]
    assert "quotation mark" in found.rejects[0].reason


def test_marks_that_do_not_pair_within_a_line_cost_nothing(tmp_path):
    found = table(tmp_path, 'text,label\n"Hello" he said,x\n5" pipe,y\n"two\nlines"\n')
    assert [row["text"] for row in cells(found)] == ["Hello he said", '5" pipe', "two\nlines"] and not found.rejects


def test_a_quote_that_is_not_closed_hides_neither_ids_nor_the_delimiter(tmp_path):
    found = table(tmp_path, 'id;text\nx;a, b\n"y;c\nz;d, e\n')
    assert [row.id for row in found.rows] == ["x", "z"] and not found.findings


def test_a_single_column_of_lines(tmp_path):
    found = table(tmp_path, 'text\na\n"b\nc\n')
    assert [row["text"] for row in cells(found)] == ["a", "c"] and [reject.id for reject in found.rejects] == ["t.csv line 3"]


def test_a_header_that_is_never_closed_is_no_header(tmp_path):
    with pytest.raises(InputError) as caught:
        table(tmp_path, '"text,label\na,x\n')
    assert "not closed" in str(caught.value) and "line 1" in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.text("ab ,", max_size=4).map(lambda cell: f"{cell}.")] * 3), min_size=2, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    data=st.data(),
)
def test_one_lost_mark_costs_one_line_at_most(tmp_path_factory, rows, quoting, data):
    """A mark taken from, or put before, any cell of a table with single-line cells: all other rows are read as they were."""
    room = io.StringIO()
    csv.writer(room, quoting=quoting).writerows([("one", "two", "three"), *rows])
    lines = room.getvalue().splitlines()
    torn = data.draw(st.integers(1, len(rows)))
    marks = [place for place, mark in enumerate(lines[torn]) if mark == '"']
    lost = data.draw(st.sampled_from([None, *marks]))
    line = lines[torn]
    lines[torn] = '"' + line if lost is None else line[:lost] + line[lost + 1 :]
    path = tmp_path_factory.getbasetemp() / "lost.csv"
    path.write_text("\n".join(lines) + "\n")
    found = collected(read_delimited(path))
    others = [tuple(map(str.strip, row)) for place, row in enumerate(rows, start=1) if place != torn]
    read = [tuple(row.cells.get(name, "") for name in ("one", "two", "three")) for row in found.rows]
    assert len(found.rows) + len(found.rejects) == len(rows)
    assert [row for row in read if row in others] == others or sorted(map(str, others)) == sorted(str(row) for row in read if row in others)


def test_ragged_lines(tmp_path):
    found = table(tmp_path, "a,b,c\n1,2,3\n1\n1,2,3,4\n1,2,3,\n")
    assert cells(found) == [{"a": "1", "b": "2", "c": "3"}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}]
    assert [(r.id, r.reason) for r in found.rejects] == [("row-3", "4 cells where the header has 3")]
    assert found.findings == ["t.csv: 1 row has fewer cells than the header, the first is row 2; what is missing counts as empty"]


def test_empty_and_blank_cells_are_absent(tmp_path):
    assert cells(table(tmp_path, "a,b\n ,x\ny,\n , \n")) == [{"b": "x"}, {"a": "y"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("a,b\n", "no rows below its header"),
        ("a,b,a\n1,2,3\n", "two columns are called 'a'"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "this is not a text file"),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(tmp_path, content, says):
    with pytest.raises(InputError) as caught:
        table(tmp_path, content)
    assert says in str(caught.value) and "t.csv" in str(caught.value)


def test_the_nameless_index_column_of_a_data_frame_is_left_aside(tmp_path):
    found = table(tmp_path, ",text,label\n0,hello,a\n1,bye,b\n")
    assert found.columns == ["text", "label"] and cells(found)[1] == {"text": "bye", "label": "b"}
    assert found.findings == ["t.csv: column 1 has no name and was left aside"]


def test_a_missing_column_names_those_that_are_there(tmp_path):
    with pytest.raises(InputError) as caught:
        table(tmp_path, "text,label\na,b\n").column("txet", "input txet")
    assert "no column 'txet', which input txet asks for" in str(caught.value) and "known: text, label" in str(caught.value)


def test_a_wrong_delimiter_is_suspected(tmp_path):
    found = table(tmp_path, "image:caption:label\na.png:hello:x\n")
    with pytest.raises(InputError, match="check the file's delimiter"):
        found.require("image", "input image")


def test_ids_are_used_where_they_are_whole_and_single(tmp_path):
    ids = lambda text: [row.id for row in table(tmp_path, text).rows]  # noqa: E731
    assert ids("id,a\nx,1\ny,2\n") == ["x", "y"]
    assert ids("id,a\nx,1\nx,2\n") == ["row-1", "row-2"]
    assert ids("id,a\nx,1\n,2\n") == ["row-1", "row-2"]


@pytest.mark.parametrize(("second", "says"), [("x", "the ids of 1 of 3 rows stand in earlier ones"), ("", "1 of 3 rows lack an id")])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "rows"])
def test_ids_that_cannot_name_the_rows_are_said_and_kept(tmp_path, kind, second, says):
    """In silence, splits and scores would go by the place of a row, and what it was called would be gone."""
    given = [{"id": "x", "a": 1}, {"id": second or None, "a": 2}, {"id": "y", "a": 3}]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("id,a\n" + "".join(f"{row['id'] or ''},{row['a']}\n" for row in given))
    elif kind == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in given))
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(given), path)
    source = from_rows(given, name=path.name) if kind == "rows" else open_source(path, rooms())
    built = build(source, tmp_path / "out.lance", rooms(), Plan(), Voice(quiet=True))
    (said,) = built.findings
    assert said.startswith(f"{path.name}: {says}, so all rows are called by their number")
    table = read_stored(tmp_path / "out.lance")
    assert list(table.rows.ids()) == ["row-1", "row-2", "row-3"] and table.columns == ["id", "a"]
    assert list(table.rows.cells("id")) == ["x", second or None, "y"] and table.rows[0].cells == {"id": "x", "a": 1}
    assert [row.cells.get("id") for row in table.subset([2, 1]).rows] == ["y", second or None]


def test_no_ids_and_good_ids_say_nothing(tmp_path):
    assert not table(tmp_path, "a\n1\n").findings and not table(tmp_path, "id,a\nx,1\n").findings


def test_a_long_document_in_a_cell(tmp_path):
    assert len(cells(table(tmp_path, f"text,label\n{'word ' * 60_000},a\n"))[0]["text"]) == 5 * 60_000 - 1


def test_what_is_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        read_source(tmp_path / "none.csv", rooms())
    files(tmp_path, "a.xlsx")
    with pytest.raises(InputError, match=r"cannot read rows from a \.xlsx file"):
        read_source(tmp_path / "a.xlsx", rooms())


def test_a_sample_is_a_source_like_any_other(tmp_path, monkeypatch):
    made = []
    (tmp_path / "table.csv").write_text("text,label\nred,a\n")
    monkeypatch.setattr(
        "triptych.data.sources.make_sample", lambda name, columns: made.append((name, set(columns))) or tmp_path / "table.csv"
    )
    assert [row.id for row in read_source(Path("sample:digits"), rooms()).rows] and made == [("digits", set(rooms()))]
    assert read_source(Path("sample:products"), rooms()).rows and made[1] == ("products", {"text", "image", "audio"})  # there are no films


@settings(max_examples=150, deadline=None)
@given(content=st.one_of(st.binary(max_size=60), st.text(alphabet='ab,;"\n\r\t|é\x0b\u2028 ', max_size=60).map(str.encode)))
def test_any_bytes_are_rows_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        found = collected(read_delimited(path))
    except InputError as problem:
        assert "any.csv" in problem.where
        return
    ids = [row.id for row in found.rows] + [reject.id for reject in found.rejects]
    assert len(ids) == len(set(ids)) > 0
    assert all(set(row.cells) <= set(found.columns) for row in found.rows)


PRINTED = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(PRINTED, PRINTED), min_size=1, max_size=8), mark=st.sampled_from(",;\t|"))
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, rows, mark):
    path = tmp_path_factory.getbasetemp() / "back.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=mark, quoting=csv.QUOTE_ALL).writerows([("one", "two"), *rows])
    assert [(row.cells["one"], row.cells["two"]) for row in collected(read_delimited(path)).rows] == rows
