"""Addresses are fetched from hosts of a list alone, and never from this machine or its network."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from triptych.web import fetch
from triptych.web.fetch import Fetcher, public
from triptych.web.limits import Limits
from triptych.web.problems import Refused, TooLarge

PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
PRIVATE += ["::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:a00:1", "64:ff9b::7f00:1", "2002:7f00:1::"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known(address):
    assert not public(address)


def test_public_addresses_are_known():
    assert public("93.184.216.34") and public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example/a",
        "http://example.org.evil.example/",
        "http://user@example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://example.org:99999/",
        "http://[::1]/",
        "http://127.0.0.1/",
        "http://example.org/a b",
        "http://example.org/\r\nhost: x",
        "http://exa\u24dcple.org/",
    ],
)
def test_other_addresses_are_not_asked_for(address):
    with pytest.raises(Refused):
        Fetcher(["example.org"], Limits(), resolve=lambda host, port: pytest.fail("it is looked up"))(address.replace("a b", "ä"))


def test_a_name_that_leads_inside_is_refused_whichever_of_its_addresses_does():
    for found in (["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], []):
        with pytest.raises(Refused, match="private"):
            Fetcher([".example.org"], Limits(), resolve=lambda host, port, found=found: found)("http://a.example.org/")


@contextmanager
def site(monkeypatch):
    """A web site on this machine, which is taken for one out in the world."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(f"{self.headers['host']} {self.path}")
            self.send_response({"/moved": 302}.get(self.path, 200))
            self.send_header("location", "http://127.0.0.1/secret")
            self.end_headers()
            self.wfile.write(b"x" * (5000 if self.path == "/large" else 50))

        def log_message(self, *words):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(fetch, "public", lambda address: True)
    yield server.server_port, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_address_that_was_looked_at_is_connected_to_and_no_redirect_is_followed(monkeypatch):
    with site(monkeypatch) as (port, asked):
        lookups = []
        fetcher = Fetcher(["shop.example"], Limits(body_bytes=2000), resolve=lambda host, port: lookups.append(host) or ["127.0.0.1"])
        assert fetcher(f"http://SHOP.example:{port}/a.png?b=c") == b"x" * 50
        assert asked == [f"shop.example:{port} /a.png?b=c"] and lookups == ["shop.example"]
        with pytest.raises(Refused, match="302"):
            fetcher(f"http://shop.example:{port}/moved")
        with pytest.raises(TooLarge):
            fetcher(f"http://shop.example:{port}/large")
