"""The routes that are asked most, past the layers of the framework: their answers cost little, and each layer takes its part of it.

FastAPI knows these routes too: it says of them what /docs shows, and answers every other method.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from triptych.base.errors import TriptychError
from triptych.web.told import as_problem

Answers = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Way:
    """A path, and what answers it: for the log a route like any other."""

    path: str
    answer: Answers


class Straight:
    """ASGI middleware: POST to one of some paths is answered here, and all else by the app."""

    def __init__(self, app: ASGIApp, ways: Mapping[str, Answers]) -> None:
        """`ways` by path."""
        self.app, self.ways = app, {path: Way(path, answer) for path, answer in ways.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. What goes wrong besides a refusal is told by the guard, which stands before."""
        way = self.ways.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if way is None:
            await self.app(scope, receive, send)
            return
        scope["route"], scope["app"] = way, self.app  # where there is an app, Starlette says what is wrong of a form as HTTP does
        try:
            answer = await way.answer(Request(scope, receive))
        except TriptychError as problem:
            answer = as_problem(problem)
        await answer(scope, receive, send)
