"""Which work of the page is done when a tab or a run is chosen, and what it says and looks like, without a browser."""

from __future__ import annotations

import asyncio
import gc
import re

import pytest

pytest.importorskip("gradio")

import gradio as gr

from triptych.web import page
from triptych.web.page.answers import influence_html
from triptych.web.page.look import style
from triptych.web.service import Service


def test_only_the_open_tab_of_the_chosen_run_is_filled():
    asked = []

    def show(label: str, name: str, inputs: int, outputs: int):
        async def work(*given):
            asked.append((label, name, given))
            for step in "ab":
                yield tuple(step * outputs)

        return label, name, work, [None] * inputs, [None] * outputs

    shows = [show("Data", "one", 2, 3), show("Data", "two", 1, 2), show("Runs", page.ALL, 1, 1)]

    async def given(*values):
        return [found async for found in page._looked_at(shows)(*values)]

    filled = asyncio.run(given("two", "Data", 1, 2, 3, 4))
    assert asked == [("Data", "two", (3,))]
    skip = gr.skip()
    assert filled[:2] == [(skip,) * 3 + ("a", "a", skip), (skip,) * 3 + ("b", "b", skip)]
    assert filled[2] == (skip,) * 6
    asked.clear()
    assert asyncio.run(given("two", "Try", 1, 2, 3, 4)) == [(skip,) * 6] and not asked
    asyncio.run(given("one", "Runs", 1, 2, 3, 4))
    assert asked == [("Runs", page.ALL, (4,))]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_run_is_shown_before_the_server_is_asked(tiny_run, tmp_path):
    built = page.build(Service({"tiny": tiny_run, "twin": tiny_run}, feedback_at=tmp_path)).config
    asyncio.set_event_loop(None)  # the one that Gradio leaves open
    gc.collect()
    chosen = next(one["id"] for one in built["components"] if one["props"].get("elem_id") == "run")
    events = [one for one in built["dependencies"] if (chosen, "change") in one["targets"]]
    columns = {one["id"] for one in built["components"] if one["type"] == "column"}
    switch = next(place for place, one in enumerate(events) if one["outputs"] and set(one["outputs"]) <= columns)
    served = [place for place, one in enumerate(events) if one["backend_fn"]]
    assert len(served) == 1 and switch < served[0] and not events[switch]["backend_fn"]


def test_what_counted_is_not_told_where_no_task_could_tell():
    assert "No task" in influence_html({}, ["image"], asked=False)
    assert "One input was given" in influence_html({}, ["image"])


def test_no_border_is_lost_when_gradio_rewrites_the_style_sheet():
    """A browser says a border with a variable back as nothing where the same rule sets one of its parts, too."""
    rules = re.findall(r"\{([^{}]*)\}", style())
    assert len(rules) > 40
    assert not [
        rule
        for rule in rules
        if re.search(r"\bborder: [^;]*var\(", rule) and re.search(r"border-\w+(-\w+)?:", rule.replace("border-radius:", ""))
    ]


def test_no_rule_for_a_phone_begins_with_gradios_container():
    """Gradio puts it before each selector of a media query, so that a second one never fits."""
    queries = re.findall(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)", style())
    assert len(queries) == 2 and "button.sm" in queries[0]
    assert ".gradio-container" not in "".join(queries)
