"""The page: what a run can do, in a browser, on the port of the API."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import gradio as gr

from triptych.web.page import trying
from triptych.web.page.guard import Guard
from triptych.web.page.kit import Kit, on
from triptych.web.page.look import HEAD, style, theme
from triptych.web.page.neighbours import Beside
from triptych.web.service import Service

KEPT = 24 * 3600
"""Seconds after which an uploaded file goes."""


def build(service: Service) -> Any:
    """The page over a service."""
    kit = Kit(service)
    names = list(service.runs)
    besides = {name: Beside(run) for name, run in service.runs.items()}
    with gr.Blocks(title=f"triptych: {', '.join(names)}", analytics_enabled=False, delete_cache=(3600, KEPT)) as page:
        gr.HTML(f"<h1>{' · '.join(names)}</h1>", elem_classes="told top")
        chosen = gr.Dropdown(names, value=names[0], label="Run", visible=len(names) > 1, elem_id="run")
        kit.keep(chosen, "run")
        places: list[tuple[str, Any]] = []
        with gr.Tabs(elem_id="tabs") as tabs:
            for label, make in _tabs(kit, besides):
                with gr.Tab(label, id=label, elem_id=f"tab-{label.lower()}"):
                    for name in names if make.__module__ not in WHOLE else names[:1]:
                        with gr.Column(visible=name == names[0]) as place:
                            make(name)
                        places.append((name, place))
    return page
