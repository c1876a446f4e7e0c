"""Intervals against scipy's bootstrap, scikit-learn's scores and tests that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap
from sklearn import metrics

from triptych.objective import intervals
from triptych.objective.intervals import difference, interval, macro_f1_of, mcnemar, mean_of, r2_of


def draw(rows=300, seed=0):
    made = np.random.default_rng(seed)
    return made.random(rows) < 0.6, made.random(rows) < 0.7


def test_an_interval_is_scipys():
    right, _ = draw()
    found = interval(mean_of(torch.tensor(right)))
    theirs = bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert found.value == pytest.approx(right.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_a_difference_is_scipys_paired_one_and_tighter_than_two_apart():
    before, _ = draw()
    after = before | (np.random.default_rng(5).random(300) < 0.1)
    found = difference(mean_of(torch.tensor(before)), mean_of(torch.tensor(after)))
    theirs = bootstrap((after, before), lambda a, b: a.mean() - b.mean(), paired=True, vectorized=False, method="percentile", rng=1)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.012)
    apart = interval(mean_of(torch.tensor(after)))
    assert found.low > 0 and found.high - found.low < apart.high - apart.low


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 60))
def test_values_are_sklearns(seed, classes, rows):
    made = np.random.default_rng(seed)
    truth, given_ = made.integers(0, classes, rows), made.integers(0, classes, rows)
    one_hot = [torch.tensor(np.eye(classes, dtype=bool)[labels]) for labels in (truth, given_)]
    assert macro_f1_of(*one_hot).value == pytest.approx(metrics.f1_score(truth, given_, average="macro"))
    numbers, guess = 1e6 + made.normal(size=rows), 1e6 + made.normal(size=rows)
    assert r2_of(torch.tensor(guess), torch.tensor(numbers)).value == pytest.approx(metrics.r2_score(numbers, guess), abs=1e-6)


def test_the_same_seed_gives_the_same_interval_whatever_is_held_at_once(monkeypatch):
    statistics = mean_of(torch.tensor(draw()[0]))
    found = interval(statistics, seed=3)
    assert interval(statistics, seed=3) == found != interval(statistics, seed=4)
    monkeypatch.setattr(intervals, "AT_ONCE", 300 * 7)
    assert interval(statistics, seed=3) == found


def test_rows_of_one_group_are_drawn_together():
    """Ten speakers of thirty clips each, all right or all wrong: there are ten things seen, not three hundred."""
    right = torch.arange(300) % 10 < 6
    alone, together = interval(mean_of(right)), interval(mean_of(right), torch.arange(300) % 10)
    assert together.high - together.low > 4 * (alone.high - alone.low)


def test_one_group_alone_is_not_certain():
    """All test rows of one speaker: drawn as one thing, the score would be the same in each draw, and its interval a point."""
    right, after = torch.arange(300) % 10 < 6, torch.arange(300) % 11 < 7
    one = torch.zeros(300)
    assert interval(mean_of(right), one) == interval(mean_of(right))
    assert difference(mean_of(right), mean_of(after), one) == difference(mean_of(right), mean_of(after))


def test_a_score_that_most_resamples_lack_has_still_an_interval():
    found = interval(r2_of(torch.zeros(1), torch.ones(1)))
    assert found.value != found.value and found.low != found.low


def test_mcnemar_counts_the_rows_that_changed():
    before, after = torch.tensor([True] * 10 + [False] * 20), torch.tensor([False] * 3 + [True] * 7 + [True] * 15 + [False] * 5)
    assert mcnemar(before, after) == pytest.approx(binomtest(15, 18, 0.5).pvalue)
    assert mcnemar(before, before) == 1.0
    for gained, lost in ((0, 1), (7, 7), (2, 9), (400, 460), (900, 1000)):
        before, after = torch.tensor([False] * gained + [True] * lost), torch.tensor([True] * gained + [False] * lost)
        assert mcnemar(before, after) == pytest.approx(binomtest(gained, gained + lost, 0.5).pvalue, rel=1e-9)


def test_all_right_is_not_certain():
    found = interval(mean_of(torch.ones(40)))
    told = binomtest(40, 40).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((1.0, told.low, told.high)) and found.low < 0.95
    assert interval(mean_of(torch.ones(40)), torch.arange(40) % 4).low < found.low  # four speakers say less than forty
