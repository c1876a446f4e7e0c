from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.contract.tasks import Classify, Contrast, MultiLabel, Regress
from triptych.data.table import Row, Table
from triptych.data.targets import learn_target, pick


def table(train: list, test: list = ()) -> Table:
    cells = [*train, *test]
    rows = [Row(f"r{i}", {"a": f"a{i}", "b": f"b{i}", **({} if cell is None else {"y": cell})}) for i, cell in enumerate(cells)]
    return Table(["y"], rows, "t.csv", Path(), splits=["train"] * len(train) + ["test"] * len(test))


def learn(task, train: list, test: list = ()):
    return learn_target("ask", task, table(train, test), {"a": "a", "b": "b"})


def test_labels_stand_in_natural_order():
    assert learn(Classify(target="y"), ["10", "9", "b", "-1", "a", "B"]).facts["labels"] == ["-1", "9", "10", "B", "a", "b"]


@given(st.permutations(["nan", "1", "1.0", "01", "inf", "-inf", "NaN", "2", "x"]))
def test_the_order_of_labels_does_not_depend_on_the_rows(labels):
    assert learn(Classify(target="y"), labels).facts["labels"] == ["01", "1", "1.0", "2", "-inf", "NaN", "inf", "nan", "x"]


@pytest.mark.slow
def test_the_order_of_equal_numbers_is_the_same_in_every_process():
    script = (
        "from pathlib import Path; from triptych.contract.tasks import Classify; from triptych.data.table import Row, Table\n"
        "from triptych.data.targets import learn_target\n"
        "t = Table(['y'], [Row(str(i), {'y': y}) for i, y in enumerate(['1', '1.0', '01', '1e0'])], '', Path(), ['train'] * 4)\n"
        "print(learn_target('a', Classify(target='y'), t, {}).facts['labels'])"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env={"PYTHONHASHSEED": seed}) for seed in "12"]
    assert {run.communicate()[0] for run in runs} == {b"['01', '1', '1.0', '1e0']\n"}


def test_one_class_cannot_be_learnt():
    with pytest.raises(InputError) as caught:
        learn(Classify(target="y"), ["a", "a", None], ["b"])
    assert "all training rows are 'a'" in str(caught.value) and "t.csv, column y" in str(caught.value)


def test_a_label_of_the_test_alone_is_found_and_not_scored():
    target = learn(Classify(target="y"), ["a", "b", None], ["c", "a"])
    assert target.has.tolist() == [True, True, False, False, True]
    assert "c not in the training rows" in target.findings[0]


@pytest.mark.parametrize("task", [Classify(target="y"), MultiLabel(target="y"), Regress(target="y")])
def test_no_training_row_has_the_target(task):
    with pytest.raises(InputError, match="no training row has a 'y'"):
        learn(task, [None, None], ["1"])


@pytest.mark.parametrize("task", [Classify(target="z"), Regress(target="z"), Contrast(between=["a", "b"], positives="z")])
def test_a_missing_column_is_named_with_the_task(task):
    with pytest.raises(InputError, match="no column 'z', which task ask asks for"):
        learn(task, ["1", "2"])


def test_multilabel_with_empty_cells():
    target = learn(MultiLabel(target="y"), ["b| a ", None, "a|", "10|9"], ["z|a"])
    assert target.facts["labels"] == ["9", "10", "a", "b"]
    assert target.values.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]]
    assert bool(target.has.all()) and "labels z are not in the training rows" in target.findings[0]


def test_multilabel_with_the_wrong_separator_or_nothing_between():
    assert learn(MultiLabel(target="y", separator=";"), ["a;b", "b"]).facts["labels"] == ["a", "b"]
    with pytest.raises(InputError, match="check separator"):
        learn(MultiLabel(target="y"), ["|", " | "])


def test_regress_learns_from_training_rows_alone_and_says_what_is_no_number():
    target = learn(Regress(target="y"), ["1", "3", "soon", None, "nan", "inf", "1e300"], ["1000"])
    assert target.facts == {"mean": 2.0, "std": pytest.approx(2**0.5)}
    assert target.has.tolist() == [True, True, False, False, False, False, False, True]
    assert bool(target.values.isfinite().all()) and "4 cells hold no number below 1e+30 (" in target.findings[0]
    assert "2: soon" in target.findings[0] and "4: nan" in target.findings[0]  # the rows can be found


def test_large_numbers_keep_their_mean_and_spread():
    facts = learn(Regress(target="y"), ["1700000000", "1700000001", "1700000002"]).facts
    assert facts == {"mean": 1700000001.0, "std": 1.0}
    for scale, offset in ((1e-7, 0.0), (1.0, 1.7e9), (1.0, 2e7), (1e28, 0.0), (1e-40, 0.0)):
        target = learn(Regress(target="y"), [repr(offset + n * scale) for n in range(5)])
        assert len(set(target.values.tolist())) == 5 and float(target.values.abs().max()) < 2


def test_decimal_commas_are_named():
    with pytest.raises(InputError, match="5 cells are no numbers: '0,5'") as caught:
        learn(Regress(target="y"), [f"{n},5" for n in range(5)])
    assert "0.5 and not 0,5" in str(caught.value)


@pytest.mark.parametrize("cells", [["5", "5"], ["5", "x"], ["x", "y"]])
def test_regress_without_two_numbers(cells):
    with pytest.raises(InputError, match="no two different numbers"):
        learn(Regress(target="y"), cells)


def test_positives_group_equal_cells_and_leave_empty_ones_alone():
    task = Contrast(between=["a", "b"], positives="y")
    groups = learn(task, ["x", "y", "x", None, None, "row:3"]).values.tolist()
    assert groups[0] == groups[2] and len(set(groups)) == 5
    alone = learn(Contrast(between=["a", "b"]), ["x", "x"])
    assert alone.values.tolist() == [0, 1] and bool(alone.has.all())


def test_rows_that_share_a_value_belong_together():
    """Five captions of one picture are all right answers to it."""
    cells = [("p1", "c1"), ("p1", "c2"), ("p2", "c3"), ("p2", "c2"), ("p3", "c4"), (None, "c4"), ("p4", None)]
    rows = [Row(str(i), {k: v for k, v in zip("ab", pair, strict=True) if v}) for i, pair in enumerate(cells)]
    held = Table(["a", "b"], rows, "t.csv", Path(), splits=["train"] * len(rows))
    groups = learn_target("ask", Contrast(between=["a", "b"]), held, {"a": "a", "b": "b"}).values.tolist()
    assert groups[0] == groups[1] == groups[2] == groups[3] and groups[4] == groups[5] and len(set(groups)) == 3


def test_inputs_that_no_row_has_together_cannot_be_brought_together():
    rows = [Row("1", {"a": "x"}), Row("2", {"b": "y"}), Row("3", {"a": "x", "b": "y"})]
    held = Table(["a", "b"], rows, "t.csv", Path(), splits=["train"] * 3)
    with pytest.raises(InputError, match="1 training rows have two of a, b"):
        learn_target("ask", Contrast(between=["a", "b"]), held, {"a": "a", "b": "b"})


def test_pick_takes_rows_in_order():
    targets = {"c": learn(Classify(target="y"), ["a", "b", None]), "m": learn(MultiLabel(target="y"), ["a", "b", None])}
    values, has = pick(targets, [2, 0])
    assert values["c"].tolist() == [-1, 0] and has["c"].tolist() == [False, True] and values["m"].shape == (2, 2)
    assert values["c"].dtype == torch.long
