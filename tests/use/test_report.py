"""The report is one file that says what the run's files say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from triptych.data.sampling import Plan
from triptych.use.report import _sampling, next_commands, write_report


def test_it_needs_no_network_and_shows_every_section(tiny_run):
    page = write_report(tiny_run.folder).read_text()
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert all(link.startswith("data:") for link in links)
    assert "@import" not in page
    for word in ("untouched", "Classes", "Retrieval", "Worst rows", "What the model sees", "Cost", "Choices", "Recipe"):
        assert word in page
    assert page.count("<svg") >= 5
    assert "<audio" in page


def test_its_figures_are_the_runs(tiny_run):
    page = write_report(tiny_run.folder).read_text()
    for score in tiny_run.scores:
        if score["metric"] == "accuracy":
            assert f"{score['trained']:.3f}" in page


@pytest.mark.slow
def test_it_is_the_same_when_made_again(tiny_run):
    first = write_report(tiny_run.folder).read_text()
    assert write_report(tiny_run.folder).read_text() == first


def test_next_commands_name_the_run(tiny_run):
    commands = next_commands(tiny_run.folder)
    assert all(str(tiny_run.folder.path) in command for command in commands)
    assert any("fusion=gated" in command for command in commands)


def test_the_plan_of_drawn_rows_is_in_it():
    plan = Plan("label", ["few", "many"], [np.arange(2), np.arange(8)], [5, 5])
    told = _sampling({"sampling": plan.as_dict()})
    assert told["lines"][0] == ("many", "8", "80.0%", "5", "50.0%", "0.62 times")
    assert told["lines"][1] == ("few", "2", "20.0%", "5", "50.0%", "2.50 times")
    assert (told["by"], told["rows"], told["left"]) == ("label", "10", 0) and not _sampling({"sampling": None})
