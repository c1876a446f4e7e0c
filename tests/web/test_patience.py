"""Connections with heads that are too large, too slow, or wish for another protocol."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time

import pytest

from triptych.web.guard import Guard
from triptych.web.limits import HEAD, Limits
from triptych.web.metrics import Metrics
from triptych.web.patience import Gathered
from triptych.web.serving import bound, server_of


async def echo(scope, receive, send):
    """An app that says what it was sent."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def at():
    limits = Limits(slow=0.6, body_bytes=100_000)
    server = server_of(Guard(echo, limits, Metrics(), (), (), ()), limits)
    server.config.lifespan = "off"
    listening = bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield listening.getsockname()[:2]
    server.should_exit = True
    thread.join(20)
    listening.close()


def heard(at, *parts: bytes) -> bytes:
    """All that comes back until the server hangs up, or says nothing for a while."""
    found = b""
    with socket.create_connection(at, timeout=2) as line:
        try:
            for part in parts:
                line.sendall(part)
            while some := line.recv(65536):
                found += some
        except OSError:
            pass
    return found


START = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = b'{"inputs": {"text": "a deep dark tone"}}'


@pytest.mark.parametrize(
    "parts",
    [
        (b"GET /health HTTP/1.1\r\nx: ", b"a" * HEAD * 24),
        (b"GET /health HTTP/1.1\r\n", b"".join(b"x%d: y\r\n" % n for n in range(HEAD // 2))),
        (START, b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"".join(b"x%d: y\r\n" % n for n in range(HEAD // 2))),
        (START, b"transfer-encoding: chunked\r\n\r\n2;", b"x" * HEAD * 24),
        (START, b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"),
        (b"CONNECT evil:443 HTTP/1.1\r\nhost: evil:443\r\n\r\n",),
    ],
)
def test_heads_without_end_are_refused(at, parts):
    assert heard(at, *parts).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("parts", [(), (b"GET /hea",), (b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /hea")])
def test_slow_heads_are_closed_the_second_of_a_connection_too(at, parts):
    assert heard(at, *parts).count(b"HTTP/1.1") == len(parts[1:])


def test_who_wishes_for_another_protocol_is_answered_in_this_one(at):
    wish = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
    asked = START + wish + b"content-length: %d\r\n\r\n" % len(BODY)
    found = heard(at, asked + BODY[:9], BODY[9:] + b"GET /health HTTP/1.1\r\nhost: a\r\n" + wish + b"\r\n")
    assert found.count(b"HTTP/1.1 200") == 2 and BODY in found


def test_who_sends_too_much_before_reading_hears_why(at):
    line = http.client.HTTPConnection(*at, timeout=10)
    line.request("POST", "/v1/predict", b" " * 150_000, {"content-type": "application/json"})
    told = line.getresponse()
    assert told.status == 413 and b"100,000 bytes" in told.read()
    line.close()


def test_the_head_and_body_of_an_answer_go_in_one_packet_and_what_comes_later_at_once():
    sent, loop = [], asyncio.new_event_loop()

    class Line:
        def is_closing(self):
            return False

        def write(self, data):
            sent.append(data)

        def close(self):
            sent.append("closed")

    async def answer():
        gathered = Gathered(Line(), loop)
        gathered.write(b"head ")
        gathered.write(b"body")
        assert not sent
        await asyncio.sleep(0)
        gathered.write(b"a piece of a stream")
        await asyncio.sleep(0)
        gathered.write(b"the last")
        gathered.close()
        await asyncio.sleep(0)

    loop.run_until_complete(answer())
    loop.close()
    assert sent == [b"head body", b"a piece of a stream", b"the last", "closed"]
