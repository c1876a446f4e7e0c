"""Voices rated blind: a folder of recordings in an order that is drawn, without names, 1 to 5, and what came of it."""

from __future__ import annotations

import asyncio
import functools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.modalities import rooms
from triptych.use.opened import Run
from triptych.use.opinion import mos
from triptych.use.remarks import Remark
from triptych.web.page.kit import Kit, as_cell, html_place, on, once
from triptych.web.service import Service

SCALE = [("5 excellent", 5), ("4 good", 4), ("3 fair", 3), ("2 poor", 2), ("1 bad", 1)]
"""The five words of absolute category rating, ITU-T Recommendation P.800 (1996), annex B."""
HOW = (
    "<p class='quiet'>Choose recordings; they are played one by one, in an order that is drawn, without their names. "
    "How good is the voice? Mean opinion score (ITU-T P.800) with its 95 % interval: Student's over raters, as votes of one rater are "
    "not independent (cluster-robust variance, Liang and Zeger 1986); it takes two raters.</p>"
)
NEW: dict[str, Any] = {"files": [], "at": 0}


def build(kit: Kit, name: str) -> Any:
    """The part of the tab for one run; the event that keeps a vote."""
    html_place(HOW)
    problem = html_place("", elem_id=f"voices-told-{name}")
    ballot = kit.memory(f"{name}.ballot", NEW)
    files = gr.File(
        label="Recordings", file_count="multiple", file_types=sorted(rooms()["audio"].suffixes), height=130, elem_id=f"voices-{name}"
    )
    rater = gr.Textbox(label="Your name or pseudonym; votes without one count as of one rater", max_lines=1, elem_id=f"voices-rater-{name}")
    kit.keep(rater, f"{name}.voices-rater")
    with gr.Row():
        start = gr.Button("Start", variant="primary", size="sm", elem_id=f"voices-start-{name}")
        results = gr.Button("Show results", size="sm", elem_id=f"voices-results-{name}")
    with gr.Column(visible=False) as booth:
        voice = gr.Audio(label="Voice", interactive=False, buttons=[], elem_id=f"voice-{name}")
        score = gr.Radio(SCALE, label="How good is it?", elem_id=f"score-{name}")
        following = gr.Button("Keep and go on", size="sm", elem_id=f"voices-next-{name}")
    table = html_place("", elem_id=f"voices-table-{name}")
    outputs = [problem, ballot, booth, voice, score, table]
    on(start.click, once(functools.partial(_start, kit.service, name), 6), [files], outputs)
    voted = on(following.click, once(functools.partial(_vote, kit.service, name), 6), [ballot, score, rater], outputs)
    on(results.click, once(functools.partial(_results, kit.service, name), 2), [], [problem, table])
    kit.opens(once(functools.partial(_booth, kit.service, name), 6), [ballot], outputs)
    return voted


def voice_column(run: Run) -> str:
    """What a voice is called in the table of feedback: the run's first input of sound, or `voice`."""
    return next((name for name, settings in run.recipe.inputs.items() if settings.modality == "audio"), "voice")


async def _start(service: Service, name: str, payloads: Any) -> AsyncIterator[tuple[Any, ...]]:
    payloads = payloads if isinstance(payloads, list) else [payloads] if payloads else []
    held = [{"path": one["path"], "name": str(one.get("orig_name") or Path(one["path"]).name)} for one in payloads]
    if not held:
        raise InputError("there are no recordings", fix="choose some files first")
    for one in held:
        await service.decoding(_readable, one)
    random.SystemRandom().shuffle(held)
    async for found in _booth(service, name, {"files": held, "at": 0}):
        yield found


def _readable(one: Mapping[str, str]) -> None:
    """Raises BadValue where a recording cannot be heard."""
    rooms()["audio"].read(_cell(one))


def _cell(one: Mapping[str, str]) -> Blob:
    cell = as_cell({"path": one["path"]}, "voice")
    assert isinstance(cell, Blob)
    return cell


async def _booth(service: Service, name: str, ballot: Any) -> AsyncIterator[tuple[Any, ...]]:
    """The voice whose turn it is; the results after the last."""
    ballot = {**NEW, **(ballot if isinstance(ballot, dict) else {})}
    files, at = ballot["files"], int(ballot["at"])
    if not files:
        yield ballot, gr.skip(), gr.skip(), gr.skip(), gr.skip()
    elif at >= len(files):
        table = await asyncio.to_thread(results_html, service, name)
        yield NEW, gr.update(visible=False), None, None, table
    else:
        cell = _cell(files[at])
        nameless = save_bytes_to_cache(bytes(cell), cell.name, get_upload_folder())
        yield ballot, gr.update(visible=True), gr.update(value=nameless, label=f"Voice {at + 1} of {len(files)}"), None, ""


async def _vote(service: Service, name: str, ballot: Any, score: Any, rater: str) -> AsyncIterator[tuple[Any, ...]]:
    if score not in (1, 2, 3, 4, 5):
        raise InputError("no score was chosen", fix="listen, and choose 1 to 5")
    one = ballot["files"][int(ballot["at"])]
    cells = {voice_column(service.runs[name]): _cell(one)}
    words = {"score": float(score), "rater": (rater or "").strip(), "note": one["name"]}
    await service.decoding(functools.partial(service.feedback[name].say, cells, **words))
    async for found in _booth(service, name, {**ballot, "at": int(ballot["at"]) + 1}):
        yield found


async def _results(service: Service, name: str) -> AsyncIterator[tuple[Any, ...]]:
    yield (await asyncio.to_thread(results_html, service, name),)


def results_html(service: Service, name: str) -> str:
    """Every voice that was rated so far, the best first, with its interval."""
    heard: dict[tuple[str, str], list[Remark]] = defaultdict(list)
    for kept in service.feedback[name].remarks():
        if kept.remark.kind == "listening":
            heard[kept.remark.note or kept.remark.id, kept.remark.input_hash].append(kept.remark)
    if not heard:
        return "<p class='quiet'>No voice was rated yet.</p>"
    found = sorted(((voice, mos(votes)) for (voice, _), votes in heard.items()), key=lambda pair: -pair[1]["mean"])
    rows = "".join(_line(voice, one) for voice, one in found)
    head = "".join(f"<th scope='col'>{word}</th>" for word in ("voice", "mean", "95 % interval", "votes", "raters"))
    return f"<div class='scroll'><table><caption>Mean opinion scores, 1 to 5</caption><tr>{head}</tr>{rows}</table></div>"


def _line(voice: str, one: Mapping[str, Any]) -> str:
    span = f"{one['low']:.2f} to {one['high']:.2f}" if one["low"] is not None else "needs two raters who differ"
    cells = f"<td>{one['mean']:.2f}</td><td>{span}</td><td>{one['votes']}</td><td>{one['raters']}</td>"
    return f"<tr><th scope='row'>{escape(voice)}</th>{cells}</tr>"
