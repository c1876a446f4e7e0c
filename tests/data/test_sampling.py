"""Drawing by class, source or column: the draws keep to the plan, and every row has its turn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.tasks import Classify, MultiLabel
from triptych.contract.values import Output
from triptych.data.order import Order
from triptych.data.rows import Row
from triptych.data.sampling import Plan, apportioned, sampling_plan
from triptych.data.settings import BalanceSettings, DataSettings
from triptych.data.table import Table
from triptych.data.targets import learn_target
from triptych.model.heads import build_head
from triptych.objective.losses import terms


def table(columns: dict[str, list]) -> Table:
    cells = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    rows = [Row(f"r{n}", {name: cell for name, cell in row.items() if cell is not None}) for n, row in enumerate(cells)]
    return Table(list(columns), rows, "made.csv", Path(), ["train"] * len(rows))


def plan(columns: dict[str, list], words: dict | None, weights=None, inputs=None) -> Plan | None:
    made = table(columns)
    return sampling_plan(made, BalanceSettings(**words) if words else None, weights or {}, inputs or {}, range(len(made.rows)))


def drawn(made: Plan) -> dict[str, int]:
    return dict(zip(made.names, made.counts, strict=True))


LONG = {"label": ["common"] * 90 + ["rare"] * 9 + ["odd"]}


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1, {"common": 90, "rare": 9, "odd": 1}), (0, {"common": 34, "rare": 33, "odd": 33}), (0.5, {"common": 70, "rare": 22, "odd": 8})],
)
def test_groups_are_drawn_by_their_size_to_the_power_of_the_temperature(temperature, expected):
    made = plan(LONG, {"by": "label", "temperature": temperature})
    sizes = np.array([90, 9, 1.0]) ** temperature
    shares = dict(zip(("common", "rare", "odd"), sizes / sizes.sum(), strict=True))
    assert {name: pytest.approx(share * 100, abs=1) for name, share in shares.items()} == drawn(made)
    assert {name: pytest.approx(count, abs=1) for name, count in expected.items()} == drawn(made) and len(made) == 100


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    temperature=st.floats(0, 1),
    rows=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 9),
)
def test_an_epoch_has_what_the_plan_says(sizes, temperature, rows, seed, epoch):
    labels = [f"c{group}" for group, size in enumerate(sizes) for _ in range(size)]
    made = plan({"label": labels}, {"by": "label", "temperature": temperature, "epoch": rows})
    places = made.drawn(seed, epoch)
    assert len(places) == len(made) == max(rows, len(sizes))
    assert Counter(labels[place] for place in places) == drawn(made)
    assert np.array_equal(places, made.drawn(seed, epoch))
    assert sum(share.drawn_share for share in made.shares()) == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), count=st.integers(1, 100), epochs=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_every_row_of_a_group_is_seen_before_any_is_seen_again(rows, count, epochs, seed):
    made = Plan("label", ["a", "b"], [np.arange(rows), np.arange(rows, rows + 3)], [count, 2])
    seen: Counter[int] = Counter()
    for epoch in range(epochs):
        seen.update(place for place in made.drawn(seed, epoch).tolist() if place < rows)
        times = [seen[row] for row in range(rows)]
        assert max(times) - min(times) <= 1 and sum(times) == count * (epoch + 1)


def test_groups_come_mixed_and_not_one_after_the_other():
    made = plan(LONG, {"by": "label", "epoch": 3000})
    places = made.drawn(0, 0)
    assert all(800 < np.isin(part, np.arange(90)).sum() * 3 < 1200 for part in np.split(places, 3))


@settings(max_examples=200, deadline=None)
@given(shares=st.lists(st.floats(1e-6, 1), min_size=1, max_size=20), more=st.integers(0, 500))
def test_whole_numbers_add_up_and_none_is_zero(shares, more):
    shares_G = np.array(shares) / sum(shares)
    total = len(shares) + more
    counts = apportioned(shares_G, total)
    assert sum(counts) == total and min(counts) >= 1
    plenty = shares_G * total >= len(shares) + 1  # far from the least: only the least of others can take from it
    assert all(abs(count - share * total) <= len(shares) for count, share in zip(np.array(counts)[plenty], shares_G[plenty], strict=True))


def test_a_row_of_a_source_of_weight_three_comes_three_times_as_often():
    made = plan({"source": ["a"] * 60 + ["b"] * 20}, None, {"a": 1.0, "b": 3.0})
    assert made.by == "source" and drawn(made) == {"a": 40, "b": 40}
    shares = {share.group: share.seen for share in made.shares()}
    assert shares["b"] == pytest.approx(3 * shares["a"])


def test_equal_weights_and_no_words_change_nothing():
    assert plan({"source": ["a", "b"]}, None, {"a": 2.0, "b": 2.0}) is None and plan({"x": ["a"]}, None) is None


def test_weights_hold_within_each_class():
    columns = {"label": ["u"] * 30 + ["v"] * 10, "source": (["a"] * 20 + ["b"] * 10) + (["a"] * 5 + ["b"] * 5)}
    made = plan(columns, {"by": "label", "epoch": 400}, {"a": 1.0, "b": 2.0})
    assert drawn(made) == {"u of a": 100, "u of b": 100, "v of a": 67, "v of b": 133}


def test_sources_are_flattened_and_keep_their_weights():
    made = plan({"source": ["a"] * 90 + ["b"] * 10}, {"by": "source", "epoch": 300}, {"a": 1.0, "b": 2.0})
    assert drawn(made) == {"a": 100, "b": 200}


def test_rows_are_grouped_by_the_inputs_they_have():
    columns = {"voice": ["x", None, "x", "x"], "note": ["y", "y", None, "y"]}
    made = plan(columns, {"by": "modality", "epoch": 6}, inputs={"sound": "voice", "text": "note"})
    assert drawn(made) == {"sound": 2, "sound + text": 2, "text": 2}


def test_rows_without_a_value_are_a_group():
    assert drawn(plan({"label": ["a", "a", None, None]}, {"by": "label"})) == {"(none)": 2, "a": 2}


def test_a_column_that_is_not_there_or_says_nothing_is_refused():
    with pytest.raises(InputError, match=r"no column 'lable', which data\.balance\.by asks for"):
        plan(LONG, {"by": "lable"})
    with pytest.raises(InputError, match="40 different values in 40 training rows"):
        plan({"name": [f"n{n}" for n in range(40)]}, {"by": "name"})


def test_a_word_stands_for_the_settings():
    assert DataSettings(source="x", balance="label").balance == BalanceSettings(by="label")


def test_batches_of_a_plan_hold_the_tables_rows():
    made = plan(LONG, {"by": "label", "epoch": 40})
    order = Order(np.arange(100) * 7, 16, 3, made)
    batches = order.batches(2)
    assert len(order) == len(batches) == 3 and [len(batch) for batch in batches] == [16, 16, 8]
    assert np.array_equal(np.concatenate(batches), made.drawn(3, 2) * 7)


def test_the_plan_is_a_table_for_people():
    lines = plan(LONG, {"by": "label"}).lines(most=2)
    assert lines[1].split() == ["common", "90", "90.0%", "34", "34.0%", "0.38", "times"] and lines[-1] == "and 1 more groups"


def weighted(kind: type, cells: list, **words):
    made = table({"label": cells})
    task = kind(target="label", **words)
    target = learn_target("label", task, made, {})
    return task, target, build_head(task, 4, target.facts)


def test_balanced_weights_are_those_of_scikit_learn():
    cells = ["a"] * 7 + ["b"] * 2 + ["c"]
    _, target, head = weighted(Classify, cells, class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=np.array(cells))
    assert np.array(target.facts["class_weights"])[:, 0] == pytest.approx(expected)
    assert head.weights_CK.shape == (3, 1) and "weights_CK" not in head.state_dict()


def test_weights_of_classes_are_those_of_torch():
    torch.manual_seed(0)
    task, target, head = weighted(Classify, ["a", "b", "b", "c"], class_weights={"b": 3, "c": 0.5})
    logits = torch.randn(4, 3)
    rows = torch.ones(4, dtype=torch.bool)
    found = terms(Output({"logits_BC": logits, "weights_CK": head.weights_CK}), target.values, rows, task, {})[""].loss_P
    torch.testing.assert_close(found, F.cross_entropy(logits, target.values, torch.tensor([1, 3, 0.5]), reduction="none"))


def test_weights_of_labels_are_those_of_torch_and_balance_those_who_have_it_with_those_who_lack_it():
    torch.manual_seed(0)
    task, target, head = weighted(MultiLabel, ["a|b", "a", "a", "b", ""], class_weights={"b": 3})
    logits, rows = torch.randn(5, 2), torch.ones(5, dtype=torch.bool)
    found = terms(Output({"logits_BC": logits, "weights_CK": head.weights_CK}), target.values, rows, task, {})[""].loss_P
    expected = F.binary_cross_entropy_with_logits(logits, target.values, reduction="none", pos_weight=torch.tensor([1.0, 3.0])).mean(1)
    torch.testing.assert_close(found, expected)
    _, target, head = weighted(MultiLabel, ["a|b", "a", "a", "b", ""], class_weights="balanced")
    each = torch.where(target.values > 0.5, head.weights_CK[:, 1], head.weights_CK[:, 0])
    for label in range(2):
        has = target.values[:, label] > 0.5
        assert float(each[has, label].sum()) == pytest.approx(float(each[~has, label].sum())) == pytest.approx(2.5)


def test_without_weights_nothing_is_said_of_them():
    _, target, head = weighted(Classify, ["a", "b"])
    assert "class_weights" not in target.facts and "class_weights" not in head.facts and head.weights_CK is None


def test_a_weight_of_a_class_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="did you mean 'high'"):
        weighted(Classify, ["high", "low"], class_weights={"hihg": 2})


@pytest.mark.parametrize("wrong", [{"a": 0}, {"a": "much"}, {"a": True}, "blanced", 3])
def test_words_that_are_no_weights_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be a number above 0|class_weights is balanced"):
        Classify(target="x", class_weights=wrong)


def test_a_saved_head_keeps_its_weights(tmp_path):
    _, _, head = weighted(Classify, ["a", "b", "b"], class_weights="balanced")
    head.save(tmp_path)
    assert torch.equal(type(head).load(tmp_path).weights_CK, head.weights_CK)
