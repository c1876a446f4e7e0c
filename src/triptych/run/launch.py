"""Start a command once for each device of this machine, and end all of it when one ends.

torchrun does the same and is welcome; but a wrong word in a recipe is to be answered with its message and exit code, not
with the stack traces of the launcher.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from triptych.base.errors import InputError, TriptychError
from triptych.base.plain import write_yaml
from triptych.base.settings import spelled_out
from triptych.data.rows import Source
from triptych.run.folder import RunFolder, open_folder
from triptych.run.recipe import Recipe

GRACE, ASKED = 15.0, 5.0
"""Seconds that the others have to end by themselves once one has ended badly, and then once they are asked to."""
ENDED = (0, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL)
"""Codes of a first process that had no chance to say what was wrong."""
MEMORY = ": by hand, or by the system where memory runs out"


def launch(words: Sequence[str], count: int, told: IO[bytes] | None = None) -> int:
    """Run `triptych WORDS` in so many processes; returns the exit code of the first that did not end well, else 0.

    What the first process prints is shown, or written to `told`. The others are silent, unless one ends badly while the
    first does not.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as others:
        running = [_started(words, rank, count, port, told, None if rank == 0 else others) for rank in range(count)]
        try:
            with _stopped_as_by_hand():
                failed = _waited(running)
        except KeyboardInterrupt:  # a terminal sends it to all of them, `kill` to this one alone
            _end(running, signal.SIGINT)
            raise
        if failed is None:
            return 0
        code = running[failed].returncode
        if failed or code < 0:
            others.seek(0)
            sys.stderr.write(others.read()[-4000:].decode(errors="replace") if running[0].returncode in ENDED else "")
        if code < 0:
            name = signal.Signals(-code).name
            print(f"process {failed} of 0 to {count - 1} was ended by {name}{MEMORY if name == 'SIGKILL' else ''}", file=sys.stderr)
    return code if code > 0 else 1


def train_shared(recipe: Recipe, out: str | Path | None, rows: Source | None) -> RunFolder:
    """Train a recipe that asks for several devices, from a program that is one process.

    Raises:
        InputError: `rows` come from the program, and other processes cannot have them.
        TriptychError: a process ended badly; its message stands on standard error.
    """
    if rows is not None:
        fix = "triptych.build(rows, 'my.lance'), and data: {source: my.lance}; or start the program itself with torchrun"
        raise InputError("rows made by a program cannot be given to the other processes", where="training.devices", fix=fix)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as told:
        path = Path(folder) / "recipe.yaml"
        path.write_text(write_yaml(spelled_out(recipe)), encoding="utf-8")
        words = ["train", str(path), "--json", *(["--out", str(out)] if out else [])]
        code = launch(words, recipe.training.devices, told)
        told.seek(0)
        lines = told.read().decode().strip().splitlines()
    if code:
        kind = InputError if code == InputError.exit_code else TriptychError
        raise kind("training in several processes ended badly", where=str(out or ""), fix="read the message above")
    return open_folder(json.loads(lines[-1])["run"])


def _started(
    words: Sequence[str], rank: int, count: int, port: int, told: IO[bytes] | None, errors: IO[bytes] | None
) -> subprocess.Popen[bytes]:
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, **{name: str(value) for name, value in about.items()}, "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "triptych", *words]
    return subprocess.Popen(command, env=environment, stdout=told if rank == 0 else subprocess.DEVNULL, stderr=errors)


def _waited(running: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; which of them ended badly first, if one did. The others would wait for it for ever, so they are ended too."""
    while None in (codes := [process.poll() for process in running]) and not any(codes):
        time.sleep(0.05)
    failed = next((number for number, code in enumerate(codes) if code), None)
    if failed is not None:
        _end(running, signal.SIGTERM)
    return failed


def _end(running: Sequence[subprocess.Popen[bytes]], ask: signal.Signals) -> None:
    """Leave them time to end by themselves, then ask them to, then do not ask."""
    for ending, seconds in ((None, GRACE), (ask, ASKED), (signal.SIGKILL, ASKED)):
        for process in running:
            if ending is not None and process.poll() is None:
                process.send_signal(ending)
        until = time.monotonic() + seconds
        while any(process.poll() is None for process in running) and time.monotonic() < until:
            time.sleep(0.05)
    for process in running:
        process.wait()


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """What a scheduler or `kill` sends to this process alone (SIGTERM) stops all of them, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread say so
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
