"""Requests a second of `triptych serve` beside a plain FastAPI handler that answers one at a time, under 1, 8 and 32 clients.

    python -m benchmarks serving                          trains a small run of `digits`, then some minutes of requests
    python -m benchmarks serving --run runs/digits        with a run that is there
    python -m benchmarks serving --requests 200 --clients 1 8

Both are servers of their own on a port of this machine, with the same run, the same uvicorn and as many threads of torch. The plain one
is what one would write first: a handler that decodes what is sent, asks the run for the same task or for vectors, and gives it back, behind
a lock, since one model answers one at a time. It computes no more than ours is asked for: `run.predict` alone would answer every task. Each
client is a connection that stays open and asks again as soon as it is answered; the requests are the same for both, and every answer is
compared with the library's own. In turns, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAIN = """
import base64, json, os, sys, threading
import uvicorn
from fastapi import FastAPI, Request, Response
import torch
import triptych
from triptych.web.serving import bound, url_of

run, turn = triptych.open_run(sys.argv[1]), threading.Lock()
torch.set_num_threads(int(sys.argv[2]))
app = FastAPI()

def row_of(asked):
    return {name: base64.b64decode(value) if name in ("image", "audio") else value for name, value in asked["inputs"].items()}

@app.post("/v1/predict")
def predict(asked: dict):
    with turn:
        row = row_of(asked)
        answer = run.answers([row], [run.read_row(row)], asked["tasks"])[0]
    return {"tasks": answer.tasks}

@app.post("/v1/embed")
def embed(asked: dict):
    with turn:
        found = run.embed_rows([row_of(asked)])
    return {"vectors": {name: vectors[0] for name, vectors in found.items()}}

run.predict(text="one")
listening = bound("127.0.0.1", 0)
print(json.dumps({"url": url_of(listening)}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, http="httptools", loop="auto")).run([listening])
"""
OURS = [sys.executable, "-c", "from triptych.cli.main import run; run()", "serve"]
SMALL_RUN = ["stages.0.epochs=1"]


@dataclass
class Load:
    """What some clients met."""

    seconds: list[float]
    wall: float
    wrong: int
    processor: float = 0.0
    """Seconds that the server's process computed."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.wall

    @property
    def cost(self) -> float:
        """Milliseconds of the server's processor a request."""
        return 1000 * self.processor / len(self.seconds)

    def share(self, part: float) -> float:
        """Milliseconds under which that share of the requests was answered."""
        return 1000 * sorted(self.seconds)[min(int(part * len(self.seconds)), len(self.seconds) - 1)]


@dataclass(frozen=True)
class Server:
    """A server on this machine."""

    address: str
    process: int

    def processor(self) -> float:
        """Seconds that it has computed in all its threads; only Linux says so."""
        try:
            words = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return math.nan
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def program(command: Sequence[str]) -> Iterator[Server]:
    """A server that says where it is in one line of JSON."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Server(told["url"].removeprefix("http://").strip("/"), process.pid)
        finally:
            process.terminate()
            process.wait(30)


def post(line: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, Any]:
    """One request on an open connection."""
    line.request("POST", path, body, {"content-type": "application/json"})
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


def questions(run: Any, count: int) -> list[dict[str, Any]]:
    """Rows of the run's own sample with a picture, a voice, a text, or some of them; no two alike."""
    from triptych.run.opening import open_table
    from triptych.run.progress import Voice

    table = open_table(run.recipe, Voice(quiet=True))
    found = []
    for number in range(count):
        cells = table.rows[number % len(table.rows)].cells
        kept = [name for place, name in enumerate(run.recipe.inputs) if number % 7 >> place & 1 or number % 7 == 0]
        row = {name: cells[name] for name in kept if cells.get(name) is not None} or {"text": f"the number {number}"}
        if "text" in row:
            row["text"] = f"{row['text']} {number}"
        found.append({name: Path(value).read_bytes() if isinstance(value, Path) else value for name, value in row.items()})
    return found


def encoded(row: dict[str, Any]) -> dict[str, str]:
    """A row as JSON carries it."""
    return {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in row.items()}


def near(found: Any, expected: Any, most: float = 1e-5) -> bool:
    """Whether all numbers are equal to `most`."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(near(found.get(name), expected[name], most) for name in expected)
    if isinstance(expected, list):
        return (
            isinstance(found, list) and len(found) == len(expected) and all(near(a, b, most) for a, b in zip(found, expected, strict=True))
        )
    return abs(found - expected) <= most if isinstance(expected, float) and isinstance(found, float) else found == expected


def load(server: Server, path: str, bodies: Sequence[bytes], expected: Sequence[Any], clients: int) -> Load:
    """All bodies, shared out among some clients; each asks again as soon as it is answered."""
    met = Load([], 0.0, 0)
    waiting, turn = iter(range(len(bodies))), threading.Lock()

    def client() -> None:
        line = http.client.HTTPConnection(server.address, timeout=120)
        while True:
            with turn:
                number = next(waiting, None)
            if number is None:
                line.close()
                return
            begun = time.perf_counter()
            status, told = post(line, path, bodies[number])
            seconds = time.perf_counter() - begun
            key = "tasks" if "predict" in path else "vectors"
            with turn:
                met.seconds.append(seconds)
                met.wrong += status != 200 or not near(told[key], expected[number])

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun, computed = time.perf_counter(), server.processor()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    met.wall, met.processor = time.perf_counter() - begun, server.processor() - computed
    return met


def trained(path: str | None) -> Any:
    """A run: the one that is named, or a small one."""
    import triptych

    if path:
        return triptych.open_run(path)
    folder = Path(tempfile.mkdtemp()) / "digits"
    return triptych.train("digits", set=SMALL_RUN, out=folder, quiet=True)


def measured(run: Any, requests: int, clients: Sequence[int], turns: int, threads: int) -> None:
    """Both servers, in turns, and the table."""
    rows = questions(run, requests)
    task = next(name for name, settings in run.recipe.tasks.items() if settings.kind == "classify")
    answers = [{task: answer.tasks[task]} for answer in run.predict_rows(rows)]
    vectors = run.embed_rows(rows)
    expected = {"predict": answers, "embed": [{name: found[n] for name, found in vectors.items()} for n in range(len(rows))]}
    bodies = {
        "predict": [json.dumps({"inputs": encoded(row), "tasks": [task]}).encode() for row in rows],
        "embed": [json.dumps({"inputs": encoded(row)}).encode() for row in rows],
    }
    folder = str(run.folder.path)
    words = ["--port", "0", "--no-page", "--json", "--quiet", "--threads", str(threads)]
    with program([*OURS, folder, *words]) as ours, program([sys.executable, "-c", PLAIN, folder, str(threads)]) as plain:
        print("| what | clients | ours, requests/s | plain | ratio | ours p50, p99 ms | plain p50, p99 ms | processor ms | wrong |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for kind, sent in bodies.items():
            for address in (ours, plain):
                load(address, f"/v1/{kind}", sent[:20], expected[kind], 2)  # what is made once
            for count in clients:
                pairs = [tuple(load(at, f"/v1/{kind}", sent, expected[kind], count) for at in (ours, plain)) for _ in range(turns)]
                print(line(kind, count, pairs), flush=True)


def line(kind: str, clients: int, pairs: Sequence[tuple[Load, ...]]) -> str:
    """A line of the table: medians of all turns; the ratio of each turn is one of its own."""
    mine, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ratio = statistics.median(a.rate / b.rate for a, b in pairs)

    def times(loads: Sequence[Load]) -> str:
        return ", ".join(f"{statistics.median(one.share(part) for one in loads):.1f}" for part in (0.5, 0.99))

    rates = [f"{statistics.median(one.rate for one in loads):.0f}" for loads in (mine, theirs)]
    costs = ", ".join(f"{statistics.median(one.cost for one in loads):.2f}" for loads in (mine, theirs))
    wrong = sum(one.wrong for pair in pairs for one in pair)
    return f"| {kind} | {clients} | {rates[0]} | {rates[1]} | {ratio:.2f} | {times(mine)} | {times(theirs)} | {costs} | {wrong} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run of the recipe digits; by default a small one is trained")
    parser.add_argument("--requests", type=int, default=600, help="requests of each kind, number of clients and turn")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch, for both servers")
    asked = parser.parse_args()
    measured(trained(asked.run), asked.requests, asked.clients, asked.turns, asked.threads)


if __name__ == "__main__":
    main()
