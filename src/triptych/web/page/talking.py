"""The tab *Chat*: a conversation with a run that answers in writing, word by word, with files among the words."""

from __future__ import annotations

import functools
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import gradio as gr

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.modalities import rooms
from triptych.use.chatting import Conversation
from triptych.use.opened import Run
from triptych.use.remarks import DOWN, UP
from triptych.web.checked import check_row
from triptych.web.page.judging import THANKS
from triptych.web.page.kit import Kit, as_cell, html_place, on, plainly, uploaded
from triptych.web.service import Service, Told

NEW: dict[str, Any] = {"said": [], "shared": {}, "given": {}, "id": None}
"""What a conversation is: what was said, files said with it, files that wait for a question, and the last answer's id."""


def answers_in_writing(run: Run) -> list[str]:
    """The tasks that can be talked to."""
    return [name for name, task in run.recipe.tasks.items() if task.kind == "generate"]


def build(kit: Kit, name: str) -> None:
    """The tab for one run."""
    run = kit.service.runs[name]
    tasks = answers_in_writing(run)
    if not tasks:
        kinds = ", ".join(f"{task} ({settings.kind})" for task, settings in run.recipe.tasks.items())
        html_place(f"<p class='quiet'>No task of {name} is answered in writing, so there is nobody to talk to. Its tasks are: {kinds}.</p>")
        return
    media = sorted(
        {suffix for settings in run.recipe.inputs.values() if _by_file(settings) for suffix in rooms()[settings.modality].suffixes}
    )
    problem = html_place("")
    task = gr.Dropdown(tasks, value=tasks[0], label="Task", visible=len(tasks) > 1, elem_id=f"chat-task-{name}")
    talk = kit.memory(f"{name}.talk", NEW)
    shown = gr.Chatbot(label="Conversation", height=420, buttons=["copy"], feedback_options=None, elem_id=f"chat-{name}", allow_tags=False)
    kit.keep(shown, f"{name}.chat")
    sources: Any = ["upload", "microphone"] if any(s.modality == "audio" for s in run.recipe.inputs.values()) else ["upload"]
    line = gr.MultimodalTextbox(
        label="Your question, and files for it",
        placeholder="Ask something",
        file_count="multiple",
        file_types=media or None,
        sources=sources if media else [],
        elem_id=f"line-{name}",
        max_plain_text_length=100_000,
    )
    html_place(f"<p class='quiet'>{_how(run, tasks[0])}</p>")
    with gr.Row():
        stop = gr.Button("Stop", size="sm", min_width=130, elem_id=f"stop-{name}")
        new = gr.Button("New conversation", size="sm", min_width=130, elem_id=f"new-{name}")
        up = gr.Button("Good answer", size="sm", min_width=130, elem_id=f"chat-up-{name}")
        down = gr.Button("Bad answer", size="sm", min_width=130, elem_id=f"chat-down-{name}")
    work = plainly(functools.partial(_say, kit.service, name), 4)
    said = on(line.submit, work, [line, task, talk, shown], [problem, shown, talk, line])
    stop.click(None, None, None, cancels=[said], api_visibility="private")
    for emptied in (new.click, shown.clear):
        on(emptied, lambda: ("", [], NEW), [], [problem, shown, talk])
    for button, rating in ((up, UP), (down, DOWN)):
        on(button.click, plainly(functools.partial(_rate, kit.service, rating), 1), [talk, task], [problem])
    kit.keep(task, f"{name}.chat-task")


def _by_file(settings: Any) -> bool:
    return rooms()[settings.modality].by_reference


def _how(run: Run, task: str) -> str:
    if Conversation(run, task).whole:
        return "The whole conversation goes in with each question; files go with the question they stand beside."
    return "Each question stands alone; files stay until others take their place."


async def _say(
    service: Service, name: str, line: Any, task: str, talk: Mapping[str, Any] | None, shown: list[Any] | None
) -> AsyncIterator[tuple[Any, ...]]:
    """A question and its answer, as it is written."""
    run, words = service.runs[name], str((line or {}).get("text") or "")
    held = {**NEW, **(talk or {})}
    files = [path for payload in (line or {}).get("files") or [] if (path := uploaded(payload)) is not None]
    given = {**held["given"], **{column: [str(path) for path in paths] for column, paths in _sorted(run, files).items()}}
    conversation = Conversation(run, task)
    conversation.said, conversation.shared, conversation.given = list(held["said"]), _blobs(held["shared"]), _blobs(given)
    row = conversation.row(words)
    await service.decoding(check_row, run.recipe, row, service.limits)
    asked = [{"role": "user", "content": {"path": str(path)}} for path in files]
    shown, text = [*(shown or []), *asked, *([{"role": "user", "content": words}] if words.strip() else [])], ""
    yield shown, gr.skip(), {"text": "", "files": []}
    async with aclosing(service.workers[name].pieces(lambda: conversation.answer(words))) as pieces:
        async for piece in pieces:
            text += piece
            yield [*shown, {"role": "assistant", "content": text}], gr.skip(), gr.skip()
    answer = Told(secrets.token_urlsafe(16), name, {task: {"said": text}}, 0.0)
    service.remember(answer, row)
    now = {**held, "said": conversation.said, "given": given, "id": answer.id}
    if conversation.whole:
        shared = {column: [*held["shared"].get(column, []), *given.get(column, [])] for column in {**held["shared"], **given}}
        now |= {"shared": shared, "given": {}}
    yield [*shown, {"role": "assistant", "content": text or "(nothing was written)"}], now, gr.skip()


def _sorted(run: Run, files: list[Path]) -> dict[str, list[Path]]:
    """Files by the input that reads them.

    Raises:
        InputError: no input does.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        fitting = [n for n, settings in run.recipe.inputs.items() if path.suffix.lower() in rooms()[settings.modality].suffixes]
        if not fitting:
            known = sorted({s for settings in run.recipe.inputs.values() for s in rooms()[settings.modality].suffixes})
            raise InputError(f"no input of this run reads a {path.suffix or 'suffixless'} file", known=known)
        found.setdefault(fitting[0], []).append(path)
    return found


def _blobs(paths: Mapping[str, list[str]]) -> dict[str, list[Any]]:
    """The content of files that were uploaded; words as they are."""
    found: dict[str, list[Any]] = {}
    for name, held in paths.items():
        cells = [as_cell({"path": path}, name) for path in held]
        found[name] = [cell for cell in cells if isinstance(cell, Blob)]
    return found


async def _rate(service: Service, rating: int, talk: Mapping[str, Any] | None, task: str) -> AsyncIterator[tuple[Any, ...]]:
    if not talk or not talk.get("id"):
        raise InputError("there is no answer yet", fix="ask something first")
    await service.remark(str(talk["id"]), task=task, rating=rating)
    yield (THANKS.format(what="a good answer" if rating == UP else "a bad answer"),)
