"""Variants of rows: decided by row, number and seed alone; shown to training, and to nobody else."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from triptych.contract.augment import Chain, Step
from triptych.data.loader import InputColumn, Loader
from triptych.data.order import Order
from triptych.data.targets import Target
from triptych.data.varied import AGAIN, Varied, showings


class Numbers:
    """A room whose values are numbers, and a preparation that makes each a tensor."""

    name = "numbers"

    def read(self, source):
        return float(source)

    def prepare(self, values):
        return [{"x": torch.tensor([value])} for value in values]

    def collate(self, items):
        return SimpleNamespace(x=torch.cat([item["x"] for item in items]))


class Rows:
    def __init__(self, count):
        self.count = count

    def ids(self):
        return [f"r{n}" for n in range(self.count)]

    def take(self, indices, columns):
        return [SimpleNamespace(id=f"r{n}", cells={"n": n}) for n in indices]


def table(count=20):
    return SimpleNamespace(rows=Rows(count), counts=lambda column: [int(n % 5 != 4) for n in range(count)], source="here")


def added(value, step, rng):
    return value + float(rng.random())


def doubled(item, step, rng):
    return {"x": item["x"] * (2 if rng.random() < 0.5 else 3)}


def column(count=20):
    return InputColumn(Numbers(), Numbers(), "n", table(count), 1 << 20)


def varied(most=3, seed=0, name="n", count=20, made=None):
    def counted(value, step, rng):
        if made is not None:
            made.append(value)
        return added(value, step, rng)

    chain = Chain([(Step(kind="added", chance=1), counted)], [(Step(kind="doubled", chance=1), doubled)])
    return Varied(name, column(count), chain, seed, most)


def test_a_variant_is_decided_by_row_number_and_seed_alone():
    one, two = varied(), varied()
    rows = [0, 1, 2, 3, 5, 6]
    together = [float(item["x"]) for item in one.items(rows, [1] * 6)]
    alone = [float(two.items([row], [1])[0]["x"]) for row in reversed(rows)][::-1]
    assert together == alone and len(set(together)) == 6
    others = [varied(seed=1), varied(name="m")]
    assert all([float(item["x"]) for item in other.items(rows, [1] * 6)] != together for other in others)
    assert [float(item["x"]) for item in one.items(rows, [2] * 6)] != together


@pytest.mark.parametrize("most", [1, 3, None])
def test_a_row_has_so_many_variants_and_each_is_made_once(most):
    made: list[float] = []
    held = varied(most, made=made)
    seen = [float(held.items([7], [epoch])[0]["x"]) for epoch in range(9)]
    assert len(set(seen)) == (most or 9) == len(made)
    assert most is None or seen == list(itertools.islice(itertools.cycle(seen[:most]), 9))


def test_rows_that_lack_the_input_are_left_out():
    packed, there = varied().pack([3, 4, 5, 9], [0, 0, 0, 0])
    assert there.tolist() == [True, False, True, False] and len(packed.x) == 2
    assert varied().pack([4, 9], [0, 0])[0] is None


def test_a_row_that_comes_again_in_an_epoch_is_shown_in_another_variant():
    batches = [np.array([5, 2, 5]), np.array([5, 0])]
    found = showings(batches, 4)
    assert [list(part) for part in found] == [[4, 4, 4 + AGAIN], [4 + 2 * AGAIN, 4]]
    assert showings([], 0) == []
    assert len({int(shown) % 4 for part in found for shown in part if shown % AGAIN == 4}) > 1


def loader(order, variants, share=(0, 1), threads=2):
    targets = {"t": Target(torch.zeros(20), torch.ones(20, dtype=torch.bool))}
    return Loader(table(), {"n": column()}, targets, order, threads=threads, share=share, varied=variants)


def epochs(made, count):
    return [[tuple(batch.inputs["n"].x.tolist()) for batch in made if "n" in batch.inputs] for _ in range(count)]


def test_training_sees_variants_and_a_resumed_one_the_same():
    order = Order(np.arange(20), 6, seed=3)
    whole = epochs(loader(order, {"n": varied()}), 5)
    flat = [sorted(x for batch in epoch for x in batch) for epoch in whole]
    assert flat[0] == flat[3] and flat[1] == flat[4] and flat[0] != flat[1] != flat[2]

    stopped = loader(order, {"n": varied()})
    epochs(stopped, 1)
    first = next(iter(stopped))
    again = loader(order, {"n": varied()}, threads=1)
    again.load_state_dict(stopped.state_dict())
    rest = epochs(again, 1)[0]
    assert [tuple(first.inputs["n"].x.tolist()), *rest] == whole[1]


def test_several_processes_share_the_variants_of_one():
    order = Order(np.arange(20), 6, seed=3)
    whole = [batch.ids for batch in loader(order, {"n": varied()})]
    alone = {x for batch in epochs(loader(order, {"n": varied()}), 1)[0] for x in batch}
    parts = [{x for batch in epochs(loader(order, {"n": varied()}, share=(rank, 2)), 1)[0] for x in batch} for rank in (0, 1)]
    assert parts[0] | parts[1] == alone and not parts[0] & parts[1] and len(whole) == 4


def test_without_variants_rows_are_themselves():
    order = Order(np.arange(20), 6, seed=3)
    assert {x for batch in epochs(loader(order, None), 1)[0] for x in batch} == {float(n) for n in range(20) if n % 5 != 4}
    assert loader(order, {"n": varied()}).batch([1, 2]).inputs["n"].x.tolist() == [1.0, 2.0]  # what is only looked at is not changed
