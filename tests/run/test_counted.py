"""The counts that `check` prints of each side."""

from __future__ import annotations

import pytest

from triptych.contract.tasks import Classify
from triptych.data.rows import Listed, Row
from triptych.data.table import Table
from triptych.run.inspect import _counted


@pytest.mark.parametrize(("labels", "said"), [("abb", "1 a, 2 b"), ("700", "0 (2), 7 (1)"), ("", "-")])
def test_classes_that_are_numbers_are_told_from_their_counts(labels, said):
    rows = [Row(f"r{n}", {"label": label}) for n, label in enumerate(labels)]
    table = Table(["label"], Listed(rows), "t", None, splits=["train"] * len(rows))
    assert _counted(table, Classify(kind="classify", target="label"), "train") == said
