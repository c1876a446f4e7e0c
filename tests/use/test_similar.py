"""Training rows near to a new one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import triptych
from triptych.base.errors import InputError
from triptych.run.progress import Voice
from triptych.use import similar
from triptych.use.hoard import things
from triptych.use.similar import Source, space_of, together

QUIET = Voice(quiet=True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def vectors(run, row):
    return {name: found[0] for name, found in run.embed_rows([row]).items()}


def test_a_training_row_is_nearest_to_itself_and_is_found_again_in_the_cache(tiny_run, cache, monkeypatch):
    space = space_of(tiny_run, QUIET)
    about = tiny_run.folder.read("run.json")
    assert (space.name, space.side, space.note, len(space.ids)) == ("match", "train", "", about["rows"]["train"])
    assert np.allclose(np.linalg.norm(space.vectors_ND, axis=1), 1, atol=1e-5)
    for row_id, cells in zip(space.ids[:5], Source(tiny_run).cells(space.ids[:5]), strict=True):
        best = space.nearest(vectors(tiny_run, cells), most=3)
        assert best[0].similarity == pytest.approx(1, abs=1e-4) and row_id in [one.id for one in best if one.similarity > 0.9999]
        assert {one.label for one in best} <= {"low", "high"}
    monkeypatch.setattr(similar, "open_table", None)  # nothing is read again
    assert np.array_equal(space_of(tiny_run, QUIET).vectors_ND, space.vectors_ND)
    assert [thing.kind for thing in things() if thing.kind == "neighbours"] == ["neighbours"]


def test_test_rows_stand_in_where_the_source_is_gone_and_it_is_said(tiny_run, tmp_path, cache, monkeypatch):
    shutil.copytree(tiny_run.folder.path, tmp_path / "moved")
    run = triptych.open_run(tmp_path / "moved")

    def gone(*_):
        raise InputError("the table is not there")

    monkeypatch.setattr(similar, "open_table", gone)
    space = space_of(run, QUIET)
    assert space.side == "test" and "the table is not there" in space.note and set(space.ids) <= set(run.gallery["id"])
    assert space.nearest(vectors(run, {"text": "a deep dark tone"}))
    assert space.nearest({"fused": [1.0]}) == []


def test_a_row_has_one_vector_of_all_its_inputs():
    found = together({"fused": [9.0], "m.a": [2.0, 0.0], "m.b": [0.0, 3.0], "m.c": None}, "m")
    assert np.allclose(found, [2**-0.5, 2**-0.5])
    assert np.allclose(together({"fused": [0.0, 5.0]}, "fused"), [0, 1]) and together({"m.a": None}, "m") is None
