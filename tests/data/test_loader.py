from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError, TriptychError
from triptych.contract.tasks import Classify
from triptych.data.ahead import Gate, ahead
from triptych.data.inputs import InputColumn
from triptych.data.loader import Loader
from triptych.data.locate import locate
from triptych.data.order import Order
from triptych.data.sampling import Plan
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
    words = room.Input(modality=name, **({"prepare": Prepare(size=16)} if name == "image" else {}))
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


@pytest.fixture(scope="module")
def audio(tiny_table):
    return column(tiny_table, name="audio")


def loader(inputs, batch_size=7, seed=None, rows=None, threads=None, **words):
    table = next(iter(inputs.values())).table
    table.splits[:] = ["train"] * len(table.rows)
    order = Order(np.array(rows if rows is not None else range(40)), batch_size, seed, **words)
    return Loader(table, inputs, {"label": learn_target("label", Classify(target="label"), table, {})}, order, threads)


def same(a, b) -> bool:
    inputs = all(torch.equal(x, b.inputs[c].tensors[n]) for c in a.inputs for n, x in a.inputs[c].tensors.items())
    return inputs and a.ids == b.ids and all(torch.equal(a.present[c], b.present[c]) for c in a.present)


def at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


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


@pytest.mark.parametrize("name", ["image", "text", "audio"])
def test_batches_do_not_depend_on_threads_nor_on_what_was_kept(tiny_table, name, monkeypatch):
    """One thread and all kept; four threads; nothing kept: three epochs, number for number."""
    made = [
        loader({name: column(tiny_table, keep, name)}, 5, 1, threads=threads)
        for keep, threads in ((2**30, 1), (2**30, 4), (0, 4), (20_000, 2))
    ]
    monkeypatch.setattr(Gate, "_decided", lambda gate: gate.threads)  # all threads work at once
    for _ in range(3):
        for first, *others in zip(*made, strict=True):
            assert all(same(first, other) for other in others)


def test_a_row_is_prepared_once_where_the_disk_allows_and_each_time_where_not(tiny_table):
    kept, anew = column(tiny_table), column(tiny_table, keep_bytes=0)
    a, b = loader({"image": kept}), loader({"image": anew})
    for _ in range(2):
        assert all(same(x, y) for x, y in zip(a, b, strict=True))
    has = sum(kept.has(index) for index in range(40))
    assert kept.preparation.prepared == has and anew.preparation.prepared == 2 * has


def test_a_row_that_comes_twice_in_a_batch_is_prepared_once(tiny_table):
    held = column(tiny_table, keep_bytes=0)
    batch = loader({"image": held}).batch([1, 2, 1])
    assert held.preparation.prepared == 2 and batch.ids == ("row-2", "row-3", "row-2")
    assert torch.equal(batch.inputs["image"].tensors["pixels"][0], batch.inputs["image"].tensors["pixels"][2])


def test_a_loader_left_in_the_middle_can_be_used_again_and_leaves_no_thread(image):
    made = loader({"image": image})
    batches = iter(made)
    next(batches)
    assert at_work()
    batches.close()
    assert not at_work()
    assert sum(len(batch) for batch in made) == 40 and not at_work()


def test_the_threads_end_with_the_last_batch_even_where_nobody_asks_for_one_more(image):
    made = loader({"image": image})
    batches = iter(made)
    for _ in range(len(made)):
        next(batches)
    assert not at_work()


def test_no_more_is_made_ahead_than_allowed(tiny_table):
    held = column(tiny_table, keep_bytes=0)
    made = loader({"image": held}, 1, rows=[1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17], threads=2)
    batches = iter(made)
    next(batches)
    time.sleep(0.2)
    assert held.preparation.prepared <= 1 + 2 + 2
    batches.close()


def test_a_file_that_vanishes_during_training_is_named_when_its_batch_is_due(tiny_table):
    held = column(tiny_table, keep_bytes=0)
    held.table.rows[20].cells["image"] = tiny_table.parent / "gone.png"
    seen = []
    with pytest.raises(TriptychError, match=r"row-21: image cannot be read any more[^$]*gone\.png") as caught:
        for batch in loader({"image": held}, threads=3):
            seen += batch.ids
    assert not isinstance(caught.value, InputError)  # the work failed; what there is of the run is kept
    assert seen == [f"row-{n + 1}" for n in range(14)] and not at_work()


def test_targets_come_with_their_rows(image):
    batch = loader({"image": image}).batch([2, 1])
    assert batch.targets["label"].tolist() == [1, 0] and batch.has_target["label"].tolist() == [True, True]


@pytest.mark.parametrize("handed", [0, 1, 3, 5, 6])
@pytest.mark.parametrize("before", [0, 2])
def test_it_goes_on_where_it_was_and_makes_nothing_twice(tiny_table, image, handed, before):
    """`handed` of 6 batches were handed out in the epoch after `before` whole ones; more were made ahead by then."""
    one = loader({"image": image}, seed=9)
    for _ in range(before):
        list(one)
    batches = iter(one)
    for _ in range(handed):
        next(batches)
    state = json.loads(json.dumps(one.state_dict()))
    rest = [*batches, *one]

    held = column(tiny_table, keep_bytes=0)
    two = loader({"image": held}, seed=9)
    two.load_state_dict(state)
    assert two.state_dict() == state
    again = [*two, *two] if handed < 6 else list(two)
    assert len(again) == len(rest) and all(same(a, b) for a, b in zip(again, rest, strict=True))
    assert held.preparation.prepared == sum(int(batch.present["image"].sum()) for batch in again)


def test_a_place_in_other_rows_is_refused(image):
    state = loader({"image": image}, seed=1).state_dict()
    for other in (
        loader({"image": image}, seed=2),
        loader({"image": image}, seed=1, batch_size=8),
        loader({"image": image}, seed=1, rows=[1]),
    ):
        with pytest.raises(InputError, match="place in the epoch"):
            other.load_state_dict(state)


def test_a_start_that_is_interrupted_leaves_no_thread_that_waits(monkeypatch):
    class Interrupted(threading.Barrier):
        def wait(self, timeout=None):
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr("triptych.data.ahead.Barrier", Interrupted)
    count = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        next(ahead(str, [1, 2], 2, 2))
    for thread in threading.enumerate():
        if thread.name.startswith("ahead"):
            thread.join(20)
            assert not thread.is_alive()
    assert torch.get_num_threads() == count


def test_work_is_done_in_order_and_a_failure_comes_when_it_is_due():
    def work(number: int) -> int:
        time.sleep(0.01 * (number % 3))
        if number == 5:
            raise ValueError("five")
        return number

    done = []
    with pytest.raises(ValueError, match="five"):
        for number in ahead(work, range(10), 3, 4):
            done.append(number)
    assert done == [0, 1, 2, 3, 4] and not at_work()


def test_torch_keeps_its_threads_and_the_helpers_have_one_each():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert set(ahead(lambda _: torch.get_num_threads(), range(6), 2, 4)) == {1}
        assert torch.get_num_threads() == 3
        (later,) = ThreadPoolExecutor(1).map(lambda _: torch.get_num_threads(), [0])
        assert later == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("together", "limit"), [(1.5e-3, 2), (3e-3, 1), (9e-3, 2)])
def test_the_gate_stays_with_what_is_faster(monkeypatch, together, limit):
    """Of two threads at once, each piece of four rows may take up to twice as long as alone; slow ones are not tried alone."""
    clock = [0.0]
    monkeypatch.setattr("triptych.data.ahead.time.perf_counter", lambda: clock[0])
    gate = Gate(2)
    for _ in range(10):
        with gate.pass_for(4):
            clock[0] += together if gate.limit == 2 else 1e-3
    assert gate.limit == limit


def test_one_thread_alone_is_never_waited_for():
    gate = Gate(1)
    for _ in range(5):
        with gate.pass_for(1):
            assert gate.limit == 1


def test_drawn_and_sorted_rows_go_on_where_they_were_too(image):
    words = {
        "draws": Plan("label", ["a", "b"], [np.arange(30), np.arange(30, 40)], [25, 25]),
        "lengths_R": np.arange(40) % 7 + 1.0,
        "window": 3,
    }
    one = loader({"image": image}, 6, 4, **words)
    list(one)
    batches = iter(one)
    for _ in range(5):
        next(batches)
    two = loader({"image": image}, 6, 4, **words)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert [batch.ids for batch in two] == [batch.ids for batch in batches]
    assert [batch.ids for batch in two] == [batch.ids for batch in one]
