"""Who may come in, and what is written down of it."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import time
from contextlib import suppress

import pytest

from triptych.base.errors import InputError
from triptych.web.limits import Limits
from triptych.web.service import Service
from triptych.web.serving import check_open, keys_of, names_of

KEY = "0123456789abcdef-key"


def test_a_key_is_asked_for_and_the_right_one_lets_in(client, tiny_run):
    some = client({"tiny": tiny_run}, keys=[KEY, "another-key-of-size"])
    basic = base64.b64encode(f"anna:{KEY}".encode()).decode()
    for value in (f"Bearer {KEY}", "bearer another-key-of-size", f"Basic {basic}"):
        assert some.get("/v1/runs", headers={"authorization": value}).status_code == 200
    for value in (
        "",
        "Bearer",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        KEY,
        f"Token {KEY}",
        "Basic ????",
        "Bearer ü".encode().decode("latin-1"),
    ):
        told = some.get("/v1/runs", headers={"authorization": value.encode("latin-1")})
        assert told.status_code == 401 and told.json()["error"]["type"] == "authentication_error"
        assert [one.split()[0] for one in told.headers.get_list("www-authenticate")] == ["Basic", "Bearer"]  # a header each, for Chromium
        assert KEY not in told.text
    assert some.get("/metrics").status_code == some.get("/docs").status_code == some.get("/openapi.json").status_code == 401
    assert some.get("/health").status_code == some.get("/ready").status_code == 200


def test_other_names_and_pages_of_other_places_may_not(client, tiny_run):
    some = client({"tiny": tiny_run}, hosts=names_of("127.0.0.1"), origins=["https://shop.example"])
    assert some.get("/v1/runs", headers={"host": "localhost:8000"}).status_code == 200
    assert some.get("/v1/runs", headers={"host": "[::1]:8000"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""):
        assert some.get("/v1/runs", headers={"host": host}).status_code == 403
    own = {"host": "localhost:8000"}
    assert some.get("/v1/runs", headers={**own, "origin": "http://localhost:8000"}).status_code == 200
    for origin in ("https://evil.example", "null", "http://localhost:9000"):
        told = some.post("/v1/predict", json={"inputs": {"text": "x"}}, headers={**own, "origin": origin})
        assert told.status_code == 403 and "access-control-allow-origin" not in told.headers
    allowed = some.get("/v1/runs", headers={**own, "origin": "https://shop.example"})
    assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == "https://shop.example"


def test_without_a_key_others_may_not_be_let_in_by_accident():
    check_open("127.0.0.1", [], False)
    check_open("0.0.0.0", [KEY], False)
    check_open("::", [], True)
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(InputError, match="TRIPTYCH_KEYS"):
            check_open(host, [], False)
    assert keys_of({"TRIPTYCH_KEYS": f" {KEY},{KEY}2 "}) == [KEY, f"{KEY}2"]
    with pytest.raises(InputError, match="shorter"):
        keys_of({"TRIPTYCH_KEYS": "secret"})


def test_what_is_written_down_has_no_content(client, tiny_run, caplog):
    some = client({"tiny": tiny_run})
    with caplog.at_level(logging.DEBUG, "triptych.web"):
        some.post("/v1/predict?word=hidden", json={"inputs": {"text": "a secret wish"}}, headers={"authorization": "Bearer hidden"})
        some.get("/v1/hidden%0a200 OK")
    assert [record.getMessage().split(" ms")[0].rpartition(" ")[0] for record in caplog.records if record.name == "triptych.web"] == [
        "POST /v1/predict 200",
        "GET other 404",
    ]
    assert "secret" not in caplog.text and "hidden" not in "".join(r.getMessage() for r in caplog.records if r.name == "triptych.web")
    counted = some.get("/metrics").text
    assert 'triptych_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in counted
    assert 'triptych_batch_rows_count{run="tiny"} 1.0' in counted and "hidden" not in counted


def spoken(url: str, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What a socket hears that says these pieces."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    found = b""
    with socket.create_connection((host, int(port)), 10) as line:
        line.settimeout(10)
        with suppress(ConnectionError):  # it may be closed while something is said
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause)
        with suppress(ConnectionError, TimeoutError):
            while piece := line.recv(65536):
                found += piece
    return found


def test_the_slow_and_the_crooked_are_answered_or_left(live, tiny_run):
    with live(Service({"tiny": tiny_run}, limits=Limits(slow=0.5))) as url:
        head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        slow = spoken(url, head + b"content-length: 100\r\n\r\n", b"{", b" ", b" ", b" ", pause=0.25)
        assert slow.startswith(b"HTTP/1.1 408") and b"0.5 s" in slow
        assert spoken(url, b"POST /v1/pre", pause=1.0) == b"", "a head that never ends"
        twice = spoken(url, head + b"content-length: 2\r\ncontent-length: 20\r\n\r\n{}")
        both = spoken(url, head + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        crooked = [spoken(url, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"), spoken(url, b"\x00\xff\r\n\r\n"), twice]
        endless = spoken(url, b"GET /v1/runs HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000 + b"\r\n\r\n")
        for told in [*crooked, endless, both]:
            assert told[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b""), told[:200]


def test_who_leaves_in_the_middle_of_a_body_is_no_failure_of_the_server(live, tiny_run, caplog):
    with live(Service({"tiny": tiny_run})) as url, caplog.at_level(logging.INFO, "triptych.web"):
        host, port = url.removeprefix("http://").strip("/").split(":")
        for kind in (b"application/json", b"multipart/form-data; boundary=a"):
            with socket.create_connection((host, int(port)), 10) as line:
                line.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: " + kind + b"\r\ncontent-length: 5000\r\n\r\n--a")
        until = time.monotonic() + 20
        while len([one for one in caplog.records if one.name == "triptych.web"]) < 2 and time.monotonic() < until:
            time.sleep(0.02)
    said = [one.getMessage() for one in caplog.records if one.name == "triptych.web"]
    assert len(said) == 2 and all(one.startswith("POST /v1/predict 499") for one in said), said


def test_only_so_many_are_worked_on_at_once(live, tiny_run):
    service = Service({"tiny": tiny_run}, limits=Limits(concurrency=2, slow=5))
    with live(service) as url:
        body = b'{"inputs": {"text": "a"}}'
        head = (
            b"POST /v1/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        found: list[bytes] = []
        waiting = [threading.Thread(target=lambda: found.append(spoken(url, head, body, pause=0.8))) for _ in range(2)]
        for one in waiting:
            one.start()
        time.sleep(0.4)
        told = spoken(url, head + body)
        assert told.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in told
        assert spoken(url, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        for one in waiting:
            one.join()
        assert all(one.startswith(b"HTTP/1.1 200") for one in found)
