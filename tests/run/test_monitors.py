"""Each monitor with the fault it looks for, planted, and without it."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from triptych.objective.chance import Bounds
from triptych.run.fit import fit
from triptych.run.measure import Measured
from triptych.run.monitors import (
    AtChance,
    Collapse,
    Moment,
    Monitor,
    Rising,
    Step,
    Temperature,
    all_monitors,
    lower_rate,
    mean_cosine,
    rank_me,
)
from triptych.run.recipe import read
from triptych.use.report import write_report

CHANCE = Bounds(2.3, 0.0)


def steps(losses, scales=None, an_epoch=10, rate=1e-3):
    """A step a loss of the one task `a`."""
    for number, loss in enumerate(losses, start=1):
        now = Moment(number, (number - 1) // an_epoch + 1, 0, number, False, rate)
        yield Step(now, {"a": loss}, {"a": CHANCE}, {"a": 1.0}, {"a": scales[number - 1]} if scales else {})


def told(monitor: Monitor, seen) -> list:
    return [notice for step in seen for notice in monitor.step(step)]


def learning(count=300, low=0.1):
    return [low + (2.3 - low) * math.exp(-n / 40) for n in range(count)]


def test_a_loss_at_chance_is_said_once_with_since_when_and_what_to_try():
    noise = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 0.05
    found = told(AtChance(), steps([2.3 + float(x) for x in noise]))
    assert [notice.monitor for notice in found] == ["at chance"]
    assert found[0].since == 1
    assert found[0].step == AtChance.STEPS
    assert "2.3 is what an answer costs that does not look at its row" in found[0].text
    assert "another rate: --set stages.0.lr=0.01, or a hundredth of that;" in found[0].fix
    (worse,) = told(AtChance(), steps([7.6] * 200, rate=10.0))
    assert "stayed above chance, where it began (7.6; 2.3" in worse.text and "a lower rate: --set stages.0.lr=1;" in worse.fix
    (still,) = told(AtChance(), steps([7.6] * 200, rate=1e-7))
    assert "above chance, where it began (7.6" in still.text and "stages.0.lr=1e-06" in still.fix  # a lower one would be the wrong way
    (rose,) = told(AtChance(), steps([2.3] * 10 + [7.6] * 200, rate=1e-3))
    assert "above chance (7.6" in rose.text and "a lower rate: --set stages.0.lr=0.0001;" in rose.fix
    assert told(AtChance(), steps([2.4] * 50)) == []  # too early
    assert told(AtChance(), steps([2.3] * 900, an_epoch=10_000)) == []  # two epochs are due in a long one
    assert told(AtChance(), steps([2.3] * 1000, an_epoch=10_000))
    assert told(AtChance(), steps(learning())) == []


def test_it_starts_anew_when_the_loss_leaves_chance():
    losses = [2.3] * 50 + [1.5] * 20 + [2.3] * 80
    found = told(AtChance(), steps(losses))
    assert [notice.since for notice in found] == [71]


def test_a_rate_that_is_too_high_is_said_within_ten_steps():
    found = told(Rising(), steps([2.3, 2.2, *[5.0 + n for n in range(30)]], rate=2.0))
    assert [(n.step, n.since) for n in found] == [(10, 1)]
    assert "rose from 2.3 at step 1" in found[0].text
    assert "--set stages.0.lr=0.2" in found[0].fix


def test_a_loss_that_climbs_back_is_said():
    found = told(Rising(), steps([*learning(150, 0.05), *[2.0] * 20]))
    assert len(found) == 1
    assert 150 < found[0].step < 165


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 0.25), st.floats(0.001, 1.0))
def test_they_are_quiet_while_a_noisy_loss_falls(seed, noise, low):
    draw = torch.Generator().manual_seed(seed)
    losses = [loss * (1 + noise * float(torch.randn((), generator=draw))) for loss in learning(300, low)]
    scales = [14.3 * math.exp(n / 300) for n in range(300)]
    assert [n for monitor in all_monitors() for n in told(monitor, steps(losses, scales))] == []


def test_a_temperature_that_runs_or_sits_at_its_bound():
    found = told(Temperature(), steps([1.0] * 40, [14.0 * 1.1**n for n in range(40)]))
    assert len(found) == 1
    assert "went from 0.0714 to" in found[0].text
    found = told(Temperature(), steps([1.0] * 300, [min(100.0, 50 + n) for n in range(300)]))
    assert [(n.severity, n.since) for n in found] == [("note", 51)]
    assert told(Temperature(), steps([1.0] * 300, [14.0 + n / 10 for n in range(300)])) == []


def measured(embedding, groups):
    there = torch.ones(len(embedding), dtype=torch.bool)
    return Measured([], [], {}, {"match": groups}, {}, {"match": {"x": embedding}}, {"x": there})


def after(monitor, embedding, groups, epochs=3):
    moments = [Moment(100 * n, n, 0, 100 * n, False, 1e-3) for n in range(1, epochs + 1)]
    return [notice for now in moments for notice in monitor.epoch(now, measured(embedding, groups))]


def test_embeddings_that_collapse_are_said_and_those_of_two_groups_are_not():
    torch.manual_seed(0)
    groups = torch.arange(64)
    point = F.normalize(torch.ones(64, 16) + 0.01 * torch.randn(64, 16), dim=1)
    found = after(Collapse(), point, groups)
    assert [(n.monitor, n.since, n.step) for n in found] == [("collapse", 100, 200)]
    assert "mean cosine of different rows 1.00" in found[0].text
    line = F.normalize(torch.randn(64, 1) * torch.ones(64, 16) + 1e-3 * torch.randn(64, 16), dim=1)
    assert after(Collapse(), line, groups)
    assert not after(Collapse(), line, groups % 2)
    assert not after(Collapse(), F.normalize(torch.randn(64, 16), dim=1), groups)
    assert not after(Collapse(), point, groups, epochs=1)


def test_effective_rank_and_mean_cosine_are_their_formulas():
    torch.manual_seed(0)
    x = F.normalize(torch.randn(40, 8, dtype=torch.float64), dim=1)
    similar = x @ x.T
    assert mean_cosine(x) == pytest.approx(float(similar[~torch.eye(40, dtype=torch.bool)].mean()))
    assert rank_me(torch.eye(8)) == pytest.approx(8.0)
    assert rank_me(torch.ones(5, 3)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("at", [1, 37, 150])
def test_a_monitor_that_is_taken_up_again_says_what_it_would_have_said(at):
    losses = [2.3] * 100 + [6.0] * 100
    scales = [min(100.0, 14 * 1.02**n) for n in range(200)]
    for whole, first, second in zip(all_monitors(), all_monitors(), all_monitors(), strict=True):
        seen = list(steps(losses, scales))
        wanted = told(whole, seen)
        early = told(first, seen[:at])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert early + told(second, seen[at:]) == wanted


def said(run, *monitors):
    return [one for one in run.read("run.json")["monitors"]["said"] if not monitors or one["monitor"] in monitors]


@pytest.mark.slow
def test_a_healthy_run_is_quiet(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["stages.0.epochs=40", "training.check_batch=true"]), tmp_path / "run", quiet=True)
    assert said(run, "at chance", "loss rising", "temperature", "collapse", "one batch", "not a number") == []
    assert run.read("run.json")["monitors"]["watched"]


def test_a_rate_a_thousand_times_too_high_is_said_early_in_the_log_run_and_report(tiny_recipe, tmp_path):
    run = fit(read(str(tiny_recipe), ["stages.0.epochs=12", "stages.0.lr=10", "training.select=loss"]), tmp_path / "run", quiet=True)
    found = said(run, "loss rising", "temperature")
    assert found
    assert min(one["step"] for one in found) <= 12
    assert any(one["text"] in row.get("notices", []) for row in run.read_log() for one in found)
    assert found[0]["text"].split(":")[0] in write_report(run).read_text()


def test_a_rate_that_moves_nothing_is_at_chance(tiny_recipe, tmp_path):
    sets = ["stages.0.epochs=40", "stages.0.lr=1e-12", "stages.0.warmup=0"]
    sets += ["tasks={number: {kind: regress, target: number}}"]
    run = fit(read(str(tiny_recipe), sets), tmp_path / "run", quiet=True)
    assert [one["text"].split(":")[0] for one in said(run, "at chance")] == ["number"]


def test_rates_of_parts_are_told_part_by_part():
    now = Moment(rate=1.0, rates={"image": 1e-3, "match": 1.0})
    assert lower_rate(now, "match") == "a lower rate for match: --set stages.0.lr.match=0.1"
    assert lower_rate(now) == "a lower rate: --set 'stages.0.lr={image: 0.0001, match: 0.1}'"
