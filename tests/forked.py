"""Processes for tests that need one of their own, without Python's start and the imports: forked from one that has done both.

`python -m triptych` reads torch, Lightning and more before it does anything, which takes seconds of a processor, every time.
Here a server reads them once and forks a child for each program that is asked for. A child has its own words, environment,
folder and standard streams, can be killed, and ends with the exit code that the program would have had:

    done = forked.run("train", recipe, "--out", folder)             # as subprocess.run of `python -m triptych train ...`
    with forked.start("serve", run) as process: ...                 # as subprocess.Popen
    done = forked.run_code("import triptych; ...", path)            # as `python -c`

The server has no threads and has not imported Lance, whose threads would not live on in a child. Where the start of Python
itself is what a test is about (what is imported, how a seed of hashes matters), it starts Python: see test_house.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
TRIPTYCH = "from triptych.cli.main import run; run()"
TOGETHER = "from tests.forked import start_together; start_together()\n"
"""Said before a program that starts others by `--devices`: they are forked too."""
ASK, HOLD = b"?", b"h"
"""What one who connects wants: a child, or that the server stays."""
PLACE = "TRIPTYCH_TESTS_FORK_AT"
"""In the environment of a child: where the server listens."""


class Forked:
    """A program that runs in a forked child; used as `subprocess.Popen` is, which it is not: the server is the parent."""

    def __init__(self, server: socket.socket, stdin: IO[str] | None, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self._server, self._told = server, server.makefile("r")
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.pid, self.returncode = int(self._told.readline()), None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code once there is one; minus the signal where one ended it."""
        if self.returncode is None:
            if not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
            self._server.close()
        return self.returncode

    def communicate(self, input: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write to it, read all that it says, wait for its end."""
        said: dict[str, str] = {}

        def read(name: str, file: IO[str]) -> None:
            said[name] = file.read()

        files = {"out": self.stdout, "err": self.stderr}
        readers = [threading.Thread(target=read, args=(name, file), daemon=True) for name, file in files.items() if file]
        for reader in readers:
            reader.start()
        if self.stdin and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(input)
                self.stdin.close()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self.close()
        return said.get("out", ""), said.get("err", "")

    def send_signal(self, number: int) -> None:
        """To the child, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close its streams."""
        for file in (self.stdin, self.stdout, self.stderr):
            if file:
                file.close()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *problem: object) -> None:
        self.kill()
        self.wait(60)
        self.close()


def ask(
    place: str, code: str, words: Sequence[object], env: Mapping[str, str] | None = None, cwd: str | Path | None = None, **streams: Any
) -> Forked:
    """Have the server at `place` fork a child that runs `code` with `words` as sys.argv[1:].

    `stdin`, `stdout` and `stderr` are what they are for `subprocess.Popen`: PIPE, DEVNULL, a file, or None for one's own.
    """
    theirs, mine = [], []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        asked, end = streams.get(name), None
        if asked == subprocess.PIPE:
            out, into = os.pipe()
            theirs.append(out if number == 0 else into)
            end = os.fdopen(into if number == 0 else out, "w" if number == 0 else "r", encoding="utf-8", buffering=1)
        elif asked == subprocess.DEVNULL:
            theirs.append(os.open(os.devnull, os.O_RDWR))
        else:
            theirs.append(os.dup(number if asked is None else asked if isinstance(asked, int) else asked.fileno()))
        mine.append(end)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    about = {
        "code": code,
        "words": [str(word) for word in words],
        "env": {**(env or os.environ), PLACE: place},
        "cwd": str(cwd or Path.cwd()),
    }
    socket.send_fds(connection, [ASK], theirs)
    connection.sendall(json.dumps(about).encode() + b"\n")
    for number in theirs:
        os.close(number)
    return Forked(connection, *mine)


class Server:
    """Asks the process that forks, which is started when it is first needed and serves all processes of one run of pytest."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the whole run, whatever process of it this is."""
        self.folder, self.place, self.holding = folder, str(folder / "fork"), None

    def started(self) -> str:
        """Where it listens."""
        if self.holding is None:
            with (self.folder / "fork.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not Path(self.place).exists():
                    # What is read when torch is imported: as in a process with nothing beside it, and in one of several that train.
                    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
                    subprocess.run([sys.executable, "-m", "tests.forked", self.place], cwd=ROOT, env=env, check=True)
                self.holding = socket.socket(socket.AF_UNIX)
                self.holding.connect(self.place)
                self.holding.sendall(HOLD)
        return self.place

    def end(self) -> None:
        """It ends when nobody needs it any more."""
        if self.holding is not None:
            self.holding.close()

    def start(self, *words: object, code: str = TRIPTYCH, **more: Any) -> Forked:
        """`triptych WORDS`, or the `code`, in a process that can be waited for, talked to and killed."""
        return ask(self.started(), code, words, **more)

    def run(self, *words: object, timeout: float = 250, **more: Any) -> subprocess.CompletedProcess[str]:
        """`triptych WORDS` to its end; what it said, and its exit code."""
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        with self.start(*words, **more) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess([str(word) for word in words], process.wait(), out, err)

    def run_code(self, code: str, *words: object, **more: Any) -> subprocess.CompletedProcess[str]:
        """The code to its end, as `python -c` would run it."""
        return self.run(*words, code=code, **more)


def start_together() -> None:
    """In a child: what `--devices` starts is forked too, and not started anew."""
    from triptych.run import launch

    launch._started = started_together  # type: ignore[assignment]


def started_together(words: Sequence[str], rank: int, count: int, port: int, told: Any, errors: Any, code: str = TRIPTYCH) -> Forked:
    """Takes the place of `triptych.run.launch._started`."""
    about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    env = {**os.environ, "MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in about.items()}}
    stdout = told if rank == 0 else subprocess.DEVNULL
    return ask(os.environ[PLACE], code, words, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors)


def serve(place: str) -> None:
    """Import, go into the background, and fork a child for everyone who asks, as long as somebody holds on to it."""
    read_all()
    gc.collect()
    gc.freeze()
    assert "lance" not in sys.modules and threading.active_count() == 1, "what has threads must not be forked"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(64)
    if os.fork():
        os._exit(0)  # whoever started it knows that it is ready
    ended, ends = socket.socketpair()
    ends.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends.fileno(), warn_on_full_buffer=False)
    holders, children = set[socket.socket](), dict[int, socket.socket]()
    while True:
        ready, _, _ = select.select([listening, ended, *holders], [], [])
        if ended in ready:
            ended.recv(4096)
            tell_ends(children)
        if listening in ready:
            asking, _ = listening.accept()
            kind, streams, _, _ = socket.recv_fds(asking, 1, 3)
            if kind == HOLD:
                holders.add(asking)
            else:
                pid = forked(asking, streams)
                children[pid] = asking
        for connection in holders.intersection(ready):
            connection.close()
            holders.discard(connection)
            if not holders:
                return


def tell_ends(children: dict[int, socket.socket]) -> None:
    """Tell those who asked for children that have ended how they ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(BrokenPipeError), children.pop(pid) as asked:
            asked.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def read_all() -> None:
    """What programs of triptych import: all of it but the server's page, and what a training asks for late. Lance has threads."""
    import triptych

    for module in pkgutil.walk_packages(triptych.__path__, "triptych."):
        if not module.name.startswith("triptych.web"):
            importlib.import_module(module.name)
    importlib.import_module("sklearn.linear_model")


def forked(asking: socket.socket, streams: Sequence[int]) -> int:
    """Fork a child that becomes what is asked for; its number is told."""
    with asking.makefile("rb") as lines:
        about = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        become(about, streams)
    for number in streams:
        os.close(number)
    with contextlib.suppress(BrokenPipeError):
        asking.sendall(f"{pid}\n".encode())
    return pid


def become(about: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be the program that was asked for; never returns."""
    for place, number in enumerate(streams):
        os.dup2(number, place)
        os.close(number)
    os.environ.clear()
    os.environ.update(about["env"])
    os.chdir(about["cwd"])
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        file = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 (they are open to the end)
        setattr(sys, name, file)
        setattr(sys, f"__{name}__", file)
    sys.argv = ["triptych", *about["words"]]
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    code = 1
    try:
        with whole_program():
            exec(compile(about["code"], "<forked>", "exec"), main.__dict__)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        for file in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                file.flush()
        os._exit(code)


@contextlib.contextmanager
def whole_program() -> Iterator[None]:
    """At its end, what Python does at the end of a program: threads are waited for, and what asked to be called is."""
    import atexit

    try:
        yield
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


if __name__ == "__main__":
    serve(sys.argv[1])
