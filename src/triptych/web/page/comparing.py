"""The tab *Runs*: the report of a run, and several runs side by side."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from triptych.base.errors import InputError
from triptych.use import compare
from triptych.web.page.kit import Kit, html_place, on, plainly
from triptych.web.service import Service

LARGEST = 24 * 2**20
"""Bytes of a report that is sent into the page."""


def build(kit: Kit) -> None:
    """The tab, for all runs."""
    names = list(kit.service.runs)
    problem = html_place("")
    with gr.Row(equal_height=True):
        report = gr.Dropdown(names, value=names[0], label="Report of", scale=2, elem_id="report-of")
        show = gr.Button("Show report", size="sm", min_width=120, scale=1, elem_id="report")
    if len(names) > 1:
        with gr.Row(equal_height=True):
            chosen = gr.CheckboxGroup(names, value=names, label="Side by side", scale=2, elem_id="side-by-side")
            beside = gr.Button("Compare", size="sm", min_width=120, scale=1, elem_id="compare")
    else:
        html_place("<p class='quiet'>This server has one run. Start it with several to compare them: triptych serve RUN RUN2</p>")
    page = html_place("", elem_id="report-page")
    asked = kit.memory("report", None)
    on(show.click, plainly(functools.partial(_report, kit.service), 3), [report], [problem, page, asked])
    if len(names) > 1:
        on(beside.click, plainly(functools.partial(_compare, kit.service), 3), [chosen], [problem, page, asked])
    again = plainly(functools.partial(_again, kit.service), 3)
    kit.shows["Runs"].append(("", again, [asked], [problem, page, asked]))


async def _report(service: Service, name: str) -> AsyncIterator[tuple[Any, ...]]:
    run = service.runs[service.run(name)]
    html = await asyncio.to_thread(_read, run.folder.report)
    yield framed(html, f"Report of {name}"), {"report": name}


def _read(path: Path) -> str:
    """A report's file.

    Raises:
        InputError: there is none, or it is too large.
    """
    if not path.is_file():
        raise InputError("the run has no report", fix=f"triptych report {path.parent.name} writes it")
    if path.stat().st_size > LARGEST:
        raise InputError("the report is too large for the page", fix=f"open the file {path.name} in the run's folder")
    return path.read_text(encoding="utf-8")


async def _compare(service: Service, names: Sequence[str]) -> AsyncIterator[tuple[Any, ...]]:
    if len(names or []) < 2:
        raise InputError("one run alone is not compared", fix="choose two or more")
    runs = [service.runs[service.run(name)].folder for name in names]

    def made() -> str:
        with tempfile.TemporaryDirectory() as folder:
            return compare.write_page(compare.compare(runs), Path(folder) / "compare.html").read_text(encoding="utf-8")

    yield framed(await asyncio.to_thread(made), f"{', '.join(names)} side by side"), {"compare": list(names)}


async def _again(service: Service, asked: Any) -> AsyncIterator[tuple[Any, ...]]:
    """What was shown when the page was left; the first report where nothing was."""
    asked = asked if isinstance(asked, dict) else {}
    if asked.get("compare") and all(name in service.runs for name in asked["compare"]):
        async for found in _compare(service, asked["compare"]):
            yield found
    else:
        name = asked["report"] if asked.get("report") in service.runs else service.run()
        async for found in _report(service, name):
            yield found


def framed(html: str, title: str) -> str:
    """A whole page in a frame that runs no script and whose links stay within it."""
    based = html.replace("<head>", "<head><base href='about:srcdoc'>", 1)
    return f"<iframe class='report' title='{escape(title)}' sandbox='' srcdoc=\"{escape(based)}\"></iframe>"
