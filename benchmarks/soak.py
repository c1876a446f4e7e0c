"""20,000 mixed requests to one `triptych serve`: does its memory stay flat, and does everybody get their own answer?

    python -m benchmarks soak                             trains a small run of `digits`; some minutes
    python -m benchmarks soak --run runs/digits --plot memory.svg

Predictions and embeddings of all mixtures of inputs as JSON and as forms, remarks about answers, damaged files, unknown answers, bodies
cut off, from 16 clients. Every answer is compared with what the library says of the same row; memory is the server's resident set (Linux).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.serving import OURS, encoded, near, post, questions, trained

SHARES = {"predict": 40, "embed": 25, "form": 15, "remark": 8, "damaged": 6, "unknown": 4, "leaves": 2}
"""Of a hundred requests."""


class Soak:
    """Clients of one server, and what they met."""

    def __init__(self, run: Any, address: str, requests: int) -> None:
        """What is right is asked of the library first."""
        self.rows = questions(run, 400)
        self.address, self.requests = address, requests
        self.task = next(name for name, settings in run.recipe.tasks.items() if settings.kind == "classify")
        self.answers = [answer.tasks[self.task] for answer in run.predict_rows(self.rows)]
        found = run.embed_rows(self.rows)
        self.vectors = [{name: vectors[n] for name, vectors in found.items()} for n in range(len(self.rows))]
        self.count, self.wrong, self.kinds, self.statuses = 0, list[str](), Counter[str](), Counter[int]()
        self.turn = threading.Lock()

    def client(self, seed: int) -> None:
        """One client, until all is asked."""
        draw, line = random.Random(seed), http.client.HTTPConnection(self.address, timeout=120)
        while True:
            with self.turn:
                if self.count >= self.requests:
                    return
                self.count += 1
            kind = draw.choices(list(SHARES), list(SHARES.values()))[0]
            try:
                status, right = getattr(self, kind)(line, draw, draw.randrange(len(self.rows)))
            except (OSError, http.client.HTTPException) as problem:
                status, right = 0, kind == "leaves"
                line = http.client.HTTPConnection(self.address, timeout=120)
                kind = f"{kind}: {type(problem).__name__}" if not right else kind
            with self.turn:
                self.kinds[kind] += 1
                self.statuses[status] += 1
                if not right:
                    self.wrong.append(f"{kind} {status}")

    def predict(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """A row's answer is its own."""
        body = json.dumps({"inputs": encoded(self.rows[row]), "tasks": [self.task]}).encode()
        status, told = post(line, "/v1/predict", body)
        return status, status == 200 and near(told["tasks"][self.task], self.answers[row])

    def embed(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """A row's vectors are its own."""
        status, told = post(line, "/v1/embed", json.dumps({"inputs": encoded(self.rows[row])}).encode())
        return status, status == 200 and near(told["vectors"], self.vectors[row])

    def form(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """The same as a form."""
        parts = []
        for name, value in self.rows[row].items():
            file = '; filename="../../a"' if isinstance(value, bytes) else ""
            head = f'--part\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
            parts.append(head + (value if isinstance(value, bytes) else value.encode()) + b"\r\n")
        line.request("POST", "/v1/predict", b"".join(parts) + b"--part--\r\n", {"content-type": "multipart/form-data; boundary=part"})
        answer = line.getresponse()
        told = json.loads(answer.read())
        return answer.status, answer.status == 200 and near(told["tasks"][self.task], self.answers[row])

    def remark(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """An answer, and what is said of it; one in ten is kept, for every one makes a file."""
        _, told = post(line, "/v1/predict", json.dumps({"inputs": encoded(self.rows[row])}).encode())
        words = {"rating": draw.randint(1, 5)} if not draw.randrange(10) else {"rating": 9}
        status, _ = post(line, "/v1/feedback", json.dumps({"answer_id": told["id"], "task": self.task, **words}).encode())
        return status, status == (400 if words["rating"] == 9 else 201)

    def damaged(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """A file that is none costs a 400, and nobody else's answer."""
        status, _ = post(line, "/v1/predict", json.dumps({"inputs": {"image": "iVBORw0KGgo" + "A" * draw.randint(1, 500) * 4}}).encode())
        return status, status == 400

    def unknown(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """An answer that nobody gave."""
        status, _ = post(line, "/v1/feedback", json.dumps({"answer_id": str(draw.random()), "rating": 5}).encode())
        return status, status == 404

    def leaves(self, line: Any, draw: random.Random, row: int) -> tuple[int, bool]:
        """A body that is cut off."""
        other = http.client.HTTPConnection(self.address, timeout=10)
        other.putrequest("POST", "/v1/predict")
        other.putheader("content-length", "5000")
        other.endheaders(b'{"inputs"')
        other.close()
        return 0, True


def resident(process: int) -> float:
    """Megabytes that a process has in memory."""
    words = Path(f"/proc/{process}/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def plotted(points: list[tuple[int, float]], path: Path) -> None:
    """Memory over requests."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([count for count, _ in points], [size for _, size in points], color="#3f51b5")
    axes.set(
        xlabel="requests",
        ylabel="MB in memory",
        ylim=(0, 1.2 * max(size for _, size in points)),
        title="Memory of a server under mixed requests",
    )
    figure.savefig(path)


def main() -> None:
    """Ask, and say what was met; exit code 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run of the recipe digits; by default a small one is trained")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--plot", help="an SVG of the memory")
    asked = parser.parse_args()
    run = trained(asked.run)
    with tempfile.TemporaryDirectory() as remarks:
        words = ["--port", "0", "--no-page", "--json", "--quiet", "--feedback", remarks]
        with subprocess.Popen([*OURS, str(run.folder.path), *words], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            address = json.loads(server.stdout.readline())["url"].removeprefix("http://").strip("/")
            soak, points = Soak(run, address, asked.requests), list[tuple[int, float]]()
            threads = [threading.Thread(target=soak.client, args=(seed,)) for seed in range(asked.clients)]
            for one in threads:
                one.start()
            while any(one.is_alive() for one in threads):
                points.append((soak.count, resident(server.pid)))
                threads[0].join(1.0)
                next((one for one in threads if one.is_alive()), threads[0]).join(0.5)
            points.append((soak.count, resident(server.pid)))
            server.terminate()
    if asked.plot:
        plotted(points, Path(asked.plot))
    warm = next((size for count, size in points if count >= asked.requests * 0.2), points[-1][1])
    print(f"{soak.count:,} requests: {dict(soak.kinds)}; statuses {dict(soak.statuses)}")
    print(f"wrong or mixed up: {len(soak.wrong)} {Counter(soak.wrong).most_common(5) if soak.wrong else ''}")
    print(f"memory: {points[0][1]:.0f} MB at first, {warm:.0f} MB after a fifth, {points[-1][1]:.0f} MB at the end")
    sys.exit(bool(soak.wrong) or 500 in soak.statuses)


if __name__ == "__main__":
    main()
