"""The tab *Rate*: the better of two written answers, voices rated blind, and what was said of the run so far."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Mapping
from html import escape
from typing import Any

import gradio as gr

from triptych.base.errors import InputError
from triptych.web.page import listening
from triptych.web.page.judging import THANKS
from triptych.web.page.kit import Kit, html_place, on, plainly
from triptych.web.page.talking import answers_in_writing
from triptych.web.service import Service

WARM = 0.9
"""Temperature of the second answer."""
TRIES = 4
"""How often another answer is drawn before it is said that the run has only one."""


def build(kit: Kit, name: str) -> None:
    """The tab for one run."""
    html_place("<p class='quiet'>One answer is judged where it stands: below it in Try, or beside it in Chat.</p>")
    kept = []
    if answers_in_writing(kit.service.runs[name]):
        with gr.Accordion("Better of two answers", open=True):
            kept += _two(kit, name)
    with gr.Accordion("Voices", open=True):
        kept.append(listening.build(kit, name))
    with gr.Accordion("What was said so far", open=True):
        told = html_place("", elem_id=f"said-{name}")
        problem = html_place("")
        said = plainly(functools.partial(_summary, kit.service, name), 2)
        kit.shows["Rate"].append((name, said, [], [problem, told]))
        for event in kept:
            on(event.then, said, [], [problem, told], hidden=True)


def _two(kit: Kit, name: str) -> list[Any]:
    """The better of two; the events that keep which one it is."""
    html_place("<p class='quiet'>The last question of Chat is answered a second time, less predictably. Which answer is better?</p>")
    problem = html_place("", elem_id=f"two-told-{name}")
    pair = kit.memory(f"{name}.pair", None)
    talk, task = kit.states[f"{name}.talk"], kit.states[f"{name}.chat-task"]
    ask = gr.Button("Write another answer", variant="primary", size="sm", elem_id=f"two-{name}")
    with gr.Row(equal_height=True):
        left, right = (gr.Textbox(label=f"Answer {word}", lines=3, interactive=False, elem_id=f"two-{word}-{name}") for word in "AB")
    with gr.Row():
        buttons = [gr.Button(f"{word} is better", size="sm", min_width=90, elem_id=f"better-{word}-{name}") for word in "AB"]
    thanks = html_place("", elem_id=f"two-thanks-{name}")
    kit.keep(left, f"{name}.two-a")
    kit.keep(right, f"{name}.two-b")
    on(ask.click, plainly(functools.partial(_another, kit.service, name), 4), [talk, task], [problem, left, right, pair])
    return [
        on(button.click, plainly(functools.partial(_prefer, kit.service, place), 3), [pair, left, right], [problem, pair, thanks])
        for place, button in enumerate(buttons)
    ]


async def _another(service: Service, name: str, talk: Any, task: str) -> AsyncIterator[tuple[Any, ...]]:
    """The last answer and another one, in an order that is drawn."""
    kept = service.remembered.get(str((talk or {}).get("id")))
    if kept is None or kept.run != name or task not in kept.tasks:
        raise InputError("there is no answer of Chat to compare with", fix="ask something in Chat first")
    settings: Any = service.runs[name].recipe.tasks[task]
    if settings.choices:
        raise InputError(f"{task} chooses among given answers", fix="correct the answer in Try instead")
    first, second = str(kept.tasks[task]["said"]), ""
    warm = settings.model_copy(update={"temperature": WARM, "top_p": 0.95, "beams": 1})
    for _ in range(TRIES):
        async for text in service.stream(name, task, kept.row, warm):
            second = text
        if second.strip() != first.strip():
            break
    else:
        raise InputError("the run gave the same answer again and again", fix="ask another question")
    both = [first.strip(), second.strip()]
    random.SystemRandom().shuffle(both)
    yield both[0], both[1], {"id": talk["id"], "task": task}


async def _prefer(service: Service, place: int, pair: Any, left: str, right: str) -> AsyncIterator[tuple[Any, ...]]:
    if not isinstance(pair, dict):
        raise InputError("there are no two answers", fix="press: Write another answer")
    chosen, rejected = (left, right) if place == 0 else (right, left)
    await service.remark(str(pair["id"]), task=pair["task"], chosen=chosen, rejected=rejected)
    yield None, THANKS.format(what="the better of two")


async def _summary(service: Service, name: str) -> AsyncIterator[tuple[Any, ...]]:
    yield (await asyncio.to_thread(summary_html, service, name),)


def summary_html(service: Service, name: str) -> str:
    """How many remarks there are, of what, and what is doubtful in them."""
    feedback = service.feedback[name]
    told = feedback.summary()
    if not told["remarks"]:
        return "<p class='quiet'>Nothing yet.</p>"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in told["kinds"].items() if count)
    rows = "".join(_task(task, one) for task, one in told["tasks"].items())
    head = "".join(f"<th scope='col'>{word}</th>" for word in ("task", "remarks", "right, by the corrections", "mean rating"))
    table = f"<div class='scroll'><table><tr>{head}</tr>{rows}</table></div>" if rows else ""
    doubts = "".join(f"<li><strong>{one.severity}</strong>: {escape(one.text)}</li>" for one in feedback.findings())
    lead = f"<p>{told['remarks']:,} remarks ({kinds}) on {told['inputs']:,} inputs by {told['raters']:,} named raters.</p>"
    next_step = f"<p class='quiet'>triptych feedback train {escape(name)} makes the next version of it.</p>"
    return f"{lead}{table}{f'<ul>{doubts}</ul>' if doubts else ''}{next_step}"


def _task(task: str, one: Mapping[str, Any]) -> str:
    count = sum(one[kind] for kind in ("corrections", "ratings", "preferences"))
    right = one["right"]
    share = f"{right['count']} of {right['of']} ({100 * right['low']:.0f} to {100 * right['high']:.0f} %)" if right else "-"
    rating = f"{one['rating']:.2f}" if one["rating"] is not None else "-"
    return f"<tr><th scope='row'>{escape(task or '-')}</th><td>{count}</td><td>{share}</td><td>{rating}</td></tr>"
