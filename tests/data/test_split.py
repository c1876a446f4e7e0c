from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.data.settings import SplitSettings
from triptych.data.split import divide
from triptych.data.table import Row, Table

SIDES = ("train", "validation", "test")


def table(rows: list[dict], ids: list[str] | None = None) -> Table:
    columns = sorted({name for row in rows for name in row})
    return Table(columns, [Row(ids[i] if ids else f"r{i}", cells) for i, cells in enumerate(rows)], "t.csv", Path())


def sides(found: Table) -> dict[str, str]:
    return {row.id: side for row, side in zip(found.rows, found.splits, strict=True)}


def counts(found: Table) -> tuple[int, ...]:
    return tuple(found.splits.count(side) for side in SIDES)


SCRIPT = """
from pathlib import Path
from triptych.data.settings import SplitSettings
from triptych.data.split import divide
from triptych.data.table import Row, Table
rows = [Row(f"r{i}", {"label": "ab"[i % 2]}) for i in range(60)]
print(",".join(divide(Table(["label"], rows, "t.csv", Path()), SplitSettings(), "label").splits))
"""


def test_another_process_deals_the_same():
    here = divide(table([{"label": "ab"[i % 2]} for i in range(60)]), SplitSettings(), "label").splits
    there = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert there.stdout.strip() == ",".join(here)


@settings(deadline=None)
@given(st.permutations(range(25)), st.booleans())
def test_the_order_of_rows_does_not_matter(order, grouped):
    words = SplitSettings(group="g" if grouped else None)
    rows = [{"g": f"g{i % 9}", "label": "abc"[i % 3]} for i in range(25)]
    usual = sides(divide(table(rows), words, "label"))
    assert sides(divide(table([rows[i] for i in order], [f"r{i}" for i in order]), words, "label")) == usual


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", None]), min_size=1, max_size=60),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
    st.integers(0, 5),
)
def test_a_group_is_on_one_side_and_training_has_rows(groups, validation, test, seed):
    rows = [{"g": g, "label": "x"} if g else {"label": "x"} for g in groups]
    rows[0]["g"] = "a"
    found = divide(table(rows), SplitSettings(group="g", validation=validation, test=test, seed=seed), "label")
    for value in {row.get("g") for row in rows} - {None}:
        assert len({side for row, side in zip(rows, found.splits, strict=True) if row.get("g") == value}) == 1
    assert "train" in found.splits and len(found.splits) == len(rows)
    assert not found.findings


@settings(deadline=None)
@given(st.integers(40, 400), st.sampled_from([(0.15, 0.2), (0.1, 0.1), (0.0, 0.5), (0.3, 0.0)]), st.integers(1, 30), st.integers(0, 9))
def test_shares_are_as_asked_whatever_the_classes(rows, shares, classes, seed):
    found = divide(
        table([{"label": f"c{i % classes}"} for i in range(rows)]), SplitSettings(validation=shares[0], test=shares[1], seed=seed), "label"
    )
    _, validation, test = counts(found)
    assert (validation, test) == (round(shares[0] * rows), round(shares[1] * rows))


def test_every_class_has_its_share_on_every_side():
    rows = [{"label": label} for label, many in (("a", 100), ("b", 40), ("c", 20)) for _ in range(many)]
    found = divide(table(rows), SplitSettings(), "label")
    for label, many in (("a", 100), ("b", 40), ("c", 20)):
        has = Counter(side for row, side in zip(rows, found.splits, strict=True) if row["label"] == label)
        assert abs(has["test"] - 0.2 * many) <= 1 and abs(has["validation"] - 0.15 * many) <= 1


def test_classes_of_two_rows_still_leave_rows_to_test():
    """Rounding a share class by class would give no class a single test row."""
    rows = [{"label": f"c{i // 2}"} for i in range(100)]
    assert counts(divide(table(rows), SplitSettings(), "label")) == (65, 15, 20)


def test_the_only_row_of_a_class_is_learnt_from():
    rows = [{"label": "a"}] * 20 + [{"label": "once"}]
    assert divide(table(rows), SplitSettings(), "label").splits[20] == "train"


def test_groups_of_different_size_share_the_rows_not_the_names():
    rows = [{"g": "huge"}] * 60 + [{"g": f"g{i}"} for i in range(40)]
    train, validation, test = counts(divide(table(rows), SplitSettings(group="g"), None))
    assert (validation, test) == (15, 20) and train == 65


@pytest.mark.parametrize("rows", range(1, 11))
def test_tiny_tables(rows):
    train, validation, test = counts(divide(table([{"label": "ab"[i % 2]} for i in range(rows)]), SplitSettings(), "label"))
    assert train >= max(1, rows // 2) and train + validation + test == rows
    assert test >= (rows >= 3) and validation >= (rows >= 5)


def test_another_seed_is_another_split():
    rows = table([{"label": "a"}] * 50)
    assert divide(rows, SplitSettings(seed=0), None).splits != divide(rows, SplitSettings(seed=1), None).splits


def test_the_users_column_counts_whatever_its_case_and_words():
    words = ["Train", "training", "VAL", "dev", "valid", "Test"]
    found = divide(table([{"side": word} for word in words]), SplitSettings(column="side"), None)
    assert found.splits == ["train", "train", "validation", "validation", "validation", "test"]


def test_validation_is_taken_from_train_where_there_is_none():
    rows = [{"side": "train", "label": "ab"[i % 2]} for i in range(40)] + [{"side": "test", "label": "a"}] * 10
    found = divide(table(rows), SplitSettings(column="side"), "label")
    assert counts(found) == (34, 6, 10) and found.splits[40:] == ["test"] * 10
    assert counts(divide(table(rows), SplitSettings(column="side", validation=0), "label")) == (40, 0, 10)


def test_a_strange_side_is_named_with_the_nearest():
    with pytest.raises(InputError) as caught:
        divide(table([{"side": "train"}, {"side": "trian"}]), SplitSettings(column="side"), None)
    assert "the split of r1 is 'trian'" in str(caught.value) and "did you mean 'train'" in str(caught.value)
    with pytest.raises(InputError, match="the split of r1 is empty"):
        divide(table([{"side": "train"}, {"label": "x"}]), SplitSettings(column="side"), None)


def test_test_where():
    rows = [{"speaker": name, "take": str(i)} for i, name in enumerate(["anna", "bert", "anna", "no", "bert", "carl"] * 5)]
    found = divide(table(rows), SplitSettings(test_where={"speaker": ["anna", "no"]}), None)
    assert all((side == "test") == (row["speaker"] in ("anna", "no")) for row, side in zip(rows, found.splits, strict=True))
    assert counts(found)[1] > 0
    assert divide(table(rows), SplitSettings(test_where={"take": [7]}), None).splits.count("test") == 1
    with pytest.raises(InputError) as caught:
        divide(table(rows), SplitSettings(test_where={"speaker": ["nobody"]}), None)
    assert "no row fits" in str(caught.value) and "anna, bert, carl" in str(caught.value)


@pytest.mark.parametrize(("cell", "value"), [("7", 7), ("07", 7), ("7", 7.0), ("7.50", 7.5), ("TRUE", True), ("no", "no"), ("1e3", "1e3")])
def test_a_cell_and_the_recipes_value_mean_the_same(cell, value):
    rows = [{"a": cell}, {"a": "other"}, {}, {"a": "8"}]
    assert divide(table(rows), SplitSettings(test_where={"a": [value]}, validation=0), None).splits == ["test", "train", "train", "train"]


def test_nothing_left_to_train_on():
    with pytest.raises(InputError, match="no row is left to train on"):
        divide(table([{"side": "test"}] * 3), SplitSettings(column="side"), None)


@pytest.mark.parametrize("words", [{"column": "nope"}, {"group": "nope"}, {"test_where": {"nope": ["x"]}}])
def test_a_missing_column_is_named(words):
    with pytest.raises(InputError, match=r"no column 'nope', which data.split asks for"):
        divide(table([{"label": "a"}]), SplitSettings(**words), None)


def test_an_id_of_half_a_character_is_dealt():
    assert divide(table([{"label": "a"}], ["\ud83d"]), SplitSettings(), None).splits == ["train"]
