from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.contract.tasks import Classify
from triptych.data.loader import InputColumn, Loader
from triptych.data.locate import locate
from triptych.data.sources.tabled import read_source
from triptych.data.targets import learn_target
from triptych.modalities import rooms
from triptych.modalities.image.settings import Prepare


class Counted:
    """A preparation that counts what it prepares."""

    def __init__(self, inner):
        self.inner, self.prepared = inner, 0

    def prepare(self, values):
        self.prepared += len(values)
        return self.inner.prepare(values)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def column(tiny_table, keep_bytes: int = 2**30, name: str = "image") -> InputColumn:
    room = rooms()[name]
    words = Prepare(size=16) if name == "image" else room.Input(modality=name).prepare
    table = locate(read_source(tiny_table, rooms()), {name: room})
    held = InputColumn(room, Counted(room.preparation(words)), name, table, keep_bytes)
    held.fit(range(len(table.rows)))
    return held


@pytest.fixture(scope="module")
def image(tiny_table):
    return column(tiny_table)


@pytest.fixture(scope="module")
def text(tiny_table):
    return column(tiny_table, name="text")


def loader(inputs, batch_size=7, seed=None, rows=None):
    table = next(iter(inputs.values())).table
    table.splits[:] = ["train"] * len(table.rows)
    return Loader(table, inputs, {"label": learn_target("label", Classify(target="label"), table, {})}, rows or range(40), batch_size, seed)


def same(a, b) -> bool:
    inputs = all(torch.equal(x, b.inputs[c].tensors[n]) for c in a.inputs for n, x in a.inputs[c].tensors.items())
    return inputs and a.ids == b.ids and all(torch.equal(a.present[c], b.present[c]) for c in a.present)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 39), min_size=1, unique=True), size=st.integers(1, 50), seed=st.integers(0, 2**32 - 1) | st.none())
def test_every_row_once_an_epoch(image, rows, size, seed):
    made = loader({"image": image}, size, seed, rows)
    batches = list(made)
    assert sorted(i for batch in batches for i in batch.ids) == sorted(f"row-{i + 1}" for i in rows)
    assert len(batches) == len(made) and all(len(batch) == size for batch in batches[:-1])


def test_order_is_by_seed_and_epoch(image):
    one, two, other = (loader({"image": image}, seed=seed) for seed in (3, 3, 4))
    first, second = [b.ids for b in one], [b.ids for b in one]
    assert first == [b.ids for b in two] and second == [b.ids for b in two]
    assert first != second and first != [b.ids for b in other]


def test_without_a_seed_rows_keep_their_order_in_every_epoch(image):
    made = loader({"image": image}, rows=[5, 3, 9])
    assert [b.ids for b in made] == [b.ids for b in made] == [("row-6", "row-4", "row-10")]


def test_a_mixed_batch_says_who_is_there(image, text):
    batch = loader({"image": image, "text": text}).batch([0, 1, 6, 2])
    assert batch.present["image"].tolist() == [False, True, True, True]  # every ninth row lacks a picture, others a text
    assert batch.present["text"].tolist() == [True, True, False, True]
    assert all(len(tensor) == 3 for tensor in batch.inputs["image"].tensors.values())
    assert len(batch) == 4 and batch.ids == ("row-1", "row-2", "row-7", "row-3")


def test_an_input_that_nobody_has_is_absent_but_present_says_so(image):
    batch = loader({"image": image}).batch([0])
    assert "image" not in batch.inputs and batch.present["image"].tolist() == [False]


def test_a_row_is_prepared_once_where_memory_allows_and_each_time_where_not(tiny_table):
    kept, anew = column(tiny_table), column(tiny_table, keep_bytes=0)
    a, b = loader({"image": kept}), loader({"image": anew})
    for _ in range(2):
        assert all(same(x, y) for x, y in zip(a, b, strict=True))
    has = sum(kept.has(index) for index in range(40))
    assert kept.preparation.prepared == has and anew.preparation.prepared == 2 * has


def test_no_more_is_kept_than_allowed(tiny_table):
    one = sum(tensor.nbytes for tensor in column(tiny_table).items([1])[0].values())
    held = column(tiny_table, keep_bytes=3 * one)
    list(loader({"image": held}))
    assert len(held._kept) == 3


def test_a_loader_left_in_the_middle_can_be_used_again(image):
    made = loader({"image": image})
    next(iter(made))
    assert sum(len(batch) for batch in made) == 40


def test_a_file_that_vanishes_during_training_is_named(tiny_table):
    held = column(tiny_table, keep_bytes=0)
    held.table.rows[1].cells["image"] = tiny_table.parent / "gone.png"
    with pytest.raises(Exception, match=r"gone\.png"):
        list(loader({"image": held}))


def test_targets_come_with_their_rows(image):
    batch = loader({"image": image}).batch([2, 1])
    assert batch.targets["label"].tolist() == [1, 0] and batch.has_target["label"].tolist() == [True, True]
