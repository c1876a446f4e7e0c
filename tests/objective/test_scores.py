"""Scores against scikit-learn, torchmetrics and by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_auroc, multiclass_calibration_error, multiclass_f1_score
from torchmetrics.functional.regression import mean_absolute_error, r2_score
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate, retrieval_reciprocal_rank

from triptych.contract.tasks import METRICS
from triptych.objective import classes, numbers, retrieval, scores


def mean(values):
    return np.mean(values) if len(values) else math.nan


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8), st.integers(1, 60))
def test_classify_scores_are_sklearns(seed, count, rows):
    draw = np.random.default_rng(seed)
    truth, answers = draw.integers(0, count, rows), draw.dirichlet(np.ones(count), rows)
    found = classes.classify_scores(torch.tensor(answers), torch.tensor(truth))
    guess = answers.argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro"), abs=1e-6)
    assert found["weighted_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="weighted"), abs=1e-6)
    aucs = [metrics.roc_auc_score(truth == c, answers[:, c]) for c in range(count) if 0 < (truth == c).sum() < rows]
    assert found["roc_auc"] == pytest.approx(mean(aucs), abs=1e-6, nan_ok=True)
    assert ("top5" in found) == (count > 5)
    if count > 5:
        assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(truth, answers, k=5, labels=range(count)))
    matrix = classes.confusion(torch.tensor(answers), torch.tensor(truth))
    assert matrix == metrics.confusion_matrix(truth, guess, labels=range(count)).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 12), st.integers(1, 60))
def test_classify_scores_are_torchmetrics(seed, count, rows):
    """Also where classes are absent, or all rows are of one."""
    draw = np.random.default_rng(seed)
    truth, answers = torch.tensor(draw.integers(0, draw.integers(1, count + 1), rows)), torch.tensor(draw.dirichlet(np.ones(count), rows))
    found = classes.classify_scores(answers, truth)
    assert found["accuracy"] == pytest.approx(float(multiclass_accuracy(answers, truth, count, average="micro")))
    assert found["top5"] == pytest.approx(float(multiclass_accuracy(answers, truth, count, top_k=5, average="micro")))
    assert found["weighted_f1"] == pytest.approx(float(multiclass_f1_score(answers, truth, count, average="weighted")), abs=1e-6)
    there = [c for c in range(count) if 0 < int((truth == c).sum()) < rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs warns of absent classes; ours says so before training
        each = multiclass_auroc(answers, truth, count, average=None)
    assert found["roc_auc"] == pytest.approx(mean([float(each[c]) for c in there]), abs=1e-6, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 300))
def test_the_reliability_curve_is_sklearns(seed, count, rows):
    draw = np.random.default_rng(seed)
    truth, answers = draw.integers(0, count, rows), draw.dirichlet(np.ones(count) / 2, rows)
    found = classes.reliability(torch.tensor(answers), torch.tensor(truth))
    right, sure = calibration_curve(answers.argmax(1) == truth, answers.max(1), n_bins=classes.BINS)
    assert [one["accuracy"] for one in found] == pytest.approx(list(right))
    assert [one["confidence"] for one in found] == pytest.approx(list(sure))


def test_a_class_that_validation_lacks_leaves_numbers():
    """scikit-learn's roc_auc_score refuses such rows; here the absent class is left out of the means."""
    answers = torch.softmax(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), 1)
    truth = torch.arange(40) % 3  # the fourth class is never true
    found = classes.classify_scores(answers, truth)
    assert all(math.isfinite(value) for value in found.values())
    with pytest.raises(ValueError, match="Number of classes"):
        metrics.roc_auc_score(truth, answers, multi_class="ovr")
    alone = classes.classify_scores(answers, torch.zeros(40, dtype=torch.long))
    assert math.isnan(alone["roc_auc"]) and all(math.isfinite(value) for name, value in alone.items() if name != "roc_auc")


def test_roc_auc_over_all_classes_is_sklearns_one_against_the_rest():
    draw = np.random.default_rng(0)
    truth, answers = np.arange(90) % 3, draw.dirichlet(np.ones(3), 90)
    wanted = metrics.roc_auc_score(truth, answers, multi_class="ovr", average="macro")
    assert classes.classify_scores(torch.tensor(answers), torch.tensor(truth))["roc_auc"] == pytest.approx(wanted, abs=1e-6)
    wanted = metrics.roc_auc_score(truth[truth < 2], answers[truth < 2, 1] / answers[truth < 2, :2].sum(1))
    two = torch.tensor(answers[truth < 2, :2]) / torch.tensor(answers[truth < 2, :2]).sum(1, keepdim=True)
    assert classes.classify_scores(two, torch.tensor(truth[truth < 2]))["roc_auc"] == pytest.approx(wanted, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 200))
def test_the_calibration_error_is_torchmetrics_and_what_the_reliability_bins_say(seed, count, rows):
    draw = np.random.default_rng(seed)
    truth, answers = torch.tensor(draw.integers(0, count, rows)), torch.tensor(draw.dirichlet(np.ones(count) / 2, rows)).float()
    found = classes.calibration_error(answers, truth)
    assert found == pytest.approx(float(multiclass_calibration_error(answers, truth, count, n_bins=15)), abs=1e-6)
    bins = classes.reliability(answers, truth)
    assert sum(one["rows"] for one in bins) == rows
    assert sum(one["rows"] * abs(one["accuracy"] - one["confidence"]) for one in bins) / rows == pytest.approx(found, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 40))
def test_the_table_of_classes_is_sklearns(seed, count, rows):
    draw = np.random.default_rng(seed)
    truth, given_ = draw.integers(0, 2, (rows, count)).astype(bool), draw.integers(0, 2, (rows, count)).astype(bool)
    found = classes.per_class(torch.tensor(truth), torch.tensor(given_))
    wanted = metrics.precision_recall_fscore_support(truth, given_, average=None, zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1", "rows"), wanted, strict=True):
        told = [math.nan if one[name] is None else one[name] for one in found]
        assert told == pytest.approx(list(values), nan_ok=True), name


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 40))
def test_multilabel_scores_are_sklearns(seed, labels, rows):
    draw = np.random.default_rng(seed)
    truth, answers = draw.integers(0, 2, (rows, labels)), draw.random((rows, labels))
    found = classes.multilabel_scores(torch.tensor(answers), torch.tensor(truth).float(), 0.4)
    guess = (answers > 0.4).astype(int)
    for average in ("macro", "micro"):
        wanted = metrics.f1_score(truth, guess, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(wanted, abs=1e-6)
    assert found["exact"] == pytest.approx(metrics.accuracy_score(truth, guess))
    held = [c for c in range(labels) if truth[:, c].any()]
    wanted = mean([metrics.average_precision_score(truth[:, c], answers[:, c]) for c in held])
    assert found["map"] == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    both = [c for c in held if not truth[:, c].all()]
    assert found["roc_auc"] == pytest.approx(mean([metrics.roc_auc_score(truth[:, c], answers[:, c]) for c in both]), abs=1e-6, nan_ok=True)


def test_regress_scores_are_sklearns():
    truth, guess = torch.randn(30), torch.randn(30)
    found = numbers.regress_scores(guess, truth, 1.0)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, guess), abs=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, guess), abs=1e-5)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, guess), abs=1e-5)
    assert found["r2"] == pytest.approx(float(r2_score(guess, truth)), abs=1e-4)
    assert found["mae"] == pytest.approx(float(mean_absolute_error(guess, truth)), abs=1e-5)


def test_regress_scores_of_one_target_are_no_number_and_an_error_has_its_unit():
    found = numbers.regress_scores(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]), 20.0)
    assert found["r2"] != found["r2"] and found["mae"] == pytest.approx(10.0) and found["rmse"] == pytest.approx(10.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 40), st.integers(1, 8))
def test_retrieval_is_what_sorting_by_hand_gives(seed, queries, answers, groups):
    draw = np.random.default_rng(seed)
    q, a = draw.normal(size=(queries, 4)), draw.normal(size=(answers, 4))
    gq, ga = draw.integers(0, groups, queries), draw.integers(0, groups, answers)
    found = retrieval.retrieval_scores(*(torch.tensor(x) for x in (q, a, gq, ga)))
    sorted_right = [ga[np.argsort(-(q[i] @ a.T))] == gq[i] for i in range(queries) if gq[i] in ga]
    for k in (1, 5, 10):
        assert found[f"recall@{k}"] == pytest.approx(mean([right[:k].any() for right in sorted_right]), nan_ok=True)
    assert found["median_rank"] == pytest.approx(
        np.median([right.argmax() + 1 for right in sorted_right]) if sorted_right else math.nan, nan_ok=True
    )
    precision = [right.cumsum() / np.arange(1, answers + 1) for right in sorted_right]
    by_hand = [(p * r)[:10].sum() / min(10, r.sum()) for p, r in zip(precision, sorted_right, strict=True)]
    assert found["map@10"] == pytest.approx(mean(by_hand), abs=1e-6, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 25), st.integers(1, 6))
def test_retrieval_is_torchmetrics(seed, queries, answers, groups):
    """Hit rate at k, and the mean of each query's average precision where ten are all there are."""
    draw = np.random.default_rng(seed)
    q, a = torch.tensor(draw.normal(size=(queries, 4))), torch.tensor(draw.normal(size=(answers, 4)))
    gq, ga = torch.tensor(draw.integers(0, groups, queries)), torch.tensor(draw.integers(0, groups, answers))
    found = retrieval.retrieval_scores(q, a, gq, ga)
    pairs = [((q[i] @ a.T).exp(), ga == gq[i]) for i in range(queries) if bool((ga == gq[i]).any())]
    for k in (1, 5, 10):
        theirs = [float(retrieval_hit_rate(s, r, top_k=min(k, answers))) for s, r in pairs]
        assert found[f"recall@{k}"] == pytest.approx(mean(theirs), nan_ok=True)
    first = [1 / float(retrieval_reciprocal_rank(s, r)) for s, r in pairs]
    assert found["median_rank"] == pytest.approx(np.median(first) if first else math.nan, nan_ok=True)


def test_map_is_torchmetrics_and_sklearns_where_ten_are_all():
    draw = np.random.default_rng(3)
    q, a, ga = draw.normal(size=(20, 4)), draw.normal(size=(10, 4)), np.arange(10) % 3
    gq = draw.integers(0, 3, 20)
    found = retrieval.retrieval_scores(*(torch.tensor(x) for x in (q, a, gq, ga)))["map@10"]
    pairs = [(torch.tensor(q[i] @ a.T), torch.tensor(ga == gq[i])) for i in range(20)]
    theirs = [retrieval_average_precision(s.exp(), r, top_k=10) for s, r in pairs]  # which takes nothing below zero for an answer
    assert found == pytest.approx(float(torch.stack(theirs).mean()), abs=1e-6)
    assert found == pytest.approx(mean([metrics.average_precision_score(r, s) for s, r in pairs]), abs=1e-6)


@pytest.mark.parametrize("vectors", [torch.ones(20, 4), torch.full((20, 4), torch.nan)], ids=["collapsed", "no numbers"])
def test_a_space_that_tells_nothing_apart_scores_nothing(vectors):
    """If all embeddings are equal, every answer ties; a lucky order must not look like learning."""
    found = retrieval.retrieval_scores(vectors, vectors, torch.arange(20), torch.arange(20))
    assert found["recall@1"] == found["recall@10"] == found["map@10"] == 0.0 and found["median_rank"] == 20


def test_retrieval_over_more_queries_than_are_held_at_once(monkeypatch):
    q, a, g = torch.randn(50, 4), torch.randn(30, 4), torch.arange(50) % 7
    whole = retrieval.retrieval_scores(q, a, g, g[:30])
    monkeypatch.setattr(retrieval, "CHUNK", 8)
    assert retrieval.retrieval_scores(q, a, g, g[:30]) == whole


def test_every_score_says_which_way_is_better():
    answers, truth = torch.rand(30, 7), torch.arange(30) % 7
    made = {
        "classify": classes.classify_scores(answers, truth),
        "multilabel": classes.multilabel_scores(answers, (answers > 0.7).float(), 0.5),
        "regress": numbers.regress_scores(answers[:, 0], answers[:, 1], 1.0),
        "contrast": retrieval.retrieval_scores(answers, answers, truth, truth),
    }
    for kind, values in made.items():
        assert {*values, "loss"} == set(METRICS[kind])
        assert all(score.direction == METRICS[kind][score.metric] for score in scores.as_scores("t", kind, "", values))


def test_better_knows_direction_and_refuses_what_is_not_a_number():
    assert scores.better("higher", 0.6, 0.5)
    assert not scores.better("higher", 0.5, 0.5)
    assert scores.better("lower", 0.4, 0.5)
    assert not scores.better("lower", math.nan, 0.5)
    assert scores.better("higher", 0.1, math.nan)


def test_answers_without_a_fault_score_one_and_not_a_little_more():
    target_B = torch.arange(10).repeat_interleave(torch.tensor([7, 7, 5, 8, 4, 7, 8, 7, 4, 8]))
    found = classes.classify_scores(torch.nn.functional.one_hot(target_B, 10).float(), target_B)
    assert found["macro_f1"] <= 1 and found["weighted_f1"] <= 1
