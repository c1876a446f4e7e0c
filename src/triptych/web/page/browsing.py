"""The tab *Data*: the table of a run a page at a time, what its columns hold, what was found in it, which rows were lost."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from triptych.base.errors import TriptychError
from triptych.data.rejects import read_rejects
from triptych.data.table import Table
from triptych.use.opened import Run
from triptych.use.shown import cell_html, columns_of
from triptych.web.page.kit import Kit, html_place, on, plainly
from triptych.web.page.neighbours import Beside

ROWS = 12
"""Rows of a page."""
REJECTS = 200
"""Lost rows that are listed."""


def build(kit: Kit, name: str, beside: Beside) -> None:
    """The tab for one run."""
    run = kit.service.runs[name]
    problem = html_place("")
    with gr.Row(equal_height=True):
        number = gr.Number(value=1, minimum=1, precision=0, label="Page", min_width=90, elem_id=f"data-page-{name}")
        words = gr.Textbox(
            label="Rows whose id or texts have these words", max_lines=1, min_width=220, scale=3, elem_id=f"data-find-{name}"
        )
        back = gr.Button("Previous", size="sm", min_width=90, elem_id=f"data-back-{name}")
        forth = gr.Button("Next", size="sm", min_width=90, elem_id=f"data-next-{name}")
    rows = html_place("", elem_id=f"data-rows-{name}")
    with gr.Accordion("Columns", open=False):
        columns = html_place("")
    with gr.Accordion("Findings", open=False):
        html_place(findings_html(run))
    with gr.Accordion("Rows that could not be used", open=False):
        html_place(rejects_html(run))
    show = plainly(functools.partial(_page, beside), 4)
    outputs = [problem, rows, columns, number]
    kit.keep(words, f"{name}.data-find")
    kit.keep(number, f"{name}.data-page")
    on(number.submit, show, [number, words], outputs)
    on(number.blur, show, [number, words], outputs)
    on(words.submit, plainly(functools.partial(_first, beside), 4), [words], outputs)
    on(back.click, plainly(functools.partial(_turned, beside, -1), 4), [number, words], outputs)
    on(forth.click, plainly(functools.partial(_turned, beside, 1), 4), [number, words], outputs)
    kit.shows["Data"].append((name, show, [number, words], outputs))


async def _first(beside: Beside, words: str) -> AsyncIterator[tuple[Any, ...]]:
    async for found in _page(beside, 1, words):
        yield found


async def _turned(beside: Beside, by: int, number: Any, words: str) -> AsyncIterator[tuple[Any, ...]]:
    async for found in _page(beside, _whole(number) + by, words):
        yield found


async def _page(beside: Beside, number: Any, words: str) -> AsyncIterator[tuple[Any, ...]]:
    """One page of the table; the first call opens it."""
    yield "<p class='quiet' role='status'>opening the run's data</p>", gr.skip(), gr.skip()
    html, columns, at = await asyncio.to_thread(_made, beside, _whole(number), str(words or ""))
    yield html, columns, at


def _whole(number: Any) -> int:
    return int(number) if isinstance(number, int | float) and number >= 1 else 1


def _made(beside: Beside, number: int, words: str) -> tuple[str, str, int]:
    table = beside.source.table()
    chosen = _chosen(table, words)
    pages = max(-(-len(chosen) // ROWS), 1)
    at = min(number, pages)
    held = table.rows.take(chosen[(at - 1) * ROWS : at * ROWS])
    names = [name for name in table.columns if name != "id"]
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in ("id", *names))
    body = "".join(_row(row.id, [row.cells.get(name) for name in names], table) for row in held)
    count = f"{len(chosen):,} of {len(table.rows):,} rows" if words.strip() else f"{len(table.rows):,} rows"
    told = f"<p class='quiet' role='status'>{count}, page {at:,} of {pages:,}; as the source is now, before it was divided</p>"
    html = f"{told}<div class='scroll' tabindex='0' role='region' aria-label='rows'><table class='rows'><tr>{head}</tr>{body}</table></div>"
    return html, _columns_html(beside, table), at


def _row(row_id: str, cells: Sequence[Any], table: Table) -> str:
    shown = "".join(f"<td>{'' if cell is None else cell_html(cell, table.folder)}</td>" for cell in cells)
    return f"<tr><th scope='row'>{escape(row_id)}</th>{shown}</tr>"


def _chosen(table: Table, words: str) -> list[int]:
    """Places of rows in whose id or texts all words stand."""
    wanted = [word.casefold() for word in words.split()]
    if not wanted:
        return list(range(len(table.rows)))
    texts = [row_id.casefold() for row_id in table.rows.ids()]
    for name in table.columns:
        if name != "id":
            for place, cell in enumerate(table.rows.cells(name)):
                if isinstance(cell, str | int | float):
                    texts[place] += f"\n{cell}".casefold()
    patterns = [re.compile(re.escape(word)) for word in wanted]
    return [place for place, text in enumerate(texts) if all(pattern.search(text) for pattern in patterns)]


def _columns_html(beside: Beside, table: Table) -> str:
    """What each column holds; looked at once."""
    if beside.columns is None:
        rows = "".join(
            f"<tr><th scope='row'>{escape(str(one['name']))}</th><td>{one['share']}</td><td>{escape(str(one['what']))}</td></tr>"
            for one in columns_of(table)
        )
        head = "<tr><th scope='col'>column</th><th scope='col'>filled</th><th scope='col'>holds</th></tr>"
        beside.columns = f"<div class='scroll'><table>{head}{rows}</table></div>"
    return beside.columns


def findings_html(run: Run) -> str:
    """What the doctor found when the run was trained, the worst first."""
    found = run.folder.read("run.json").get("findings", [])
    if not found:
        return "<p class='quiet'>Nothing was found.</p>"
    items = [{"severity": "note", "text": one} if isinstance(one, str) else one for one in found]
    return f"<ul class='findings'>{''.join(_finding(one) for one in items)}</ul>"


def _finding(one: dict[str, Any]) -> str:
    rows = f" ({one['rows']:,} rows)" if one.get("rows") else ""
    fix = f"<br><span class='quiet'>{escape(str(one['fix']))}</span>" if one.get("fix") else ""
    return f"<li><strong>{escape(str(one['severity']))}</strong>: {escape(str(one['text']))}{rows}{fix}</li>"


def rejects_html(run: Run) -> str:
    """Rows that training could not use, each with its reason."""
    path = run.folder.path / "rejects.csv"
    try:
        lost = read_rejects(path) if path.exists() else []
    except (OSError, KeyError, TriptychError):
        return "<p class='quiet'>rejects.csv of the run cannot be read.</p>"
    if not lost:
        return "<p class='quiet'>Every row was used.</p>"
    rows = "".join(f"<tr><th scope='row'>{escape(one.id)}</th><td>{escape(one.reason)}</td></tr>" for one in lost[:REJECTS])
    more = f"<p class='quiet'>and {len(lost) - REJECTS:,} more, all in the run's rejects.csv</p>" if len(lost) > REJECTS else ""
    return f"<div class='scroll'><table><tr><th scope='col'>row</th><th scope='col'>why</th></tr>{rows}</table></div>{more}"
