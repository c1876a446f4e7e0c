"""Thresholds against scikit-learn: the rows that a chosen threshold gives are those of its precision-recall curve's best place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve, precision_score, recall_score

from triptych.objective.thresholds import FALLBACK, chosen

shares = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
labelled = st.lists(st.tuples(st.booleans(), shares), min_size=2, max_size=60).filter(
    lambda rows: 0 < sum(has for has, _ in rows) < len(rows)
)


def split(rows):
    return np.array([has for has, _ in rows]), np.array([share for _, share in rows], np.float64)


@given(labelled)
def test_f1_is_the_best_of_scikit_learns_curve_and_gives_its_rows(rows):
    truth, shares = split(rows)
    found = chosen("a", truth, shares, "f1")
    precision, recall, at = precision_recall_curve(truth, shares)
    f1 = 2 * precision * recall / np.where(precision + recall > 0, precision + recall, 1)
    best = int(np.argmax(f1[:-1]))
    given_ = shares > found.at
    assert found.at < at[best] or at[best] == 0
    if at[best] > 0:
        assert (given_ == (shares >= at[best])).all()
        assert f1_score(truth, given_) == pytest.approx(f1[:-1].max())
        assert (found.precision, found.recall) == pytest.approx((precision_score(truth, given_), recall_score(truth, given_)))


@given(labelled, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.sampled_from(["precision", "recall"]))
def test_a_precision_that_can_be_reached_costs_no_more_recall_than_it_must_and_the_reverse(rows, least, wanted):
    truth, shares = split(rows)
    found = chosen("a", truth, shares, {wanted: least})
    precision, recall, _ = (part[:-1] if len(part) else part for part in precision_recall_curve(truth, shares))
    this, other = (precision, recall) if wanted == "precision" else (recall, precision)
    got, cost = (found.precision, found.recall) if wanted == "precision" else (found.recall, found.precision)
    if (this >= least).any():
        assert got >= least and cost == other[this >= least].max()
        assert "no threshold" not in found.note
    else:
        assert wanted == "precision" and got == this.max() and f"no threshold reaches a precision of {least:g}" in found.note


def test_it_lies_between_the_least_that_counts_and_the_next():
    found = chosen("a", np.array([True] * 12 + [False] * 12), np.array([0.4] * 12 + [0.2] * 12), "f1")
    assert found.at == pytest.approx(0.3) and found.rows == 12 and found.note == ""


@pytest.mark.parametrize(("truth", "why"), [([False] * 4, "no validation row has it"), ([True] * 4, "every validation row has it")])
def test_a_label_that_says_nothing_stays_and_says_so(truth, why):
    found = chosen("a", np.array(truth), np.array([0.1, 0.2, 0.3, 0.9]), "f1")
    assert found.at == FALLBACK and why in found.note and found.precision is None


def test_few_rows_are_told():
    found = chosen("a", np.array([True] * 3 + [False] * 40), np.linspace(1, 0, 43), "f1")
    assert "chosen on few rows: 3 validation rows have it" in found.note
