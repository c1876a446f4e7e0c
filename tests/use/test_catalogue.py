"""An index finds what comparing every vector finds, changes in one step, and refuses what is not its own."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import triptych
from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import Blob
from triptych.data.columns import Column
from triptych.data.stored import Stored
from triptych.run.progress import Voice
from triptych.use import filling, indexing, nearby
from triptych.use.catalogue import Catalogue, Part, open_catalogue, run_for, space_of
from triptych.use.filters import condition
from triptych.use.opened import open_run
from triptych.use.spaces import query_vector, row_vectors

QUIET = Voice(quiet=True)


@pytest.fixture(scope="session")
def run(tiny_run):
    return open_run(tiny_run.folder.path)


@pytest.fixture(scope="session")
def built(run, tiny_table, tmp_path_factory):
    out = tmp_path_factory.mktemp("index") / "tiny.index"
    made = indexing.build_catalogue(run, tiny_table, out, QUIET)
    assert (made.rows, made.kept, made.rejected) == (40, 40, 0)
    return out


@pytest.fixture
def index(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "own.index"))


def cells(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def as_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def by_hand(run, table: Path) -> np.ndarray:
    """Every row's vector as `Run.embed_rows` gives them, their mean of length one."""
    rows = [{n: table.parent / row[n] if n != "text" else row[n] for n in ("image", "audio", "text") if row[n]} for row in cells(table)]
    found = run.embed_rows(rows)
    made = []
    for n in range(len(rows)):
        held = [np.array(v[n]) / np.linalg.norm(v[n]) for name, v in found.items() if name.startswith("match.") and v[n] is not None]
        made.append(sum(held) / np.linalg.norm(sum(held)))
    return np.stack(made)


def test_the_nearest_rows_are_those_of_comparing_every_vector(run, built, tiny_table):
    catalogue = open_catalogue(built, run)
    parts = [Part("text", "a deep dark tone"), Part("image", tiny_table.parent / "pictures/3.png", -0.5)]
    query = query_vector(run, catalogue.space, parts)
    similar = by_hand(run, tiny_table) @ query
    hits = catalogue.search(run, parts, limit=40)
    assert [hit.similarity for hit in hits] == pytest.approx(sorted(similar, reverse=True), abs=1e-5)
    expected = dict(zip([float(row["number"]) for row in cells(tiny_table)], similar.tolist(), strict=True))
    assert {hit.row["number"]: hit.similarity for hit in hits} == pytest.approx(expected, abs=1e-5)
    assert len({hit.id for hit in hits}) == len(catalogue) == 40


def test_parts_are_added_with_their_weights(run, built, tiny_table):
    space = space_of(run)
    text, picture = Part("text", "a bright sharp whistle", 2.0), Part("image", tiny_table.parent / "pictures/2.png", -0.5)
    one, other = (query_vector(run, space, [Part(part.input, part.value)]) for part in (text, picture))
    wanted = 2 * one - 0.5 * other
    assert query_vector(run, space, [text, picture]) == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-5)


def test_python_builds_and_asks_as_the_command_line_does(run, built, tiny_table, tmp_path):
    made = triptych.build_index(run.folder.path, tiny_table, tmp_path / "again.index", quiet=True)
    asked = [Part("text", "a deep tone", 1.0), Part("image", tiny_table.parent / "pictures/1.png", 0.5)]
    found = triptych.open_index(built).find(text="a deep tone", image=(tiny_table.parent / "pictures/1.png", 0.5), limit=4)
    assert found == made.search(run, asked, limit=4) and len(found) == 4


def test_a_file_that_is_nowhere_asks_as_its_file_does(run, built, tiny_table):
    path = tiny_table.parent / "sounds/4.wav"
    catalogue = open_catalogue(built, run)
    from_disk = catalogue.search(run, [Part("audio", path)])
    assert catalogue.search(run, [Part("audio", Blob(path.read_bytes(), "wish.wav"))]) == from_disk


def test_a_condition_leaves_the_rows_for_which_it_is_true(run, built):
    catalogue = open_catalogue(built, run)
    hits = catalogue.search(run, [Part("text", "tone")], limit=40, where="number < 15 and label = 'low' and text is not null")
    assert hits and all(hit.row["number"] < 15 and hit.row["label"] == "low" and hit.row["text"] for hit in hits)
    every = {hit.id for hit in catalogue.search(run, [Part("text", "tone")], limit=40)}
    expected = [i for i in every if i in catalogue.ids("number < 15 and label = 'low' and text is not null")]
    assert len(hits) == len(expected)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("prise < 5", "known: id, "),
        ("number <", "cannot be used"),
        ("label = 'x", "no end"),
        ("", "empty"),
        ("number < 'x'", "number (number)"),
    ],
)
def test_a_wrong_condition_says_what_is_known(run, built, where, said):
    with pytest.raises(InputError) as refused:
        open_catalogue(built, run).search(run, [Part("text", "tone")], where=where)
    assert said in str(refused.value) and refused.value.exit_code == 2


@given(st.text(alphabet="ab '\"`(=<", max_size=12))
def test_no_condition_reaches_lance_with_a_name_that_is_no_column(where):
    columns = {"a": Column("a", "text", "c_a")}
    try:
        made = condition(where, columns)
    except InputError:
        return
    outside = "".join(piece for n, piece in enumerate(made.split("'")) if n % 2 == 0)
    assert "b" not in outside.replace("b(", "").replace("b (", "") or "(" in outside


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "nothing to look for"),
        ([Part("smell", "x")], "unknown input"),
        ([Part("text", "x", 0.0)], "cannot count"),
        ([Part("text", "x", float("nan"))], "cannot count"),
        ([Part("text", "x"), Part("text", "x", -1.0)], "cancel"),
    ],
)
def test_a_wrong_question_is_refused(run, built, parts, said):
    with pytest.raises(InputError, match=said):
        open_catalogue(built, run).search(run, parts)
    with pytest.raises(BadValue):
        open_catalogue(built, run).search(run, [Part("image", Blob(b"no picture", "x.png"))])


def test_new_rows_are_found_and_an_id_that_is_there_is_refused_or_replaced(run, index, tiny_table, tmp_path):
    rows = [
        {**row, "id": f"n{n}", "image": str(tiny_table.parent / "pictures/1.png"), "audio": ""}
        for n, row in enumerate(cells(tiny_table)[:4])
    ]
    source = as_csv(tmp_path / "new.csv", rows)
    catalogue = open_catalogue(index, run)
    made = indexing.add(catalogue, run, source, QUIET)
    assert (made.rows, made.kept, len(catalogue)) == (4, 4, 44)
    changed = as_csv(tmp_path / "changed.csv", [{**row, "label": "other"} for row in rows[:2]] + [{**rows[0], "id": "n9"}])
    made = indexing.add(catalogue, run, changed, QUIET, max_rejected=0.9)
    assert (made.rows, made.kept, made.rejected, len(catalogue)) == (3, 1, 2, 45)
    assert "its id is there already" in made.rejects.read_text()
    made = indexing.add(catalogue, run, changed, QUIET, replaced=True)
    assert (made.kept, made.rejected, made.replaced, len(catalogue)) == (3, 0, 3, 45)
    assert sorted(catalogue.ids("label = 'other'")) == ["n0", "n1"]
    hit = catalogue.search(run, [Part("image", tiny_table.parent / "pictures/1.png")], limit=1, where="id = 'n1'")[0]
    assert hit.row["image"] == tiny_table.parent / "pictures/1.png"


def test_removed_rows_are_gone_and_unknown_ids_remove_none(run, index):
    catalogue = open_catalogue(index, run)
    ids = catalogue.ids("label = 'low'")
    with pytest.raises(InputError, match="'nobody'"):
        indexing.remove(catalogue, [ids[0], "nobody"], QUIET)
    assert len(catalogue) == 40
    assert indexing.remove(catalogue, ids, QUIET) == 20
    assert {hit.row["label"] for hit in catalogue.search(run, [Part("text", "a deep dark tone")], limit=40)} == {"high"}
    assert len(open_catalogue(index, run)) == 20


def test_rows_that_cannot_be_used_are_kept_with_their_reasons(run, tiny_table, tmp_path):
    shutil.copytree(tiny_table.parent / "pictures", tmp_path / "pictures")
    rows = [{"image": f"pictures/{n}.png", "text": "tone", "price": str(n)} for n in range(6)]
    (tmp_path / "pictures/2.png").write_bytes(b"broken")
    rows[4] = {"image": "", "text": "", "price": "3"}
    source = as_csv(tmp_path / "some.csv", rows)
    with pytest.raises(InputError, match="2 of 6 rows cannot be used"):
        indexing.build_catalogue(run, source, tmp_path / "a.index", QUIET)
    assert not (tmp_path / "a.index").exists()
    made = indexing.build_catalogue(run, source, tmp_path / "a.index", QUIET, max_rejected=0.5)
    assert (made.rows, made.kept, made.rejected) == (6, 4, 2)
    assert len(made.rejects.read_text().splitlines()) == 3


def test_files_by_value_answer_without_their_source(run, tiny_table, tmp_path):
    shutil.copytree(tiny_table.parent, tmp_path / "shop")
    indexing.build_catalogue(run, tmp_path / "shop/table.csv", tmp_path / "v.index", QUIET, copied=True, by=["text"])
    indexing.build_catalogue(run, tmp_path / "shop/table.csv", tmp_path / "r.index", QUIET, by=["text"])
    shutil.rmtree(tmp_path / "shop")
    held, named = (open_catalogue(tmp_path / f"{name}.index", run).search(run, [Part("text", "tone")], limit=3) for name in "vr")
    assert [(hit.id, hit.similarity) for hit in held] == [(hit.id, hit.similarity) for hit in named]
    assert any(isinstance(hit.row.get("image"), Blob) for hit in held) and any(isinstance(hit.row.get("image"), Path) for hit in named)


def test_another_model_is_refused_and_a_copy_of_the_same_is_not(run, index, tmp_path):
    copy = Path(shutil.copytree(run.folder.path, tmp_path / "copy"))
    assert run_for(open_catalogue(index), str(copy)).folder.path == copy
    told = json.loads((copy / "run.json").read_text())
    weights = next(name for name in told["files"] if name.startswith("model/") and name.endswith(".safetensors"))
    told["files"][weights] = "0" * 64
    (copy / "run.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="another model"):
        open_catalogue(index, open_run(copy))
    with pytest.raises(InputError, match="another model"):
        indexing.add(open_catalogue(index), open_run(copy), "nothing.csv", QUIET)


def test_a_flipped_byte_is_found(run, index):
    file = max((index / "entries.lance/data").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        open_catalogue(index, run)


def test_what_an_index_says_of_itself_cannot_be_changed(index, tmp_path):
    about = index / "about.json"
    about.write_text(about.read_text().replace('"space": "match"', '"space": "fused"'))
    with pytest.raises(InputError, match="damaged"):
        open_catalogue(index)
    with pytest.raises(InputError, match="is not an index"):
        open_catalogue(tmp_path)
    with pytest.raises(InputError, match="there is no index"):
        open_catalogue(tmp_path / "nowhere")


def test_two_changes_at_once_the_second_is_refused(run, index, tiny_table):
    catalogue = open_catalogue(index, run)
    with indexing._changing(catalogue):
        with pytest.raises(InputError, match="another change of this index"):
            indexing.add(open_catalogue(index, run), run, tiny_table, QUIET)
        assert len(catalogue.search(run, [Part("text", "tone")])) == 10
    assert len(open_catalogue(index, run)) == 40


def _killed(folder: str, source: str, out: str, add: bool) -> None:
    """Build, or add, and die by a signal when the second piece is to be written."""
    filling.PIECE = 16
    written, pieces = filling._written, []

    def dying(work, entries):
        if len(pieces) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        pieces.append(entries)
        return written(work, entries)

    filling._written = dying
    run = open_run(folder)
    if add:
        indexing.add(open_catalogue(out, run), run, source, QUIET)
    else:
        indexing.build_catalogue(run, source, Path(out), QUIET)


def _kill(*words) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=words)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_build_is_not_seen_and_goes_on(run, built, tiny_table, tmp_path, capsys):
    out = tmp_path / "k.index"
    _kill(str(run.folder.path), str(tiny_table), str(out), False)
    assert not out.exists()
    indexing.build_catalogue(run, tiny_table, out, Voice())
    assert "going on with what was stopped after 16 rows" in capsys.readouterr().err
    one, other = (open_catalogue(path, run).search(run, [Part("text", "tone")], limit=40) for path in (out, built))
    assert [(hit.id, round(hit.similarity, 5)) for hit in one] == [(hit.id, round(hit.similarity, 5)) for hit in other]
    assert not out.with_name("k.index.build").exists()


@pytest.mark.slow
def test_a_killed_addition_is_not_seen(run, index, tiny_table, tmp_path):
    root = tiny_table.parent
    rows = [
        {**row, "id": f"n{n}", **{c: str(root / row[c]) if row[c] else "" for c in ("image", "audio")}}
        for n, row in enumerate(cells(tiny_table))
    ]
    source = as_csv(tmp_path / "more.csv", rows)
    _kill(str(run.folder.path), str(source), str(index), True)
    catalogue = open_catalogue(index, run)
    assert len(catalogue) == 40
    assert indexing.add(catalogue, run, source, QUIET).kept == 40
    assert len(catalogue) == 80


def test_what_stands_there_is_never_overwritten(run, index, tiny_table):
    with pytest.raises(InputError, match="is there already"):
        indexing.build_catalogue(run, tiny_table, index, QUIET)
    with pytest.raises(InputError, match="unknown space"):
        indexing.build_catalogue(run, tiny_table, index.with_name("x.index"), QUIET, space="mach")
    with pytest.raises(InputError, match="no input of the space"):
        indexing.build_catalogue(run, tiny_table, index.with_name("x.index"), QUIET, by=["smell"])


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """3,000 unit vectors of 16 in clusters, in Lance."""
    import lance
    import pyarrow as pa

    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((40, 16))[draw.integers(40, size=3000)] + 0.5 * draw.standard_normal((3000, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    held = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 16)
    table = pa.table({"id": [str(n) for n in range(3000)], nearby.VECTOR: held})
    return lance.write_dataset(table, str(tmp_path_factory.mktemp("many") / "entries.lance")), vectors


@pytest.mark.parametrize(("large", "refine"), [(0, 8), (nearby.LARGE, 2)])
def test_above_a_size_an_index_is_made_and_its_recall_is_what_is_promised(many, monkeypatch, large, refine):
    dataset, vectors = many
    monkeypatch.setattr(nearby, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(nearby, "LARGE", large)
    near = nearby.prepared(dataset, {}, QUIET)
    assert near["refine"] == refine
    queries = vectors[:50] + np.random.default_rng(1).normal(0, 0.05, (50, 16)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    exact = [set(np.argsort(-row)[:10].tolist()) for row in queries @ vectors.T]
    assert [{int(i) for i in best} for best in nearby.nearest_of(dataset, queries)] == exact
    assert near["recall"] >= 0.95 and nearby.recall(dataset, queries, exact, near) >= 0.95
    nearby.warm(dataset)
    assert nearby.prepared(dataset, near, QUIET) == near and nearby.unindexed(dataset) == 0


def test_more_rows_than_the_partitions_hold_are_found_all_the_same(many, monkeypatch):
    dataset, vectors = many
    monkeypatch.setattr(nearby, "EXACT_UP_TO", 1000)
    near = {"probes": 1, "refine": 2} if dataset.describe_indices() else {**nearby.prepared(dataset, {}, QUIET), "probes": 1}
    few = dataset.to_table(columns=["id"], nearest=nearby.asked(vectors[0], 2000, near))
    assert 0 < len(few) < 2000
    found = Catalogue.__new__(Catalogue)
    found.about = SimpleNamespace(near=near)
    found.rows = Stored(dataset, {}, Path())
    assert len({hit.id for hit in found.nearest(vectors[0], limit=1000)}) == 1000
    assert len(found.nearest(vectors[0], limit=5)) == 5


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_without_an_index_the_nearest_are_exact(many, values):
    dataset, vectors = many
    query = np.asarray(values, np.float32) / np.linalg.norm(values)
    found = dataset.to_table(columns=["id", "_distance"], nearest=nearby.asked(query, 10, None))
    assert 1 - found["_distance"].to_numpy() == pytest.approx(np.sort(vectors @ query)[::-1][:10], abs=1e-5)


def test_a_row_is_the_mean_of_what_it_has(run, tiny_table):
    space = space_of(run)
    row = {"image": tiny_table.parent / "pictures/1.png", "text": "a bright sharp whistle"}
    one, other = (row_vectors(run, space, [{name: value}])[0] for name, value in row.items())
    assert row_vectors(run, space, [row])[0] == pytest.approx((one + other) / np.linalg.norm(one + other), abs=1e-5)
    fused = row_vectors(run, space_of(run, "fused"), [row])[0]
    assert np.linalg.norm(fused) == pytest.approx(1, abs=1e-5) and fused.shape == (8,)
