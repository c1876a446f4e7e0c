"""What all tabs of the page share: the service, values that outlive a reload, files that were uploaded, and errors in plain words."""

from __future__ import annotations

import functools
import logging
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from triptych.base.errors import InputError, TriptychError
from triptych.contract.cells import Blob
from triptych.web.service import Service

LOG = logging.getLogger("triptych.web")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}$")
SECRET = "kept in this browser"
"""BrowserState wants a word to scramble with; what is kept is the user's own, in the user's own browser."""
RESTORE = """async (...held) => {
  const there = async (v) => {
    if (!v || typeof v !== 'object' || !v.path) return v;
    try { return (await fetch('./gradio_api/file=' + v.path, {method: 'HEAD'})).ok ? v : null; } catch { return null; }
  };
  return await Promise.all(held.map(there));
}"""
"""Files go with the server's folder of uploads; one that is no longer there is not shown as if it were."""


@dataclass
class Kit:
    """What a tab is built with."""

    service: Service
    kept: list[tuple[Any, Any]] = field(default_factory=list)
    """(component, what of it is kept in the browser)"""
    states: dict[str, Any] = field(default_factory=dict)
    """What is kept in the browser, by name."""
    shows: dict[str, list[tuple[str, Callable[..., Any], list[Any], list[Any]]]] = field(default_factory=lambda: defaultdict(list))
    """By tab: (run, function, inputs, outputs) to call when it is opened."""
    first: list[tuple[Callable[..., Any], list[Any], list[Any]]] = field(default_factory=list)
    """(function, inputs, outputs) to call when the page opens, after kept values came back."""

    def keep(self, component: Any, name: str) -> Any:
        """Let a component's value outlive a reload; gives the state that holds it."""
        state = self.memory(name, getattr(component, "value", None))
        component.change(
            None,
            component,
            state,
            js="(v) => (typeof v === 'string' && v.length > 400000 ? null : v)",
            queue=False,
            api_visibility="private",
        )
        self.kept.append((component, state))
        return state

    def memory(self, name: str, default: Any) -> Any:
        """A state of the browser that a tab fills by itself."""
        self.states[name] = gr.BrowserState(default, storage_key=f"triptych.{name}", secret=SECRET, render=False)
        return self.states[name]

    def opens(self, work: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        """Call `work` when the page opens."""
        self.first.append((work, inputs, outputs))

    def restore(self, page: Any) -> None:
        """When the page opens, bring back all that was kept.

        States stand outside of the tabs: what is in a tab that was not looked at is not there yet.
        """
        for state in self.states.values():
            state.render()
        if self.kept:
            components, states = [one for one, _ in self.kept], [state for _, state in self.kept]
            page.load(None, states, components, js=RESTORE, queue=False, api_visibility="private")
        for work, inputs, outputs in self.first:
            on(page.load, work, inputs, outputs, hidden=True)


def on(event: Any, work: Callable[..., Any], inputs: list[Any], outputs: list[Any], *, hidden: bool = False, **words: Any) -> Any:
    """Bind an event: values come as the browser sent them, and nothing is offered to programs, which have the API."""
    progress = "hidden" if hidden else "minimal"
    return event(work, inputs, outputs, preprocess=False, api_visibility="private", concurrency_limit=8, show_progress=progress, **words)


def html_place(html: str, **words: Any) -> Any:
    """A place for HTML of ours."""
    return gr.HTML(html, elem_classes="told", apply_default_css=False, **words)


def plainly(work: Callable[..., AsyncIterator[Any]], outputs: int) -> Callable[..., AsyncIterator[Any]]:
    """An event's work, whose first output is a place for what went wrong; it is emptied where nothing does.

    `work` is an async generator that gives the other outputs; where the place is the only output, it gives what is shown there.
    """
    alone = outputs == 1  # Gradio takes a tuple for one output as its value

    def shown(first: str, *rest: Any) -> Any:
        return first if alone else (first, *rest)

    @functools.wraps(work)
    async def told(*given: Any) -> AsyncIterator[Any]:
        try:
            async for found in work(*given):
                yield shown(*found) if alone else ("", *found)
        except TriptychError as problem:
            yield shown(problem_html(problem), *[gr.skip()] * (outputs - 1))
        except Exception:  # a user sees no stack trace; the log does
            LOG.exception("an event of the page failed")
            what = "this went wrong on the server; its log says what"
            yield shown(problem_html(InputError(what, fix="try again, or tell whoever runs the server")), *[gr.skip()] * (outputs - 1))

    return told


def once(work: Callable[..., AsyncIterator[Any]], outputs: int) -> Callable[..., Awaitable[Any]]:
    """As `plainly`, for work with one result.

    Gradio shows the last result of a generator twice, the second time when it has ended: a choice made in between would be undone.
    """
    steps = plainly(work, outputs)

    @functools.wraps(work)
    async def told(*given: Any) -> Any:
        return [found async for found in steps(*given)][-1]

    return told


def problem_html(problem: TriptychError) -> str:
    """What is wrong, what is known, what to do."""
    lines = [f"<p class='what'><strong>{escape(problem.what)}</strong></p>"]
    shown = problem.known[:20]
    if shown:
        more = f" and {len(problem.known) - len(shown)} more" if len(problem.known) > len(shown) else ""
        lines.append(f"<p>Known: {escape(', '.join(shown))}{more}</p>")
    if problem.fix:
        lines.append(f"<p>Try: {escape(problem.fix)}</p>")
    return f"<div class='problem' role='alert'>{''.join(lines)}</div>"


def uploaded(payload: Any) -> Path | None:
    """Where the file of a form lies: among the uploads, or nowhere.

    Raises:
        InputError: it is not there.
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get("path"), str):
        return None
    path = Path(payload["path"]).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise InputError("the file is no longer on the server", fix="upload it again")
    return path


def as_cell(payload: Any, name: str) -> Blob | str | None:
    """What a form gives for an input as a cell: a file's content under a name of ours, a text, or nothing.

    Raises:
        InputError: the file is no longer there.
    """
    if isinstance(payload, str):
        return payload if payload.strip() else None
    path = uploaded(payload)
    if path is None:
        return None
    suffix = SUFFIX.search(path.name)
    return Blob(path.read_bytes(), f"{name}{suffix[0].lower() if suffix else ''}")
