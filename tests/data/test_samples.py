from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from triptych.base.errors import InputError
from triptych.contract.modality import ToyCell
from triptych.data import samples
from triptych.data.samples import SAMPLES, Sample, make_sample
from triptych.data.sources.tabled import read_source
from triptych.modalities import rooms


class Toy:
    """A room that makes a file a row, and may be killed on the way."""

    name = "toy"

    def __init__(self, broken: BaseException | None = None):
        self.made, self.broken = 0, broken

    def toy(self, sample, rows, seed):
        self.made += 1
        if self.broken:
            raise self.broken
        return [ToyCell(row.concept.encode(), f"{row.split}-{n}", ".bin") for n, row in enumerate(rows)]


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    monkeypatch.setitem(SAMPLES, "few", Sample(("zero", "one", "two"), {"train": 3, "validation": 1, "test": 2}, "digit"))
    return tmp_path


def test_a_sample_is_made_once_and_is_a_table_like_a_users():
    room = Toy()
    path = make_sample("few", {"thing": room})
    assert make_sample("few", {"thing": room}) == path and room.made == 1
    found = read_source(path, rooms())
    assert len(found.rows) == 18 and found.columns == ["id", "thing", "digit", "split", "thing_group"]
    assert all((path.parent / row.cells["thing"]).read_text() == row.cells["digit"] for row in found.rows)


@pytest.mark.parametrize("blow", [KeyboardInterrupt(), OSError("disk full"), InputError("no such sample")])
def test_a_killed_sample_leaves_nothing_and_is_made_anew(small, blow):
    with pytest.raises(type(blow)):
        make_sample("few", {"thing": Toy(blow)})
    assert [path for path in (small / "samples").iterdir() if path.suffix != ".in-use"] == []
    assert make_sample("few", {"thing": Toy()}).exists()


def test_killed_between_two_files(small, monkeypatch):
    kept = samples._kept

    def killed(cell, folder, column, row):
        if "two" in row:
            raise KeyboardInterrupt
        return kept(cell, folder, column, row)

    monkeypatch.setattr(samples, "_kept", killed)
    with pytest.raises(KeyboardInterrupt):
        make_sample("few", {"thing": Toy()})
    monkeypatch.undo()
    monkeypatch.setenv("TRIPTYCH_CACHE", str(small))
    monkeypatch.setitem(SAMPLES, "few", Sample(("zero", "one", "two"), {"train": 3}, "digit"))
    assert len(read_source(make_sample("few", {"thing": Toy()}), rooms()).rows) == 9


def test_a_folder_without_its_table_is_not_a_sample():
    path = make_sample("few", {"thing": Toy()})
    path.unlink()
    assert make_sample("few", {"thing": Toy()}).exists()


def test_the_faster_process_wins(monkeypatch):
    class Slow(Toy):
        def toy(self, sample, rows, seed):
            made = super().toy(sample, rows, seed)
            if self.made == 1:
                make_sample("few", {"thing": Toy()})
            return made

    path = make_sample("few", {"thing": Slow()})
    assert len(read_source(path, rooms()).rows) == 18 and len([one for one in path.parent.parent.iterdir() if one.suffix != ".in-use"]) == 1


def test_an_unknown_sample_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'digits'"):
        make_sample("digit", {"thing": Toy()})


@pytest.mark.parametrize("column", ["digit", "id", "split", "../up", "a/b", "", "a b"])
def test_a_column_that_cannot_be_made_is_refused(small, column):
    with pytest.raises(InputError, match="a sample cannot have an input column"):
        make_sample("few", {column: Toy()})


def rooms_that_play() -> list[str]:
    folder = Path(samples.__file__).parents[1] / "modalities"
    return [name for name in rooms() if (folder / name / "toy.py").exists()]


@pytest.mark.parametrize("name", rooms_that_play())
def test_groups_are_on_one_side_in_every_room(name, monkeypatch):
    if name == "audio":
        pytest.importorskip("espeakng_loader")
    monkeypatch.setitem(SAMPLES, "digits", Sample(("zero", "one"), {"train": 6, "validation": 2, "test": 3}, "digit"))
    found, room = read_source(make_sample("digits", {name: rooms()[name]}), rooms()), rooms()[name]
    sides = defaultdict(set)
    for row in found.rows:
        sides[row.cells[f"{name}_group"]].add(row.cells["split"])
        assert room.read(found.folder / row.cells[name] if room.by_reference else row.cells[name])
    assert all(len(side) == 1 for side in sides.values())
