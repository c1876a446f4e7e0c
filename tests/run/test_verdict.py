"""Baselines and verdicts: what a figure is worth."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from sklearn import metrics

from triptych.contract.tasks import Classify, Contrast, Generate, MultiLabel, Regress
from triptych.modalities.text.score import scores
from triptych.objective.retrieval import chance_scores, retrieval_scores
from triptych.run.baselines import Features, _of_head
from triptych.run.bench import groups_of
from triptych.run.measure import Measured
from triptych.run.verdict import in_words, statistics, verdict
from triptych.run.writing import Written


def seen(task, answers, truth, has=None, embeddings=None):
    has = torch.ones(len(truth), dtype=torch.bool) if has is None else has
    present = {column: torch.ones(len(truth), dtype=torch.bool) for column in embeddings or ()}
    return Measured([str(n) for n in range(len(truth))], [], {"t": answers}, {"t": truth}, {"t": has}, {"t": embeddings or {}}, present)


def written(task, said, expected):
    """Of six rows the first `len(said)` were answered in writing; of all it is known how the right pieces were taken."""
    answers = torch.tensor([[1.0, 2, 3, 3]] * 6)
    held = Written(list(range(len(said))), said, expected, modality="text")
    return replace(seen(task, answers, torch.zeros(6)), written={"t": held} if said else {})


def test_what_was_written_stands_for_the_task_and_is_sure_as_far_as_it_goes():
    task = Generate(target="x", template="{y}", scores=["exact", "wer"])
    expected = ["a cat", "a dog", "two dogs", "no"]
    before, after = written(task, ["bird", "", "dogs", "no"], expected), written(task, expected, expected)
    told = verdict("t", task, before, after, {"usual answer": {"exact": 0.25, "wer": 0.7}}, None)
    assert (told["metric"], told["direction"], told["untouched"]["value"], told["trained"]["value"]) == ("exact", "higher", 0.25, 1.0)
    assert told["beaten"] == ["usual answer"]
    assert "t.exact" in in_words("t", told)[0]
    errors = verdict("t", task.model_copy(update={"scores": ["wer"]}), before, after, {"usual answer": {"wer": 0.7}}, None)
    assert (errors["metric"], errors["direction"], errors["trained"]["value"]) == ("wer", "lower", 0.0)
    assert errors["untouched"]["value"] == pytest.approx(scores(["wer"], before.written["t"].said, [[one] for one in expected])["wer"])
    nothing = verdict("t", task, written(task, [], []), after, {}, None)  # one of both was not written: what needs no writing
    assert (nothing["metric"], nothing["trained"]["value"]) == ("accuracy", 0.5)


def test_the_headline_is_what_was_measured():
    torch.manual_seed(0)
    truth, answers, has = torch.arange(50) % 3, torch.rand(50, 3), torch.rand(50) < 0.8
    judged = truth[has], answers[has]
    task = Classify(target="x")
    assert statistics("t", task, seen(task, answers, truth, has)).value == pytest.approx(
        float((judged[1].argmax(1) == judged[0]).double().mean())
    )
    many, task = (torch.rand(50, 3) < 0.4).float(), MultiLabel(target="x")
    wanted = metrics.f1_score(many[has].numpy(), (answers[has] > 0.5).numpy(), average="macro")
    assert statistics("t", task, seen(task, answers, many, has)).value == pytest.approx(wanted)
    number, task = torch.randn(50).masked_fill(~has, torch.nan), Regress(target="x")
    wanted = metrics.r2_score(number[has], answers[has, 0])
    assert statistics("t", task, seen(task, answers[:, 0], number, has)).value == pytest.approx(wanted, abs=1e-5)
    spaces, task = {"a": torch.randn(50, 4), "b": torch.randn(50, 4)}, Contrast(between=["a", "b"])
    both = [retrieval_scores(spaces[a], spaces[b], truth, truth)["recall@1"] for a, b in (("a", "b"), ("b", "a"))]
    assert statistics("t", task, seen(task, None, truth, embeddings=spaces)).value == pytest.approx(sum(both) / 2)


def test_nothing_measured_is_no_verdict():
    task, nobody = Classify(target="x"), torch.zeros(5, dtype=torch.bool)
    measured = seen(task, torch.rand(5, 2), torch.zeros(5, dtype=torch.long), nobody)
    assert verdict("t", task, measured, measured, {}, None) is None


def test_a_change_that_could_be_chance_is_not_called_better():
    torch.manual_seed(0)
    task, truth = Classify(target="x"), torch.arange(60) % 2
    sides = torch.nn.functional.one_hot(truth, 2).double()
    luck = torch.where(torch.rand(60, 1) < 0.6, sides, 1 - sides)
    a_bit = torch.where(torch.arange(60)[:, None] < 2, sides, luck)
    told = verdict("t", task, seen(task, luck, truth), seen(task, a_bit, truth), {"majority": {"accuracy": 0.5}}, None)
    assert told["verdict"] == "not told apart" and "could be chance" in in_words("t", told)[0]
    told = verdict("t", task, seen(task, luck, truth), seen(task, sides, truth), {"nearest rows": {"accuracy": 0.99}}, None)
    assert told["verdict"] == "better" and told["p_value"] < 0.001 and told["beaten"] == []
    assert "not surely above nearest rows" in in_words("t", told)[-1]
    assert json.loads(json.dumps(told)) == told
    assert "above a, b and c:" in in_words("t", {**told, "baselines": {name: {"accuracy": 0.99} for name in "abc"}})[-1]
    told = verdict("t", task, seen(task, sides, truth), seen(task, luck, truth), {}, None)
    assert told["verdict"] == "worse" and len(in_words("t", told)) == 1


def test_the_simple_models_learn_what_is_there_and_no_more():
    torch.manual_seed(0)
    truth = torch.arange(120) % 3
    rows = torch.nn.functional.one_hot(truth, 3).float() * 4 + torch.randn(120, 3)
    there = torch.ones(120, dtype=torch.bool)
    halves = [Features(rows[part], {"t": truth[part]}, {"t": there[part]}) for part in (slice(0, 60), slice(60, None))]
    found = _of_head("t", Classify(target="x"), *halves, {"labels": ["a", "b", "c", "never"]})
    assert found["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert min(found["nearest rows"]["accuracy"], found["logistic regression"]["accuracy"]) > 0.9
    number = [Features(half.rows_ND, {"t": half.rows_ND[:, 0] * 2}, half.has_truth) for half in halves]
    found = _of_head("t", Regress(target="x"), *number, {"mean": 0.0, "std": 1.0})
    assert found["ridge regression"]["r2"] > 0.99 > found["nearest rows"]["r2"] and found["mean"]["r2"] < 0.01
    labels = [Features(half.rows_ND, {"t": (half.rows_ND > 2).float()}, half.has_truth) for half in halves]
    found = _of_head("t", MultiLabel(target="x"), *labels, {"labels": ["a", "b", "c"]})
    assert found["logistic regression"]["macro_f1"] > 0.9 > found["majority"]["macro_f1"]


@pytest.mark.parametrize("case", ["one row", "one class", "no features", "not a number"])
def test_the_simple_models_do_with_what_there_is(case):
    truth, rows = torch.tensor([0, 1, 0, 1]), torch.randn(4, 2)
    if case == "one class":
        truth = torch.zeros(4, dtype=torch.long)
    rows = {"no features": torch.zeros(4, 2), "not a number": torch.full((4, 2), torch.nan)}.get(case, rows)
    count = 1 if case == "one row" else 4
    train = Features(rows[:count], {"t": truth[:count]}, {"t": torch.ones(count, dtype=torch.bool)})
    judged = Features(rows, {"t": truth}, {"t": torch.ones(4, dtype=torch.bool)})
    found = _of_head("t", Classify(target="x"), train, judged, {"labels": ["a", "b"]})
    assert "majority" in found and all(0 <= told["accuracy"] <= 1 for told in found.values())


def test_chance_is_the_mean_of_random_orders():
    torch.manual_seed(0)
    ask, there = torch.arange(30) % 9, torch.arange(40) % 12
    drawn = [retrieval_scores(torch.randn(30, 8), torch.randn(40, 8), ask, there) for _ in range(300)]
    for metric, value in chance_scores(ask, there).items():
        assert value == pytest.approx(sum(one[metric] for one in drawn) / 300, rel=0.12), metric
    few = chance_scores(torch.arange(3), torch.arange(3))
    assert few["recall@1"] == pytest.approx(1 / 3) and few["recall@10"] == 1.0
    assert all(value != value for value in chance_scores(torch.tensor([7]), torch.arange(3)).values())


def test_groups_are_numbered_and_rows_without_one_stand_alone():
    assert groups_of(["a", None, "a", "b", None]).tolist() == [0, 1, 0, 2, 3]


def test_parts_are_judged_too(tiny_run):
    """Each mixture and direction has a change with an interval, whose middle is the difference of the two scores."""
    verdicts, scores = tiny_run.folder.read("verdicts.json"), tiny_run.scores
    for name, told in verdicts.items():
        apart = {s["of"]: s for s in scores if s["task"] == name and s["metric"] == told["metric"] and s["of"]}
        assert set(told["parts"]) == set(apart)
        for of, part in told["parts"].items():
            change = part["change"]
            assert change["value"] == pytest.approx(apart[of]["trained"] - apart[of]["untouched"], abs=1e-6)
            assert change["low"] <= change["value"] + 1e-9 and change["value"] <= change["high"] + 1e-9
            assert (part["verdict"] == "not told apart") == (change["low"] <= 0 <= change["high"])
