"""What of Gradio's own routes the page needs, and no more.

Gradio fetches addresses for its callers: `/gradio_api/file=https://...`, and every file in a form whose path is one. It also has
routes for recording, editing and watching its apps. None of that is served here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

API = "/gradio_api/"
OPEN = re.compile(
    r"(queue/(join|data)|upload|upload_progress|heartbeat/\w{1,64}|cancel|reset/?|startup-events|theme\.css|info/?|file=(?!.*://).*)"
)
"""Routes below `/gradio_api/` that a browser needs to show the page, send its events and get its own files back."""
SHUT = re.compile(r"/(monitoring|svelte|login_check|config/runs|dev)(/|$)")
MOST = 4 * 2**20
"""Bytes of an event: texts and names of files; files themselves are uploaded beforehand."""
ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*:")


class Guard:
    """Stands before the app."""

    def __init__(self, app: Any) -> None:
        """`app` is asked where nothing is against it."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not (path.startswith(API) or SHUT.match(path)):
            await self.app(scope, receive, send)
        elif not path.startswith(API) or not OPEN.fullmatch(path[len(API) :]):
            await refused(send, 404, "there is no such thing here")
        elif path == f"{API}queue/join":
            await self._event(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _event(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An event of the page: small, and with no address for a file."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MOST:
                await refused(send, 413, "the event is too large")
                return
            if not message.get("more_body"):
                break
        try:
            fetched = asks_to_fetch(json.loads(body))
        except (ValueError, RecursionError):
            await refused(send, 422, "the event is no JSON")
            return
        if fetched:
            await refused(send, 422, "a file that is an address is not fetched; upload the file")
            return
        sent = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def asks_to_fetch(value: Any) -> bool:
    """Whether anywhere in an event a file's path is an address."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if isinstance(one.get("path"), str) and ADDRESS.match(one["path"]):
                return True
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return False


async def refused(send: Send, status: int, what: str) -> None:
    """Answer a request that goes no further."""
    body = json.dumps({"detail": what}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
