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
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from triptych.base.errors import InputError, TriptychError
from triptych.base.plain import write_yaml
from triptych.base.settings import spelled_out
from triptych.data.rows import Source
from triptych.run.folder import RunFolder, open_folder
from triptych.run.recipe import Recipe

GRACE = 15.0
"""Seconds that the others have to end by themselves once one has ended badly."""


def launch(words: Sequence[str], count: int, told: IO[bytes] | None = None) -> int:
    """Run `triptych WORDS` in so many processes; returns the exit code of the first that did not end well, else 0.

    What the first process prints is shown, or written to `told`. The others are silent, unless one ends badly while the
    first does not.
    """
    port = _free_port()
    with tempfile.TemporaryFile() as others:
        running = [_started(words, rank, count, port, told, None if rank == 0 else others) for rank in range(count)]
        try:
            code = _waited(running)
        except KeyboardInterrupt:  # the terminal sends it to all of them
            for process in running:
                process.wait()
            raise
        if code and running[0].returncode in (0, -signal.SIGTERM, -signal.SIGKILL):
            others.seek(0)
            sys.stderr.write(others.read()[-4000:].decode(errors="replace"))
    return code


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


def _waited(running: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; where one ends badly the others would wait for it for ever, so they are ended too."""
    failed = None
    while any(process.poll() is None for process in running):
        failed = next((process.returncode for process in running if process.returncode), None)
        if failed is not None:
            break
        time.sleep(0.05)
    if failed is None:
        return next((process.returncode for process in running if process.returncode), 0)
    until = time.monotonic() + GRACE
    while any(process.poll() is None for process in running) and time.monotonic() < until:
        time.sleep(0.05)
    for ending in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.poll() is None:
                process.send_signal(ending)
        time.sleep(0.5 if any(process.poll() is None for process in running) else 0)
    for process in running:
        process.wait()
    return failed if failed > 0 else 1


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
