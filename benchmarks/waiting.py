"""How long threads wait for each other: one training step beside a busy process, and on an idle machine."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

COUNTS = (1000, 5000, 20_000, 100_000)
WORDS = {"torch's default": {}} | {f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)} for count in COUNTS}
STEP = """
import sys, time, torch
from torch import nn
blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), 4, enable_nested_tensor=False)
optimiser = torch.optim.AdamW(blocks.parameters())
x = torch.rand(64, 32, 64)
steps = int(sys.argv[1])
for step in range(3 + steps):
    if step == 3:
        began = time.perf_counter()
    optimiser.zero_grad()
    blocks(x).square().mean().backward()
    optimiser.step()
print((time.perf_counter() - began) / steps)
"""


def step_seconds(words: dict[str, str], steps: int) -> float:
    """Seconds of one training step in a new process; the setting is read when torch is loaded."""
    environment = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | words
    done = subprocess.run([sys.executable, "-c", STEP, str(steps)], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(rounds: int, steps: int) -> list[float]:
    """Median seconds of a step under each setting, taking turns."""
    turns = [[step_seconds(words, steps) for words in WORDS.values()] for _ in range(rounds)]
    return [statistics.median(turn) for turn in zip(*turns, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="waiting", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="of each process, after three that are not timed")
    asked = parser.parse_args()
    idle = measure(asked.rounds, asked.steps)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            beside = measure(asked.rounds, asked.steps)
        finally:
            busy.kill()
    print(f"{'':>26} {'beside a busy process':>22} {'idle machine':>14}")
    for name, slow, alone in zip(WORDS, beside, idle, strict=True):
        print(f"{name:>26} {slow * 1000:>19.0f} ms {alone * 1000:>11.0f} ms")


if __name__ == "__main__":
    main()
