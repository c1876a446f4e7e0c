"""The app on a port: a socket of this machine unless told otherwise, keys from the environment, and an end that is clean."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.web.app import WHY
from triptych.web.limits import Limits

KEYS = "TRIPTYCH_KEYS"
SHORTEST = 16
"""Characters of a key: a shorter one is found by trying."""


def keys_of(environment: Mapping[str, str] | None = None) -> list[str]:
    """The keys that the environment names, with commas or spaces between them.

    Raises:
        InputError: one is too short to be a secret, or has letters that no header carries.
    """
    environment = os.environ if environment is None else environment
    keys = environment.get(KEYS, "").replace(",", " ").split()
    for key in keys:
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable():
            what = f"a key in {KEYS} is shorter than {SHORTEST} characters, or not of plain letters"
            raise InputError(what, fix=f"{KEYS}=$(python3 -c 'import secrets; print(secrets.token_urlsafe(24))')")
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine can call a host of that name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str) -> list[str]:
    """Under which names a server on a host is called: on this machine alone a page of another place could give its own name to it."""
    return ["localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host] if is_loopback(host) else []


def check_open(host: str, keys: Sequence[str], anybody: bool) -> None:
    """Raises InputError where others could call a server that asks for no key."""
    if not is_loopback(host) and not keys and not anybody:
        what = f"on {host} others can call this server, and {KEYS} names no key that they would need"
        raise InputError(what, fix=f"set {KEYS}, or add --anybody where the network itself keeps strangers out")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises:
        InputError: the port is taken, or may not be had.
    """
    found: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # said, or asyncio leaves Nagle on: 40 ms a request
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as problem:
        if found is not None:
            found.close()
        reason, other = getattr(problem, "strerror", None) or str(problem), port + 1 if port < 65535 else 8000
        fix = f"--port {other}, or --port 0 for any that is free"
        raise InputError(f"port {port} of {host} cannot be had: {reason}", fix=fix) from problem
    return found


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def serve(app: Any, listening: socket.socket, limits: Limits, ready: Callable[[str], None] = lambda url: None) -> None:
    """Answer until Ctrl-C or SIGTERM; `ready` is called with the address once it answers.

    Raises:
        InputError: a package is missing.
    """
    server = server_of(app, limits)

    async def run() -> None:
        work = asyncio.ensure_future(server.serve(sockets=[listening]))
        while not server.started and not work.done():
            await asyncio.sleep(0.02)
        if server.started:
            ready(url_of(listening))
        await work

    try:
        with settled(), asyncio.Runner(loop_factory=loop_of()) as runner:
            runner.run(run())
    except KeyboardInterrupt:  # uvicorn raises it again once all is ended
        return
    finally:
        listening.close()


@contextmanager
def settled() -> Iterator[None]:
    """Inside of it, Python looks for garbage only among what is made from here on.

    Libraries and models are hundreds of thousands of objects that stay: to look through all of them again and again stops every
    thread for half a second.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def server_of(app: Any, limits: Limits) -> Any:
    """An uvicorn with the server's bounds."""
    uvicorn = need("uvicorn", extra="serve", why=WHY)
    need("httptools", extra="serve", why=WHY)
    from triptych.web.patience import patient

    words = {"log_config": None, "access_log": False, "server_header": False, "ws": "none", "http": patient(limits.slow), "loop": "auto"}
    bounds = {"limit_concurrency": limits.connections, "timeout_keep_alive": 15, "timeout_graceful_shutdown": 3}
    return uvicorn.Server(uvicorn.Config(app, **words, **bounds))


def loop_of() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop: uvloop, where this system has it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made
