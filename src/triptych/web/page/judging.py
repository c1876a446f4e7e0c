"""What a person says of an answer: right or wrong, better words, thumbs, the better of two. Kept with the input, for the next version."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import gradio as gr

from triptych.base.errors import InputError
from triptych.use.opened import Run
from triptych.use.remarks import CORRECTED, DOWN, UP
from triptych.web.page.kit import Kit, html_place, on, plainly

THANKS = "<div class='done' role='status'>Kept: {what}. Thank you.</div>"


def build(kit: Kit, name: str, told: Any) -> Any:
    """The part below an answer; `told` is the state that holds it. Gives what is shown or hidden."""
    run = kit.service.runs[name]
    fitting = [task for task in run.answered if run.recipe.tasks[task].kind in CORRECTED]
    rated = [task for task in run.answered if run.recipe.tasks[task].kind != "contrast"] or run.answered
    with gr.Accordion("Is it right?", open=True, visible=False) as group:
        status = html_place("", elem_id=f"judged-{name}")
        rater = gr.Textbox(label="Your name or pseudonym (may be empty)", max_lines=1, elem_id=f"rater-{name}")
        kit.keep(rater, f"{name}.rater")
        if len(rated) > 1:
            task = gr.Radio(rated, value=rated[0], label="Task", elem_id=f"task-{name}")
        else:
            task = gr.Radio(rated, value=rated[0], label="Task", visible=False)
        with gr.Row():
            up = gr.Button("Right", size="sm", min_width=90, elem_id=f"up-{name}")
            down = gr.Button("Wrong", size="sm", min_width=90, elem_id=f"down-{name}")
        for thumb, rating in ((up, UP), (down, DOWN)):
            on(thumb.click, plainly(functools.partial(_rate, kit, rating), 1), [told, task, rater], [status])
        for one in fitting:
            _correct(kit, name, one, told, rater, status)
    return group


def _correct(kit: Kit, name: str, task: str, told: Any, rater: Any, status: Any) -> None:
    """A control for the right answer of one task."""
    run = kit.service.runs[name]
    with gr.Row(equal_height=True):
        right = _right(run, task, f"right-{name}-{task}")
        send = gr.Button("Correct", size="sm", min_width=90, scale=0, elem_id=f"correct-{name}-{task}")
    on(send.click, plainly(functools.partial(_keep, kit, task), 1), [told, right, rater], [status])


def _right(run: Run, task: str, elem_id: str) -> Any:
    settings: Any = run.recipe.tasks[task]
    words: dict[str, Any] = {"label": f"The right {task}", "elem_id": elem_id, "scale": 3}
    labels = labels_of(run, task)
    if settings.kind == "classify" and labels:
        return gr.Dropdown(labels, value=None, allow_custom_value=True, **words)
    if settings.kind == "multilabel" and labels:
        return gr.Dropdown(labels, value=[], multiselect=True, allow_custom_value=True, **words)
    if settings.kind == "regress":
        return gr.Number(value=None, **words)
    return gr.Textbox(lines=2, **words)


def labels_of(run: Run, task: str) -> list[str]:
    """The labels of a task, where it has any."""
    choices = getattr(run.recipe.tasks[task], "choices", None)
    if choices:
        return list(choices)
    parts = run.model.parts()
    return [str(label) for label in parts[task].facts.get("labels", [])] if task in parts else []


async def _rate(kit: Kit, rating: int, told: Any, task: str, rater: str) -> AsyncIterator[tuple[Any, ...]]:
    await kit.service.remark(_id(told), task=task, rating=rating, rater=rater or "")
    word = "it was right" if rating == UP else "it was wrong"
    yield (THANKS.format(what=word),)


async def _keep(kit: Kit, task: str, told: Any, right: Any, rater: str) -> AsyncIterator[tuple[Any, ...]]:
    await kit.service.remark(_id(told), task=task, correction=right, rater=rater or "")
    shown = ", ".join(map(str, right)) if isinstance(right, list) else str(right)
    yield (THANKS.format(what=f"{escape(task)} is {escape(shown)}"),)


def _id(told: Any) -> str:
    """The answer that is meant.

    Raises:
        InputError: there is none yet.
    """
    if not isinstance(told, dict) or not told.get("id"):
        raise InputError("there is no answer yet", fix="press Ask first")
    return str(told["id"])
