"""Two processes that share each step against one with the same threads in all: rows a second, and the share of communication.

python -m benchmarks processes
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TIMED = """
import atexit, json, os, time
import torch.distributed as dist
spent = 0.0
def timed(name):
    plain = getattr(dist, name)
    def call(*args, **words):
        global spent
        began = time.perf_counter()
        try:
            return plain(*args, **words)
        finally:
            spent += time.perf_counter() - began
    setattr(dist, name, call)
for name in ("all_gather", "all_reduce", "broadcast", "broadcast_object_list", "all_gather_object"):
    timed(name)
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from lightning.pytorch.strategies import DDPStrategy
def hook(state, bucket):
    global spent
    began = time.perf_counter()
    tensor = bucket.buffer().div_(dist.get_world_size())
    work = dist.group.WORLD.allreduce([tensor])
    work.wait()
    spent += time.perf_counter() - began
    done = __import__("torch").futures.Future()
    done.set_result(tensor)
    return done
plain = DDPStrategy.__init__
DDPStrategy.__init__ = lambda self, *args, **words: plain(self, *args, **{**words, "ddp_comm_hook": hook})
from triptych.run import stages as story
before = story.run_stage
def clocked(*args):
    global spent
    spent, began = 0.0, time.perf_counter()
    before(*args)
    if os.environ.get("RANK", "0") == "0":
        with open(os.environ["TOLD"], "w") as file:
            json.dump({"seconds": time.perf_counter() - began, "communication": spent}, file)
story.run_stage = clocked
from triptych.cli.main import run
run()
"""


def trained(folder: Path, name: str, count: int, epochs: int, limit: int | None) -> dict[str, float]:
    """Seconds of all steps, and of those spent in communication, of the digits recipe in so many processes."""
    threads = max(1, (os.cpu_count() or 1) // count)
    words = ["train", "digits", "--out", str(folder / name), "--set", f"stages.0.epochs={epochs}", "--set", f"training.threads={threads}"]
    words += ["--set", f"data.limit={limit}"] if limit else []
    told = folder / f"{name}.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        about = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {**os.environ, "TOLD": str(told), "MASTER_ADDR": "127.0.0.1"}
        environment |= {n: str(v) for n, v in about.items()} if count > 1 else {}
        command = [sys.executable, "-c", TIMED, *words, "--set", f"training.devices={count}"]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    if any(process.wait() for process in started):
        raise SystemExit(f"{name} ended badly")
    rows = json.loads((folder / name / "run.json").read_text())["rows"]["train"]
    found = json.loads(told.read_text())
    return {"rate": rows * epochs / found["seconds"], "share": found["communication"] / found["seconds"]}


def main() -> None:
    """In turns; the middle of the ratios, and their range."""
    parser = argparse.ArgumentParser(prog="processes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, help="of the demo's, drawn by their ids; by default all")
    asked = parser.parse_args()
    ratios, shares = [], []
    for turn in range(asked.turns):
        with tempfile.TemporaryDirectory() as name:
            one, two = (trained(Path(name), word, count, asked.epochs, asked.rows) for word, count in (("one", 1), ("two", 2)))
        ratios.append(two["rate"] / one["rate"])
        shares.append(two["share"])
        told = f"one process {one['rate']:.1f} rows/s, two {two['rate']:.1f}"
        print(f"turn {turn + 1}: {told}, {two['share']:.0%} of it in communication and waiting", flush=True)
    print(f"two processes to one: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"share of communication and waiting: {statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})")


if __name__ == "__main__":
    main()
