"""The tab *Search*: a gallery of a catalogue's rows, found by words, a picture, a sound, or several of them with weights."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import Media
from triptych.data.kinds import room_of
from triptych.modalities import rooms
from triptych.use.catalogue import Hit, Part
from triptych.web.page.kit import Kit, as_cell, html_place, on, plainly
from triptych.web.page.trying import field_of
from triptych.web.service import Service

HOW = "triptych search build RUN TABLE --out shop.index, then triptych serve RUN --index shop.index"
MOST = 50
LONGEST = 160


def build(kit: Kit) -> None:
    """The tab, where the server has an index."""
    service = kit.service
    if service.catalogue is None:
        html_place(f"<p class='quiet'>This server has no index to search. Make one and start it with that: <code>{HOW}</code></p>")
        return
    name = service.maker()
    run = service.runs[name]
    names = sorted(service.catalogue.space.inputs, key=lambda one: rooms()[run.recipe.inputs[one].modality].by_reference)  # words first
    columns = [column for column in service.catalogue.columns if column != "id"]
    html_place(f"<p class='quiet'>{len(service.catalogue):,} rows of {escape(service.catalogue.path.name)}. Give one thing or several.</p>")
    problem = html_place("", elem_id="search-told")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280, scale=2):
            fields = [field_of(kit, run, "search", column) for column in names]
        with gr.Column(min_width=280, scale=1):
            weights = [
                gr.Slider(
                    -1.0, 1.0, value=1.0, step=0.1, label=f"Weight of {column}", info="below 0 leads away", elem_id=f"weight-{column}"
                )
                for column in names
            ]
            info = f"in the words of SQL, over {', '.join(columns[:12])}"
            where = gr.Textbox(
                label="Only rows where", info=info, placeholder="column = 'value' AND other < 50", max_lines=1, elem_id="where"
            )
            limit = gr.Slider(1, min(MOST, service.limits.found), value=12, step=1, label="How many", elem_id="how-many")
            search = gr.Button("Search", variant="primary", elem_id="search")
    found = html_place("", elem_id="found")
    for control, word in [(where, "where"), (limit, "limit"), *zip(weights, (f"weight.{column}" for column in names), strict=True)]:
        kit.keep(control, f"search.{word}")
    inputs, asked = [where, limit, *weights, *fields], kit.memory("search.asked", None)
    work = plainly(functools.partial(_search, service, names), 3)
    for event in (search.click, where.submit, *(field.submit for field in fields if isinstance(field, gr.Textbox))):
        on(event, work, inputs, [problem, found, asked])
    again = plainly(functools.partial(_again, service, names), 2)
    kit.shows["Search"].append(("", again, [asked], [problem, found]))


async def _search(service: Service, names: Sequence[str], where: Any, limit: Any, *given: Any) -> AsyncIterator[tuple[Any, ...]]:
    weights, payloads = given[: len(names)], given[len(names) :]
    cells = [as_cell(payload, name) for name, payload in zip(names, payloads, strict=True)]
    parts = [
        Part(name, cell, float(weight))
        for name, cell, weight in zip(names, cells, weights, strict=True)
        if cell is not None and isinstance(weight, int | float) and weight
    ]
    if not parts:
        raise InputError("there is nothing to look for", known=names, fix="give words, a picture or a sound, with a weight that is not 0")
    hits = await service.search(parts, limit=int(limit), where=str(where).strip() or None if where else None)
    yield await asyncio.to_thread(gallery, hits), [where, limit, *given]


async def _again(service: Service, names: Sequence[str], asked: Any) -> AsyncIterator[tuple[Any, ...]]:
    """What was found last, asked for anew: pictures and players are more than a browser keeps."""
    if not isinstance(asked, list) or len(asked) != 2 + 2 * len(names):
        return
    async for found, _ in _search(service, names, *asked):
        yield (found,)


def gallery(hits: Sequence[Hit]) -> str:
    """What was found, as cards."""
    if not hits:
        return "<p class='quiet' role='status'>Nothing was found: no row meets the condition.</p>"
    cards = "".join(_card(place, hit) for place, hit in enumerate(hits, start=1))
    return f"<p class='quiet' role='status'>{len(hits)} rows, the nearest first, with the cosine of each.</p><ol class='cards'>{cards}</ol>"


def _card(place: int, hit: Hit) -> str:
    shown = [(name, cell) for name, cell in hit.row.items() if cell is not None and name != "id"]
    media = "".join(_shown(cell) for _, cell in shown if isinstance(cell, Media))
    texts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_brief(cell))}</dd>" for name, cell in shown if not isinstance(cell, Media))
    head = f"<p><strong>{place}.</strong> <span class='quiet'>{hit.similarity:.3f} · {escape(hit.id)}</span></p>"
    return f"<li class='card'>{head}{media}<dl>{texts}</dl></li>"


def _brief(cell: Any) -> str:
    text = ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _shown(cell: Any) -> str:
    from triptych.data.several import each

    return "".join(_one(item) for item in each(cell))


def _one(cell: Any) -> str:
    whole = getattr(cell, "source", cell)
    room = room_of(whole, {name: room for name, room in rooms().items() if room.by_reference})
    try:
        return room.show(room.read(cell)) if room else f"<p class='quiet'>{escape(getattr(whole, 'name', 'a file'))}</p>"
    except BadValue as problem:
        return f"<p class='quiet'>{escape(problem.what)}</p>"
