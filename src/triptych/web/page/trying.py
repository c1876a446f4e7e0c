"""The tab *Try*: the inputs of a run, its answer, which of them counted, and the training rows nearby."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from triptych.contract.tasks import Generate
from triptych.modalities import rooms
from triptych.use.influence import compared, forms, weighed, without_each
from triptych.use.opened import Run
from triptych.web.page import judging
from triptych.web.page.answers import answer_html, drawn_boxes, influence_html
from triptych.web.page.kit import Kit, as_cell, html_place, on, plainly
from triptych.web.page.neighbours import Beside
from triptych.web.service import Service, Told

NOTHING = "<p class='quiet'>Give at least one input and press Ask.</p>"
LATER = "<p class='quiet'>The training rows of this run were not embedded yet; that is done once, and kept.</p>"


def build(kit: Kit, name: str, beside: Beside) -> None:
    """The tab for one run."""
    run = kit.service.runs[name]
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            fields = {column: field_of(kit, run, name, column) for column in columns(run)}
            with gr.Row():
                ask = gr.Button("Ask", variant="primary", elem_id=f"ask-{name}")
                clear = gr.Button("Clear", elem_id=f"clear-{name}")
        with gr.Column(min_width=300):
            problem = html_place("")
            answer = html_place(NOTHING, elem_id=f"answer-{name}")
            told = kit.memory(f"{name}.told", None)
            judged = judging.build(kit, name, told)
            with gr.Accordion("Which inputs counted", open=True):
                counted = html_place("")
            with gr.Accordion("Similar training rows", open=True):
                similar = html_place("", elem_id=f"similar-{name}")
                embed = gr.Button("Show similar training rows", size="sm", visible=False)
    for part, place in {"answer": answer, "counted": counted, "similar": similar}.items():
        kit.keep(place, f"{name}.{part}")
    inputs, outputs = list(fields.values()), [problem, answer, told, counted, similar, embed, judged]
    work = functools.partial(_ask, kit.service, name, list(fields), beside)
    asked = plainly(work, len(outputs))
    on(ask.click, asked, inputs, outputs)
    for field in fields.values():
        if isinstance(field, gr.Textbox):
            on(field.submit, asked, inputs, outputs)
    again = plainly(functools.partial(_near, kit.service, name, list(fields), beside), 3)
    on(embed.click, again, inputs, [problem, similar, embed])
    kit.opens(functools.partial(_back, judged), [told], [judged])
    empty = [*([None] * len(inputs)), "", NOTHING, None, "", "", gr.update(visible=False), gr.update(visible=False)]
    on(clear.click, lambda: empty, [], [*inputs, *outputs])


def columns(run: Run) -> list[str]:
    """What the form asks for: the inputs, and words of questions; whole conversations have a tab of their own."""
    spoken = {task.messages for task in run.recipe.tasks.values() if isinstance(task, Generate) and task.messages}
    return [*run.recipe.inputs, *(word for word in run.words if word not in spoken)]


def field_of(kit: Kit, run: Run, name: str, column: str) -> Any:
    """A control that takes what an input reads."""
    settings = run.recipe.inputs.get(column)
    kind = settings.modality if settings else "text"
    label = column if kind in (column, "text") else f"{column} ({kind})"
    words: dict[str, Any] = {"label": label, "elem_id": f"input-{name}-{column}"}
    field: Any
    if kind == "image":
        field = gr.Image(sources=["upload", "webcam", "clipboard"], type="filepath", image_mode=None, height=220, buttons=[], **words)
    elif kind == "audio":
        field = gr.Audio(sources=["upload", "microphone"], type="filepath", buttons=[], **words)
    elif kind == "video":
        field = gr.Video(sources=["upload", "webcam"], height=220, buttons=[], **words)
    elif settings is not None and rooms()[kind].by_reference:
        field = gr.File(file_types=sorted(rooms()[kind].suffixes), **words)
    else:
        field = gr.Textbox(lines=2, max_lines=8, placeholder="words", **words)
    kit.keep(field, f"{name}.input.{column}")
    return field


def row_of(names: list[str], payloads: tuple[Any, ...]) -> dict[str, Any]:
    """What was given, by input."""
    cells = {name: as_cell(payload, name) for name, payload in zip(names, payloads, strict=True)}
    return {name: cell for name, cell in cells.items() if cell is not None}


async def _ask(service: Service, name: str, names: list[str], beside: Beside, *payloads: Any) -> AsyncIterator[tuple[Any, ...]]:
    """The answer first; what it owes to each input, and rows that are near, as they come."""
    run, row = service.runs[name], row_of(names, payloads)
    told = await service.predict(name, row)
    boxed = await asyncio.to_thread(drawn_boxes, run, told.tasks, row)
    html = answer_html(run, told.tasks, boxed, told.seconds)
    held = {"id": told.id, "run": name, "tasks": told.tasks, "given": list(row)}
    shown = (html, held)
    yield (*shown, "", "", gr.update(visible=False), gr.update(visible=True))
    counted = await _counted(service, name, told, row)
    yield (*shown, counted, gr.skip(), gr.skip(), gr.skip())
    if beside.at_hand:
        async for similar, _ in _near(service, name, names, beside, *payloads):
            yield (*shown, counted, similar, gr.update(visible=False), gr.skip())
    else:
        yield (*shown, counted, LATER, gr.update(visible=True), gr.skip())


async def _counted(service: Service, name: str, told: Told, row: dict[str, Any]) -> str:
    """Asked again without each input, with what else the run is asked at the moment."""
    run = service.runs[name]
    tasks, variants = tuple(weighed(run)), without_each(run.recipe.inputs, row)
    given = [column for column in row if column in run.recipe.inputs]
    if not variants or not tasks:
        return influence_html({}, given, asked=bool(tasks))
    rows = list(variants.values())
    found = [answer for _, answer in await service.answered(name, rows, tasks)]
    whole = {task: told.tasks[task] for task in tasks}
    return influence_html(compared(whole, dict(zip(variants, (one.tasks for one in found), strict=True)), forms(run)), given)


async def _near(service: Service, name: str, names: list[str], beside: Beside, *payloads: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The rows nearest to what is given; while they are embedded, how far that is."""
    row = {column: cell for column, cell in row_of(names, payloads).items() if column in service.runs[name].recipe.inputs}
    beside.start()
    while beside.busy:
        yield beside.voice.html(), gr.update(visible=False)
        await asyncio.sleep(0.3)
    vectors = (await service.embed(name, [row]))[0] if row else {}
    yield await asyncio.to_thread(beside.html, vectors), gr.update(visible=False)


def _back(judged: Any, told: Any) -> Any:
    """After a reload: an answer that is shown again can be judged again."""
    return gr.update(visible=bool(told))
