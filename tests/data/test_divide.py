"""`triptych data split`: the sides of a split written into a table."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.data.build import Plan, build
from triptych.data.divide import write_split
from triptych.data.rows import Row, Source
from triptych.data.settings import SplitSettings
from triptych.data.split import folds
from triptych.data.stored import open_dataset, read_stored
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.run.progress import Voice


def rows(count):
    return [Row(f"r{n}", {"words": f"some text {n}", "speaker": f"s{n % 7}", "label": "abc"[n % 3]}) for n in range(count)]


@pytest.fixture
def table(tmp_path):
    build(Source("rows", lambda: iter(rows(210))), tmp_path / "t.lance", rooms(), Plan(), Voice(quiet=True))
    return tmp_path / "t.lance"


def column(table, name):
    return list(read_stored(table).rows.cells(name))


def test_groups_stay_on_one_side_and_the_split_is_the_same_each_time(table):
    told = write_split(table, SplitSettings(group="speaker", test=0.3, validation=0.15), None)
    assert told["rows"] == 210 and sum(told["sides"].values()) == 210
    first = column(table, "split")
    sides = defaultdict(set)
    for speaker, side in zip(column(table, "speaker"), first, strict=True):
        sides[speaker].add(side)
    assert all(len(found) == 1 for found in sides.values()) and set(first) == {"train", "validation", "test"}
    write_split(table, SplitSettings(group="speaker", test=0.3, validation=0.15), None)
    assert column(table, "split") == first
    write_split(table, SplitSettings(group="speaker", test=0.3, validation=0.15, seed=4), None)
    assert column(table, "split") != first


def test_strata_have_their_share_on_each_side(table):
    write_split(table, SplitSettings(test=0.2, validation=0.1), "label")
    counts = Counter(zip(column(table, "label"), column(table, "split"), strict=True))
    assert {counts[label, "test"] for label in "abc"} == {14} and {counts[label, "validation"] for label in "abc"} == {7}


def test_older_versions_stay_and_other_columns_are_not_written_over(table):
    before = open_dataset(table).version
    write_split(table, SplitSettings(), None)
    write_split(table, SplitSettings(seed=1), None)
    assert "split" not in read_stored(table, before).columns
    assert read_stored(table).columns == ["id", "words", "speaker", "label", "split"]
    with pytest.raises(InputError, match="holds something else"):
        write_split(table, SplitSettings(), None, name="speaker")
    with pytest.raises(InputError, match="no column 'sorte'"):
        write_split(table, SplitSettings(), "sorte")


def test_rows_can_be_appended_after_a_split(table):
    write_split(table, SplitSettings(), None)
    more = Source("more", lambda: iter([Row("new", {"words": "and more"})]))
    build(more, table, rooms(), Plan(append=True), Voice(quiet=True))
    assert column(table, "split")[-1] is None and len(column(table, "split")) == 211


def test_a_side_that_gets_nothing_is_said(table):
    assert write_split(table, SplitSettings(), None)["findings"] == []
    found = write_split(table, SplitSettings(group="label", test=0, validation=0.01), None)
    empty = [side for side in ("train", "validation") if side not in found["sides"]]
    assert empty and found["findings"] == [f"no row is {side}; label has too few different values for all sides" for side in empty]


def test_folds_are_equal_and_hold_every_label(table):
    write_split(table, SplitSettings(), "label", name="fold", parts=5)
    counts = Counter(zip(column(table, "label"), column(table, "fold"), strict=True))
    assert set(counts.values()) == {14} and {fold for _, fold in counts} == set(range(5))


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 12), min_size=30, max_size=80),
    parts=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_no_group_is_in_two_folds(groups, parts, seed):
    table = Table(["g"], [Row(f"r{n}", {"g": str(group)}) for n, group in enumerate(groups)], "t", None)
    if len(set(groups)) < parts:
        with pytest.raises(InputError, match="cannot be divided"):
            folds(table, SplitSettings(group="g", seed=seed), None, parts)
        return
    found = folds(table, SplitSettings(group="g", seed=seed), None, parts)
    where = defaultdict(set)
    for group, fold in zip(groups, found, strict=True):
        where[group].add(fold)
    assert all(len(folds_of) == 1 for folds_of in where.values()) and set(found) == set(range(parts))
    largest = max(Counter(groups).values())
    assert max(Counter(found).values()) - min(Counter(found).values()) <= largest
