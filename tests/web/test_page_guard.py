"""What of Gradio's routes is served, and what the page takes for a file."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("gradio")

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.web.page import guard, kit


def answered(path: str, body: bytes = b"", pieces: int = 1) -> tuple[int, bytes]:
    """The status that a path has behind the guard; an app that is reached says 200 and the body that it was given."""
    sent, size = [], max(-(-len(body) // pieces), 1)
    waiting = [body[n : n + size] for n in range(0, len(body), size)] or [b""]

    async def app(scope, receive, send):
        whole = b""
        while True:
            message = await receive()
            whole += message["body"]
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": whole})

    async def receive():
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    asyncio.run(guard.Guard(app)({"type": "http", "path": path}, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/v1/predict", 200),
        ("/gradio_api/queue/data", 200),
        ("/gradio_api/file=/uploads/1/a.png", 200),
        ("/gradio_api/file=https://example.org/a.png", 404),
        ("/gradio_api/proxy=https://example.org/", 404),
        ("/gradio_api/call/ask", 404),
        ("/gradio_api/run/ask", 404),
        ("/gradio_api/vibe-edit/", 404),
        ("/gradio_api/process_recording", 404),
        ("/monitoring/summary", 404),
    ],
)
def test_only_what_the_page_needs_is_served(path, status):
    assert answered(path)[0] == status


def test_an_event_reaches_the_page_whole_and_one_that_would_fetch_does_not():
    event = json.dumps({"data": ["https://example.org is a text", {"path": "/uploads/1/a.png"}]}).encode()
    assert answered("/gradio_api/queue/join", event, pieces=4) == (200, event)
    for path in ("https://example.org/a.png", " file:///etc/passwd", "HTTP://127.0.0.1/"):
        status, said = answered("/gradio_api/queue/join", json.dumps({"data": [[{"deep": {"path": path}}]]}).encode())
        assert status == 422 and b"not fetched" in said
    assert answered("/gradio_api/queue/join", b"{")[0] == 422
    assert answered("/gradio_api/queue/join", b"1" * (guard.MOST + 1), pieces=3)[0] == 413


def test_a_file_of_a_form_lies_among_the_uploads_or_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "uploads/we ird.PNG").write_bytes(b"content")
    cell = kit.as_cell({"path": str(tmp_path / "uploads/we ird.PNG")}, "image")
    assert isinstance(cell, Blob) and bytes(cell) == b"content" and cell.name == "image.png"
    for path in (tmp_path / "secret.png", tmp_path / "uploads/../secret.png", tmp_path / "uploads/none.png", "/etc/passwd"):
        with pytest.raises(InputError, match="no longer on the server"):
            kit.as_cell({"path": str(path)}, "image")
    assert kit.as_cell("  ", "text") is None and kit.as_cell("a", "text") == "a" and kit.as_cell(None, "text") is None


def test_what_is_wrong_is_said_in_words_that_cannot_be_html():
    said = kit.problem_html(InputError("no <b>", known=["a&b"], fix="<script>"))
    assert "no &lt;b&gt;" in said and "a&amp;b" in said and "&lt;script&gt;" in said and "role='alert'" in said
