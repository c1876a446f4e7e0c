"""The counts that `check` prints of each side."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triptych.contract.tasks import Classify, Regress
from triptych.data.rows import Listed, Row
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.run.inspect import _counted, _unanswered


@pytest.mark.parametrize(("labels", "said"), [("abb", "1 a, 2 b"), ("700", "0 (2), 7 (1)"), ("", "-")])
def test_classes_that_are_numbers_are_told_from_their_counts(labels, said):
    rows = [Row(f"r{n}", {"label": label}) for n, label in enumerate(labels)]
    table = Table(["label"], Listed(rows), "t", None, splits=["train"] * len(rows))
    assert _counted(table, Classify(kind="classify", target="label"), "train", torch.ones(len(rows))) == said


def test_an_answer_that_is_cut_or_missing_is_no_answer():
    """Of a number that is none, and of a written answer too long to be asked, the row does not count; an empty one is told."""
    rows = [Row(f"r{n}", {"text": "what", "n": cell}) for n, cell in enumerate(("1", "2", "many", None))]
    table = Table(["text", "n"], Listed(rows), "t", None, splits=["train"] * 4)
    has = torch.tensor([True, True, False, False])
    assert _counted(table, Regress(kind="regress", target="n"), "train", has) == "2 rows, 1 to 2"
    recipe = SimpleNamespace(tasks={"size": Regress(kind="regress", target="n")})
    (finding,) = _unanswered(recipe, table, {"size": Target(torch.zeros(4), has, {})})
    assert (finding.rows, finding.examples) == (1, ("r3",)) and "no task has an answer" in finding.text
