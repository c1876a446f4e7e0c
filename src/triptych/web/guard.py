"""The door: who may come in, how much a request may bring and how long it may take, and what is written down of it.

It stands before everything else of the app, the page included. Time and number of requests are bounded for /v1 alone: a page keeps
connections open for as long as somebody looks at it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triptych.web.limits import HEAD, Limits
from triptych.web.metrics import Metrics
from triptych.web.problems import Busy, LongHead, NoKey, NotAllowed, Refused, TooLarge, TooSlow
from triptych.web.told import as_problem

log = logging.getLogger("triptych.web")
OPEN = ("/health", "/ready")
"""Told to everybody: whoever watches over a server has no key."""

PATIENCE = 2.0
"""Seconds in which what is left of a refused body may come."""
CHALLENGES = [
    (b"www-authenticate", b'Basic realm="triptych: any name, and a key as the password"'),
    (b"www-authenticate", b"Bearer"),
]
"""A header each: Chromium asks nobody for a password where both stand in one."""


class Keys:
    """Who knows one of them may come in; without any, everybody may."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Keys as they are."""
        self.keys = [key.encode() for key in keys]

    def admits(self, authorization: str) -> bool:
        """`Bearer KEY`, or `Basic` with the key as the password, as a browser asks for it.

        Every key is compared, and each in a time that says nothing of where it differs.
        """
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode("latin-1").partition(":")[2]
            except (binascii.Error, ValueError):
                given = ""
        elif kind.lower() != "bearer":
            given = ""
        found = [hmac.compare_digest(given.strip().encode("latin-1", "replace"), key) for key in self.keys]
        return any(found) or not self.keys


class Guard:
    """ASGI middleware. `hosts` and `origins`: names under which the app is called, and pages of others that may call it."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, keys: Sequence[str], hosts: Sequence[str], origins: Sequence[str]
    ) -> None:
        """Without `hosts` any name will do."""
        self.app, self.limits, self.metrics, self.keys = app, limits, metrics, Keys(keys)
        self.hosts, self.origins = {host.lower() for host in hosts}, set(origins)
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        visit = Visit(scope, receive, send, self.limits)
        try:
            self._admit(scope)
            visit.check_length()
            await self._inside(visit, scope)
        except ClientDisconnect:
            pass  # nobody is there to be told, and nothing of ours is wrong: 499 in the log
        except Exception as problem:
            await visit.refuse(problem)
        finally:
            self._written_down(visit, scope)

    async def _inside(self, visit: Visit, scope: Scope) -> None:
        if not scope["path"].startswith("/v1/"):
            await self.app(scope, visit.receive, visit.send)
            return
        if self.working >= self.limits.concurrency:
            raise Busy(f"{self.limits.concurrency} requests are worked on already", fix="come again in a moment")
        self.working += 1
        self.metrics.working.set(self.working)
        try:
            async with asyncio.timeout(self.limits.time):
                await self.app(scope, visit.receive, visit.send)
        finally:
            self.working -= 1
            self.metrics.working.set(self.working)

    def _admit(self, scope: Scope) -> None:
        """Raises where the caller may not come in."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope.get("raw_path") or b"") > HEAD:
            raise LongHead(f"the request's head is larger than {HEAD:,} bytes")
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        called = headers.get("host", [""])
        if len(called) > 1:
            raise Refused("there are several Host headers")
        if self.hosts and _name(called[0]) not in self.hosts:
            fix = f"call it as {min(self.hosts)}, or serve with --host and the name it should have"
            raise NotAllowed(f"{called[0][:100]!r} is no name of this server", fix=fix)
        origin = headers.get("origin", [None])[0]
        if origin is not None and origin not in self.origins and urlsplit(origin).netloc != called[0]:
            raise NotAllowed("a page of another place may not call this server", fix="serve with --allow-origin and the page's origin")
        if scope["path"] in OPEN or (scope["method"] == "OPTIONS" and origin in self.origins):  # a browser asks before it sends a key
            return
        if not self.keys.admits(headers.get("authorization", [""])[0]):
            raise NoKey("a key is needed, and it must be right", fix="the header Authorization: Bearer KEY")

    def _written_down(self, visit: Visit, scope: Scope) -> None:
        """One line a request, and the counters: where, how it ended, how long it took, how large it was. Nothing that was said."""
        seconds = time.perf_counter() - visit.began
        route = scope.get("route")
        path = getattr(route, "path", None) or ("page" if visit.status < 400 and route is None else "other")
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") else "other"
        status = visit.status or 499  # who left before an answer
        self.metrics.request(method, path, status, seconds, visit.received, visit.sent)
        log.info("%s %s %d %.1f ms %d bytes in %d bytes out", method, path, status, seconds * 1000, visit.received, visit.sent)


def _name(host: str) -> str:
    """Host header -> name without its port, brackets kept from IPv6."""
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower().rstrip(".")


class Visit:
    """One request on its way: what has come, what has gone, and what was wrong with it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        """Nothing has come yet."""
        self.scope, self._receive, self._send, self.limits = scope, receive, send, limits
        self.began = time.perf_counter()
        self.received = self.sent = self.status = 0
        self.problem: Refused | None = None
        self._whole = False
        self._refused = False

    def check_length(self) -> None:
        """Raises where the head promises too much."""
        for name, value in self.scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self.limits.body_bytes):
                raise self._too_large()

    def _too_large(self) -> TooLarge:
        most = self.limits.body_bytes
        return TooLarge(f"the request's body is larger than the {most:,} bytes that are taken", fix="send less at once")

    async def receive(self) -> Message:
        """What comes, counted and timed; after the whole body only the caller's leaving is waited for."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self.began + self.limits.slow - time.perf_counter())):
                message = await self._receive()
        except TimeoutError:
            self.problem = TooSlow(f"the request did not come within {self.limits.slow:g} s")
            raise self.problem from None
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self.received > self.limits.body_bytes:
                self.problem = self._too_large()
                raise self.problem
        return message

    async def send(self, message: Message) -> None:
        """What goes, counted; where the body was refused, that is said, whatever the app made of it."""
        if self.problem is not None and not self.status:
            await self.refuse(self.problem)
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]}
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, problem: BaseException) -> None:
        """Say what is wrong, if nothing was said yet; what was begun is cut off."""
        if self.status:
            if not self._refused and not isinstance(problem, TimeoutError):
                raise problem
            return
        self._refused = True
        answer = as_problem(problem)
        self.status, self.sent = answer.status_code, len(answer.body)
        headers = list(answer.raw_headers)
        if isinstance(problem, NoKey):
            headers += CHALLENGES
        if not self._whole:
            headers.append((b"connection", b"close"))  # the rest of a body is not read
        await self._send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await self._drain()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self) -> None:
        """Let the rest of a body come, and forget it: a caller who sends all before it reads would find the connection broken.

        For a moment, and as much again as would have been taken; who sends more is cut off.
        """
        left = self.limits.body_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not self._whole and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._whole = message["type"] != "http.request" or not message.get("more_body", False)
