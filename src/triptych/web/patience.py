"""A connection with bounds on its head: how large it may be, and how long it may take to come.

The parser is llhttp, which keeps what is not yet whole for as long as it grows; here it is counted.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from triptych.web.limits import HEAD


class Gathered:
    """The transport of one answer: what is written in one step of the loop, its head and its body, goes in one packet.

    uvloop sends each piece at once, and a caller would be woken for the head alone.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing waits yet."""
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send with what comes in the same step."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Send what waits."""
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    def close(self) -> None:
        """Send what waits, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)


class Patient(HttpToolsProtocol):
    """A connection that says nothing, its head letter by letter, or one without end, is closed. `slow`: seconds that a head may take."""

    slow = 30.0

    def connection_made(self, transport: Any) -> None:
        """The first head is waited for."""
        super().connection_made(transport)
        self._unfinished = self._head = 0
        self._in_head = True
        self._late: asyncio.TimerHandle | None = self.loop.call_later(self.slow, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse some bytes; what belongs to nothing whole yet may not grow without end."""
        self._unfinished += len(data)
        self._data = data
        super().data_received(data)
        if self._unfinished > HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        elif self._in_head and self._late is None:
            self._late = self.loop.call_later(self.slow, self._close)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or one behind a body in chunks."""
        self._unfinished = 0
        self._head += len(name) + len(value)
        if self._head > 2 * HEAD:  # what is only a little too large is refused by the guard, in better words
            raise ValueError("the head is too large")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there. One that wishes for another protocol is read again without the wish, or its body would be lost."""
        if self.parser.should_upgrade():
            return
        self._in_head = False
        self._heard()
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, Gathered(self.transport, self.loop))

    def on_body(self, body: bytes) -> None:
        """Some of the body, which the guard counts."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of the request."""
        self._unfinished = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Behind what was answered before."""
        self._sent()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """The server ends; what is answered goes out."""
        self._sent()
        super().shutdown()

    def _sent(self) -> None:
        if self.cycle is not None and isinstance(self.cycle.transport, Gathered):
            self.cycle.transport.flush()

    def _unsupported_upgrade_warning(self) -> None:
        """Called where the parser stopped at a wish for HTTP/2 or a websocket, which Java's client utters with every request."""
        problem, data = sys.exc_info()[1], self._data
        while isinstance(problem, httptools.HttpParserUpgrade) and self.parser.get_method() != b"CONNECT":
            data = b"\r\n".join([*self._without_wish(), b"", data[problem.args[0] :]])
            self.parser, problem = httptools.HttpRequestParser(self), None
            try:
                self.parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as other:  # the second where another request came with this one
                problem = other
        if problem is not None:
            self.send_400_response("Invalid HTTP request received.")

    def _without_wish(self) -> list[bytes]:
        """The lines of the head that was read, less those that ask for another protocol."""
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % (name, value) for name, value in self.headers if name not in (b"upgrade", b"connection")]
        closes = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        return [*lines, b"connection: close"] if closes else lines

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()


def patient(slow: float) -> type[Patient]:
    """Connections whose heads may take so many seconds."""
    return type("Patient", (Patient,), {"slow": slow})
