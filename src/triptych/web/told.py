"""How HTTP says an answer or a problem: JSON, and for problems the shape that OpenAI's clients read."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from triptych.base.errors import InputError, TriptychError
from triptych.web.problems import Busy, Gone, Refused

log = logging.getLogger("triptych.web")
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large", 503: "overloaded_error"}


def told(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any plain value as JSON; what is no number there is null."""
    return Response(to_json(value, inf_nan_mode="null"), status, headers, "application/json")


def body_of(what: str, status: int, param: str | None = None) -> dict[str, Any]:
    """What is said of a problem."""
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": what, "type": kind, "param": param, "code": str(status)}}


def as_problem(problem: BaseException) -> Response:
    """A problem as an answer. What the caller can do something about is said; what is ours is logged, and said to be ours."""
    if isinstance(problem, Refused):
        again = {"retry-after": str(problem.after)} if isinstance(problem, Busy | Gone) else None
        return told(body_of(str(problem), problem.status, problem.param), problem.status, again)
    if isinstance(problem, InputError):
        return told(body_of(_without_places(problem), 400), 400)
    if isinstance(problem, HTTPException):
        return told(body_of(str(problem.detail), problem.status_code), problem.status_code, dict(problem.headers or {}))
    if isinstance(problem, TimeoutError):
        what = "the request took longer than this server takes for one\n  try:   ask for less, or come again later"
        return told(body_of(what, 503), 503, {"retry-after": "5"})
    log.error("a request failed: %s", type(problem).__name__, exc_info=problem)
    what = str(problem) if isinstance(problem, TriptychError) else "the server failed; its log says more"
    return told(body_of(what, 500), 500)


def _without_places(problem: InputError) -> str:
    """The message without names of this machine's folders."""
    return str(InputError(problem.what, known=problem.known, fix=problem.fix if "triptych " not in problem.fix else ""))


def listen(app: FastAPI) -> None:
    """Let an app say its problems so."""

    async def refused(_: Request, problem: Exception) -> Response:
        return as_problem(problem)

    async def invalid(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, RequestValidationError)
        first = problem.errors()[0]
        return told(body_of(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 400), 400)

    app.add_exception_handler(TriptychError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)


class About(BaseModel):
    """What is wrong, in the words of OpenAI's clients."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """An answer that is a problem."""

    error: About
