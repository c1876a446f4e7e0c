"""Building a table: everything is kept or rejected with its reason, and a killed build leaves the old table whole."""

from __future__ import annotations

import csv
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.base.errors import InputError
from triptych.contract.cells import Blob, Cell, Span
from triptych.data.build import Plan, build
from triptych.data.journal import Journal
from triptych.data.rejects import read_rejects
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources import open_source
from triptych.data.stored import open_dataset, read_stored
from triptych.modalities import rooms
from triptych.run.progress import Voice

QUIET = Voice(quiet=True)


def made(source: Source | Path, table: Path, **plan):
    if isinstance(source, Path):
        source = open_source(source, rooms())
    return build(source, table, rooms(), Plan(**plan), QUIET)


def listed(*entries: Row | Reject, folder: Path = Path()) -> Source:
    return Source("listed", lambda: iter(entries), folder)


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "picture", "remark", "price"])
        for number in range(count):
            Image.new("L", (8, 8), number % 256).save(folder / f"{number}.png")
            writer.writerow([f"p{number}", f"{number}.png", f"remark number {number}", number / 4])
    return folder / "table.csv"


def test_files_of_no_known_kind_cost_their_row_where_most_are_known(tmp_path):
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    cells = [whole, whole[:-30], b"<html>", b"", whole, whole, whole, whole]
    files = [Blob(cell, f"{n}.png" if cell.startswith(whole[:8]) else "") for n, cell in enumerate(cells)]
    source = listed(*(Row(str(n), {"picture": file, "other": Blob(b"x", "x.xyz")}) for n, file in enumerate(files)))
    built = made(source, tmp_path / "t.lance", workers=0, max_rejected=0.5)
    reasons = {reject.id: reject.reason for reject in read_rejects(built.rejects)}
    assert list(reasons) == ["1", "2", "3"]
    assert "damaged" in reasons["1"] and "no kind" not in reasons["1"]
    assert "not a file of a kind that is read here" in reasons["2"] and "empty" in reasons["3"]
    assert built.findings == ["other: 8 of 8 files are of no kind that is read here; they are kept as they are"]


@pytest.mark.parametrize("copied", [False, True], ids=["by reference", "by value"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_table_holds_what_the_source_did(tmp_path, copied, workers):
    source = pictures(tmp_path / "in", 25)
    built = made(source, tmp_path / "out.lance", copied=copied, workers=workers, chunk_rows=7)
    assert (built.rows, built.kept, built.rejected, built.version) == (25, 25, 0, 1)
    table = read_stored(tmp_path / "out.lance")
    assert table.columns == ["id", "picture", "remark", "price"]
    assert [row.id for row in table.rows] == [f"p{n}" for n in range(25)]
    row = table.rows[13]
    assert row.cells["remark"] == "remark number 13" and row.cells["price"] == 13 / 4
    assert isinstance(row.cells["picture"], Blob if copied else Path)
    assert rooms()["image"].read(row.cells["picture"]).getpixel((0, 0)) == 13
    assert [row.id for row in table.rows.take([20, 3, 3])] == ["p20", "p3", "p3"]
    assert list(table.rows.cells("price"))[:3] == [0.0, 0.25, 0.5]
    assert [row.id for row in table.subset([5, 2]).subset([1]).rows] == ["p2"]


def test_a_table_by_reference_can_move_with_its_files(tmp_path):
    made(pictures(tmp_path / "here/in", 3), tmp_path / "here/out.lance")
    (tmp_path / "here").rename(tmp_path / "there")
    row = read_stored(tmp_path / "there/out.lance").rows[2]
    assert row.cells["picture"].exists()


def test_bad_values_are_rejected_with_their_reasons_and_nothing_is_lost(tmp_path):
    source = pictures(tmp_path / "in", 12)
    (tmp_path / "in/3.png").write_bytes(b"")
    (tmp_path / "in/4.png").write_text("no picture")
    (tmp_path / "in/5.png").unlink()
    with pytest.raises(InputError, match="3 of 12 rows cannot be used") as caught:
        made(source, tmp_path / "out.lance")
    assert "p4" in str(caught.value) and not (tmp_path / "out.lance/_versions").exists()
    assert len(read_rejects(tmp_path / "out.lance.refused.csv")) == 3
    built = made(source, tmp_path / "out.lance", max_rejected=0.5)
    assert (built.rows, built.kept, built.rejected) == (12, 9, 3)
    reasons = {reject.id: reject.reason for reject in read_rejects(built.rejects)}
    assert "empty" in reasons["p3"] and "not a picture" in reasons["p4"] and "does not exist" in reasons["p5"]
    assert not (tmp_path / "out.lance.refused.csv").exists()
    assert open_dataset(tmp_path / "out.lance").count_rows() == 9


def test_a_refused_build_leaves_its_list_and_nothing_else(tmp_path):
    source = pictures(tmp_path / "in", 4)
    (tmp_path / "in/0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"all listed in .*t\.lance\.refused\.csv"):
        made(source, tmp_path / "out/t.lance", max_rejected=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["t.lance.refused.csv"]
    made(source, tmp_path / "out/t.lance", max_rejected=1)
    pieces = sorted(path.name for path in (tmp_path / "out/t.lance/data").iterdir())
    with pytest.raises(InputError):
        made(source, tmp_path / "out/t.lance", max_rejected=0)
    assert sorted(path.name for path in (tmp_path / "out/t.lance/data").iterdir()) == pieces
    assert len(read_stored(tmp_path / "out/t.lance").rows) == 3


def test_building_needs_no_torch():
    """It takes seconds to load, and hundreds of megabytes."""
    said = "import sys, triptych.cli.data, triptych.data.build, triptych.data.sources.words, triptych.data.workers, triptych.run.progress"
    ran = subprocess.run([sys.executable, "-c", f"{said}\nprint('torch' in sys.modules)"], capture_output=True, text=True)
    assert ran.stdout == "False\n", ran.stderr


def test_append_and_versions(tmp_path):
    made(listed(Row("a", {"n": 1, "t": "x"}), Row("b", {"n": 2, "t": "y"})), tmp_path / "t.lance")
    built = made(listed(Row("c", {"n": 3}), Row("b", {"n": 4})), tmp_path / "t.lance", append=True, max_rejected=0.5)
    assert (built.kept, built.rejected, built.version) == (1, 1, 2)
    assert [(row.id, row.cells.get("n"), row.cells.get("t")) for row in read_stored(tmp_path / "t.lance").rows] == [
        ("a", 1, "x"),
        ("b", 2, "y"),
        ("c", 3, None),
    ]
    assert len(read_stored(tmp_path / "t.lance", version=1).rows) == 2
    assert "append 1 rows from listed" in str(open_dataset(tmp_path / "t.lance").get_transactions(1))
    with pytest.raises(InputError, match="no column 'other'"):
        made(listed(Row("d", {"other": 3})), tmp_path / "t.lance", append=True)
    made(listed(Row("z", {"other": 3})), tmp_path / "t.lance")
    assert [row.cells for row in read_stored(tmp_path / "t.lance").rows] == [{"other": 3}]


def test_kinds_of_columns(tmp_path):
    cells: dict[str, list[Cell]] = {
        "integer": [1, -2, 2**62],
        "written integer": ["1", "-20", "0"],
        "zip code": ["01234", "99999", "12"],
        "number": [1, 2.5, -1e300],
        "written number": ["1.5", "2e-3", "-0.1"],
        "not number": ["1.5", "nan", "2"],
        "huge": ["9" * 40, "1", "2"],
        "boolean": [True, False, True],
        "list": [["a", "b"], [], ["ö"]],
        "mixed": ["a", 1, 2.5],
        "a.b": ["dots", "in", "names"],
        "__data": ["a", "b", "c"],
        "Ünï \n 😀": ["odd", "name", "\ud800 half"],
    }
    made(listed(*(Row(f"r{i}", {name: values[i] for name, values in cells.items()}) for i in range(3))), tmp_path / "t.lance")
    table = read_stored(tmp_path / "t.lance")
    found = {name: list(table.rows.cells(name)) for name in cells}
    assert found["written integer"] == [1, -20, 0] and found["written number"] == [1.5, 2e-3, -0.1]
    assert found["mixed"] == ["a", "1", "2.5"]
    assert found.pop("Ünï \n 😀")[2] == "\ufffd half"
    same = set(found) - {"written integer", "written number", "mixed"}
    assert {name: found[name] for name in same} == {name: cells[name] for name in same}
    assert [row.cells["list"] for row in table.rows] == cells["list"]


def test_spans_and_files_in_the_table(tmp_path, write_sound):
    """A recording in the table's own folder is there once, and a table keeps what spans of bytes are cut from."""
    path = write_sound(tmp_path / "in" / "0.wav")
    blob = Blob(path.read_bytes(), "deep/0.wav")
    cells = [Span(path, 0.05, 0.1), Span(blob, 0.05), blob, Span(blob, 0.0, 0.1)]
    made(listed(*(Row(f"r{n}", {"m": cell}) for n, cell in enumerate(cells)), Row("d", {})), tmp_path / "t.lance")
    found = [row.cells.get("m") for row in read_stored(tmp_path / "t.lance").rows]
    assert found[0] == cells[0] and found[2] == blob and found[2].name == "deep/0.wav" and found[4] is None
    assert (found[1].start, found[1].end, found[3].start, found[3].end) == (0.05, None, 0.0, 0.1)
    assert found[1].source == found[3].source and found[1].source.read_bytes() == blob
    assert [file.parent for file in (tmp_path / "t.lance").rglob("*.wav")] == [tmp_path / "t.lance" / "files"]


def test_a_span_that_cannot_be_read_costs_its_row(tmp_path, write_sound):
    path = write_sound(tmp_path / "in" / "0.wav")
    spans = [Span(path, 0.0, 0.1), Span(path, 5, 6), Span(path, 0.1, 0.05), Span(path, 0.05, 0.05), Span(tmp_path / "none.wav", 0, 1)]
    built = made(listed(*(Row(f"r{n}", {"m": span}) for n, span in enumerate(spans))), tmp_path / "t.lance", max_rejected=1.0)
    reasons = [reject.reason for reject in read_rejects(built.rejects)]
    for says, reason in zip(("outside", "before it begins", "empty", "no such file"), reasons, strict=True):
        assert says in reason and ("s long" in reason or says == "no such file")


def test_with_copy_a_recording_is_copied_once_however_many_spans_it_has(tmp_path, write_film):
    film = write_film(tmp_path / "in" / "a.mp4", frames=40, sound="aac")
    rows = [Row(f"r{n}", {"film": Span(film, n / 4, n / 4 + 0.5)}) for n in range(16)]
    table = tmp_path / "t.lance"
    made(listed(*rows), table, copied=True, chunk_rows=4)
    held = list((table / "files").iterdir())
    assert len(held) == 1 and held[0].read_bytes() == film.read_bytes()
    assert sum(file.stat().st_size for file in table.rglob("*") if file.is_file()) < film.stat().st_size + 100_000
    before = [rooms()["audio"].read(row.cells["film"]).samples_N for row in rows]
    film.unlink()
    moved = table.rename(tmp_path / "moved.lance")
    after = [rooms()["audio"].read(row.cells["film"]).samples_N for row in read_stored(moved).rows]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert read_stored(moved).rows[3].cells["film"].start == 0.75


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
            st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**62), 2**62), st.booleans()),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_the_cells_are_they_come_back(tmp_path_factory, values):
    """As the same value, or written out where a column holds several kinds."""
    rows = [Row(f"r{n}", {k: v for k, v in cells.items() if k != "id"}) for n, cells in enumerate(values)]
    if not any(cell is not None for row in rows for cell in row.cells.values()):
        return
    table = tmp_path_factory.mktemp("any") / "t.lance"
    assert made(listed(*rows), table).kept == len(rows)
    for row, found in zip(rows, read_stored(table).rows, strict=True):
        wanted = {name: str(cell) for name, cell in row.cells.items() if cell is not None}
        same = {
            name: wanted[name] if isinstance(cell, float) and cell == float(wanted[name]) else str(cell)
            for name, cell in found.cells.items()
        }
        assert same == wanted  # 0E0 is the number 0.0


def test_two_builds_of_one_table(tmp_path):
    table = tmp_path / "t.lance"
    entered = []

    def rows():
        entered.append(1)
        if len(entered) == 1:
            with pytest.raises(InputError, match="being built by another process"):
                made(listed(Row("a", {"n": 1})), table)
        yield Row("b", {"n": 2})

    made(Source("slow", rows), table)
    assert [row.id for row in read_stored(table).rows] == ["b"]


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"NAME\.lance"):
        made(listed(Row("a", {"n": 1})), tmp_path / "table")
    with pytest.raises(InputError, match="there is no table"):
        read_stored(tmp_path / "none.lance")
    (tmp_path / "empty.lance").mkdir()
    with pytest.raises(InputError, match="not a finished table"):
        read_stored(tmp_path / "empty.lance")
    with pytest.raises(InputError, match="no rows in it"):
        made(listed(), tmp_path / "t.lance")


def test_a_build_whose_pieces_were_taken_away_begins_anew(tmp_path, monkeypatch):
    """As where the table was deleted, or an older copy of it put back, after a build was killed."""
    table, rows = tmp_path / "t.lance", [Row(f"r{n}", {"n": n}) for n in range(20)]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("triptych.data.build._publish", killed)
        with pytest.raises(KeyboardInterrupt):
            made(listed(*rows), table, chunk_rows=8)
    assert journaled(table) == 20
    shutil.rmtree(table)
    assert made(listed(*rows), table, chunk_rows=8).kept == 20
    assert list(read_stored(table).rows.ids()) == [row.id for row in rows]


BUILD = """
import os
import sys
from pathlib import Path

from triptych.data.build import Plan, build
from triptych.data.sources import open_source
from triptych.data.stored import import_lance
from triptych.modalities import rooms
from triptych.run.progress import Voice

import_lance()
import lance

print("begun", flush=True)
source, table = map(Path, sys.argv[1:])
made = build(open_source(source, rooms()), table, rooms(), Plan(copied=True, chunk_rows=8, workers=0), Voice(True))
os._exit(0 if made.kept == made.rows else 1)
"""
ROWS = 160
"""In chunks of 8, so that a build has 20 moments at which something is finished."""


@pytest.fixture
def built(forked):
    """A function: build, and kill -9 after `moment` seconds; the exit code and how long it took."""

    def run(source: Path, table: Path, moment: float | None) -> tuple[int, float]:
        with forked.start(source, table, code=BUILD, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == "begun\n"
            began = time.monotonic()
            if moment is not None:
                time.sleep(moment)
                process.kill()
            return process.wait(), time.monotonic() - began

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_any_moment_the_old_version_is_whole_and_the_build_goes_on(tmp_path, built):
    """kill -9 at 50 random moments of a build, each going on where the last one stopped. The log is printed: `pytest -s`."""
    table, old, new = tmp_path / "t.lance", pictures(tmp_path / "old", 40), pictures(tmp_path / "new", ROWS)
    wanted = {"old": [f"p{n}" for n in range(40)], "new": [f"p{n}" for n in range(ROWS)]}
    made(old, tmp_path / "kept.lance", copied=True, workers=0)
    shutil.copytree(tmp_path / "kept.lance", table)
    code, whole = built(new, tmp_path / "trial.lance", None)
    assert code == 0
    chance, kills, share = random.Random(0), 0, 1.0
    while kills < 50:
        before = journaled(table)
        moment = chance.uniform(0, whole * (0.2 + 0.75 * share))  # the first look takes time too, whatever is left to do
        code, took = built(new, table, moment)
        assert code in (-signal.SIGKILL, 0), "a build failed by itself"
        kills += code != 0
        rows = read_stored(table).rows
        state = "old" if len(rows) == 40 else "new"
        assert list(rows.ids()) == wanted[state] and (code != 0 or state == "new")
        assert all(rooms()["image"].read(row.cells["picture"]).size == (8, 8) for row in rows.take(range(0, len(rows), 13)))
        after = journaled(table)
        what = f"{kills:2}  killed after {moment:.2f} s" if code else "--  finished         "
        print(f"{what} {before:4} rows done before, {after:4} after: {state}")
        assert after >= before or state == "new", "what was done is forgotten"
        share = 1 - after / ROWS
        if state == "new":
            shutil.rmtree(table)
            shutil.rmtree(table.with_name(f"{table.name}.build"), ignore_errors=True)
            shutil.copytree(tmp_path / "kept.lance", table)
            share = 1.0
    assert made(new, table, copied=True, chunk_rows=8, workers=0).kept == ROWS
    assert list(read_stored(table).rows.ids()) == wanted["new"]


def journaled(table: Path) -> int:
    """Rows that a stopped build of this table has done."""
    return sum(done.taken for done in Journal(table.with_name(f"{table.name}.build") / "journal.jsonl").done)
