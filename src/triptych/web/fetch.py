"""Addresses that a server may fetch for its callers: hosts of a list, and never an address of its own network.

The name is resolved once, every address it has is looked at, and the connection goes to one that was looked at: a name that
changes its address in between gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from triptych.web.limits import Limits
from triptych.web.problems import Refused, TooLarge

SECONDS = 10.0
PIECE = 65536
Resolve = Callable[[str, int], list[str]]


def addresses(host: str, port: int) -> list[str]:
    """All addresses of a host."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def public(address: str) -> bool:
    """Whether it is out in the world: no private, loopback, link-local, shared, multicast or reserved address, nor one mapped into IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = [found]
    if isinstance(found, ipaddress.IPv6Address):
        inner += [one for one in (found.ipv4_mapped, found.sixtofour, *(found.teredo or ())) if one is not None]
        if found in ipaddress.ip_network("64:ff9b::/96"):
            inner.append(ipaddress.ip_address(int(found) & 0xFFFFFFFF))
    return all(one.is_global and not one.is_multicast for one in inner)


class Fetcher:
    """Fetches what is behind an address."""

    def __init__(self, hosts: Sequence[str], limits: Limits, resolve: Resolve = addresses) -> None:
        """`hosts` are names, or `.example.org` for all names under one."""
        self.hosts, self.limits, self.resolve = [host.lower().rstrip(".") for host in hosts], limits, resolve

    def __call__(self, address: str) -> bytes:
        """The content.

        Raises:
            Refused: the host is not on the list or lies in a private network, or it does not give the content.
            TooLarge: it is larger than a body may be.
        """
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise Refused("this is no address") from None
        if parts.scheme not in ("http", "https") or parts.username is not None or not self._listed(host):
            raise Refused(f"nothing is fetched from {host[:100]!r}", known=self.hosts, fix="send the content, or serve with --allow-host")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii() or any(letter <= " " for letter in path):
            raise Refused("the address has letters that no address has", fix="write them as %XX")
        try:
            checked = self.resolve(host, port)
            if not checked or not all(map(public, checked)):
                raise Refused(f"{host!r} lies in a private network, and nothing is fetched from there")
            return self._got(_Checked(host, port, checked[0], parts.scheme == "https"), path)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise Refused(f"{host!r} could not be fetched from: {type(problem).__name__}") from None

    def _listed(self, host: str) -> bool:
        return any(host == one or (one.startswith(".") and host.endswith(one)) for one in self.hosts)

    def _got(self, connection: Any, path: str) -> bytes:
        until, found = time.monotonic() + SECONDS, bytearray()
        try:
            connection.request("GET", path, headers={"Accept": "*/*", "User-Agent": "triptych", "Connection": "close"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise Refused(f"the address answers with {answer.status}, and no other place is looked at")
            while piece := answer.read1(PIECE):
                found += piece
                if len(found) > self.limits.body_bytes:
                    raise TooLarge(f"what is behind the address is larger than {self.limits.body_bytes:,} bytes")
                if time.monotonic() > until:
                    raise Refused(f"the address took longer than {SECONDS:g} s")
        finally:
            connection.close()
        return bytes(found)


class _Checked(http.client.HTTPConnection):
    """A connection to one address, whatever its host's name means by now."""

    def __init__(self, host: str, port: int, address: str, secure: bool) -> None:
        super().__init__(host, port, timeout=SECONDS)
        self.address, self.secure = address, secure

    def connect(self) -> None:
        """To the address that was looked at; its certificate is the name's."""
        plain = socket.create_connection((self.address, self.port), SECONDS)
        self.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=self.host) if self.secure else plain
