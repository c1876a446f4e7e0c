"""The page: what a run can do, in a browser, on the port of the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from triptych.web.page import browsing, comparing, finding, rating, talking, trying
from triptych.web.page.guard import Guard
from triptych.web.page.kit import Kit, html_place, on
from triptych.web.page.look import HEAD, style, theme
from triptych.web.page.neighbours import Beside
from triptych.web.service import Service

__all__ = ["build", "mount"]

KEPT = 24 * 3600
"""Seconds after which an uploaded file goes."""
ALL = ""
"""In place of a run's name: all of them."""
OPEN = "(name, _, ...held) => [name, document.querySelector('#tabs [role=tab][aria-selected=true]')?.textContent.trim() ?? '', ...held]"
"""Puts the tab that is open where the work expects it."""
Make = Callable[[str], None]
Show = tuple[str, str, Callable[..., AsyncIterator[Any]], list[Any], list[Any]]
"""(tab, run, work, inputs, outputs)"""


def build(service: Service) -> Any:
    """The page over a service."""
    kit, names = Kit(service), list(service.runs)
    places: list[tuple[str, Any]] = []
    with gr.Blocks(title=f"triptych: {', '.join(names)}", analytics_enabled=False, delete_cache=(3600, KEPT)) as page:
        html_place(f"<h1>{escape(' · '.join(names))}</h1>")
        chosen = gr.Dropdown(names, value=names[0], label="Run", visible=len(names) > 1, elem_id="run")
        kit.keep(chosen, "run")
        bars = []
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            for label, (make, names_of) in _tabs(kit).items():
                with gr.Tab(label, id=label, elem_id=f"tab-{label.lower()}") as bar:
                    places += _for_each(names_of, make, names[0])
                bars.append((label, bar))
        shows = f"(name) => {json.dumps([of for of, _ in places])}.map((of) => ({{__type__: 'update', visible: of === name}}))"
        quiet: dict[str, Any] = {"queue": False, "api_visibility": "private"}
        chosen.change(None, chosen, [place for _, place in places], js=shows, **quiet)  # first: what follows may take its time
        _filled(kit, chosen, bars)
        kit.restore(page)
    page.queue(default_concurrency_limit=8, max_size=256, api_open=False)
    return page


def _tabs(kit: Kit) -> dict[str, tuple[Make, list[str]]]:
    """What makes each tab, and for which runs."""
    names = list(kit.service.runs)
    besides = {name: Beside(run) for name, run in kit.service.runs.items()}
    return {
        "Try": (lambda name: trying.build(kit, name, besides[name]), names),
        "Chat": (lambda name: talking.build(kit, name), names),
        "Search": (lambda _: finding.build(kit), [ALL]),
        "Data": (lambda name: browsing.build(kit, name, besides[name]), names),
        "Runs": (lambda _: comparing.build(kit), [ALL]),
        "Rate": (lambda name: rating.build(kit, name), names),
    }


def _for_each(names: Sequence[str], make: Make, first: str) -> list[tuple[str, Any]]:
    """A column a run, of which the first is shown; what is for all runs is always shown."""
    places = []
    for name in names:
        with gr.Column(visible=name in (first, ALL)) as place:
            make(name)
        if name != ALL:
            places.append((name, place))
    return places


def _filled(kit: Kit, chosen: Any, bars: Sequence[tuple[str, Any]]) -> None:
    """Fill the tab that is looked at when it is opened, or when another run is chosen: one round trip, and nothing for the others."""
    at = kit.memory("at", "")
    for label, bar in bars:
        if kit.shows[label]:
            _bind(bar.select, [(label, *one) for one in kit.shows[label]], chosen, at)
    _bind(chosen.change, [(label, *one) for label, _ in bars for one in kit.shows[label]], chosen, at)


def _bind(event: Any, shows: Sequence[Show], chosen: Any, at: Any) -> None:
    """Call those of `shows` that stand in the open tab and belong to the chosen run; the browser says which tab is open."""
    inputs, outputs = [one for show in shows for one in show[3]], [one for show in shows for one in show[4]]
    on(event, _looked_at(shows), [chosen, at, *inputs], outputs, hidden=True, js=OPEN, trigger_mode="multiple")


def _looked_at(shows: Sequence[Show]) -> Callable[..., AsyncIterator[Any]]:
    """An event's work: what it gives for all that is not looked at is left as it is."""

    async def shown(chosen: str, at: str, *given: Any) -> AsyncIterator[Any]:
        whole, start, first = sum(len(show[4]) for show in shows), 0, 0
        for label, name, work, inputs, outputs in shows:
            if label == at and name in (chosen, ALL):
                async for found in work(*given[start : start + len(inputs)]):
                    after = whole - first - len(outputs)
                    yield (*[gr.skip()] * first, *found, *[gr.skip()] * after)
            start, first = start + len(inputs), first + len(outputs)
        yield tuple([gr.skip()] * whole)

    return shown


def mount(app: Any, service: Service) -> Any:
    """The app with the page at its root, and a guard before Gradio's own routes."""
    words: dict[str, Any] = {"theme": theme(), "css": style(), "head": HEAD, "footer_links": [], "run_history": False, "ssr_mode": False}
    limit = service.limits.body_bytes
    whole = gr.mount_gradio_app(app, build(service), path="/", max_file_size=limit, enable_monitoring=False, show_error=True, **words)
    whole.add_middleware(Guard)
    return whole
