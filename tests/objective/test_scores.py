"""Scores against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from triptych.objective import scores


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 60))
def test_classify_scores_are_sklearns(seed, classes, rows):
    draw = np.random.default_rng(seed)
    truth, answers = draw.integers(0, classes, rows), draw.random((rows, classes))
    found = scores.classify_scores(torch.tensor(answers), torch.tensor(truth))
    guess = answers.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro"), abs=1e-6)
    matrix = scores.confusion(torch.tensor(answers), torch.tensor(truth))
    assert matrix == metrics.confusion_matrix(truth, guess, labels=range(classes)).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 40))
def test_multilabel_scores_are_sklearns(seed, labels, rows):
    draw = np.random.default_rng(seed)
    truth, answers = draw.integers(0, 2, (rows, labels)), draw.random((rows, labels))
    found = scores.multilabel_scores(torch.tensor(answers), torch.tensor(truth).float(), 0.4)
    guess = (answers > 0.4).astype(int)
    for average in ("macro", "micro"):
        wanted = metrics.f1_score(truth, guess, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(wanted, abs=1e-6)
    assert found["exact"] == pytest.approx(metrics.accuracy_score(truth, guess))


def test_regress_scores_are_sklearns():
    truth, guess = torch.randn(30), torch.randn(30)
    found = scores.regress_scores(guess, truth, 1.0)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guess), abs=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess), abs=1e-5)


def test_regress_scores_of_one_target_are_no_number_and_an_error_has_its_unit():
    found = scores.regress_scores(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]), 20.0)
    assert found["r2"] != found["r2"] and found["mae"] == pytest.approx(10.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 40), st.integers(1, 8))
def test_recall_is_what_sorting_by_hand_gives(seed, queries, answers, groups):
    draw = np.random.default_rng(seed)
    q, a = draw.normal(size=(queries, 4)), draw.normal(size=(answers, 4))
    gq, ga = draw.integers(0, groups, queries), draw.integers(0, groups, answers)
    found = scores.recalls(*(torch.tensor(x) for x in (q, a, gq, ga)))
    has = [i for i in range(queries) if gq[i] in ga]
    for k in (1, 5, 10):
        hits = [gq[i] in ga[np.argsort(-(q[i] @ a.T))[:k]] for i in has]
        wanted = np.mean(hits) if has else math.nan
        assert found[f"recall@{k}"] == pytest.approx(wanted, nan_ok=True)


def test_a_collapsed_space_scores_nothing():
    """If all embeddings are equal, every answer ties; a lucky order must not look like learning."""
    same = torch.ones(20, 4)
    found = scores.recalls(same, same, torch.arange(20), torch.arange(20))
    assert found["recall@1"] == 0.0


def test_recall_over_more_queries_than_are_held_at_once(monkeypatch):
    q, a, g = torch.randn(50, 4), torch.randn(30, 4), torch.arange(50) % 7
    whole = scores.recalls(q, a, g, g[:30])
    monkeypatch.setattr(scores, "CHUNK", 8)
    assert scores.recalls(q, a, g, g[:30]) == whole


def test_better_knows_direction_and_refuses_what_is_not_a_number():
    assert scores.better("higher", 0.6, 0.5)
    assert not scores.better("higher", 0.5, 0.5)
    assert scores.better("lower", 0.4, 0.5)
    assert not scores.better("lower", math.nan, 0.5)
    assert scores.better("higher", 0.1, math.nan)
