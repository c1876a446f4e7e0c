"""The contrastive loss alone: peak memory of forward and backward over many pairs, and its time against the whole matrix."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

WIDTH = 512
CHILD = """
import sys, torch
from torch.nn import functional as F
from triptych.objective.contrastive import contrastive_sigmoid, contrastive_softmax

def memory(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(word)) / 1024

def step(rows, width):
    a, b = (F.normalize(torch.randn(rows, width), dim=1).requires_grad_() for _ in range(2))
    scale, bias, group = torch.tensor(14.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True), torch.arange(rows)
    loss = contrastive_softmax(a, b, scale, group) if form == "softmax" else contrastive_sigmoid(a, b, scale, bias, group)
    loss.mean().backward()

form, rows, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
step(64, 8)  # what torch takes once
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak starts anew
before = memory("VmRSS")
step(rows, width)
print(memory("VmHWM") - before)
"""


def peak_megabytes(form: str, rows: int, width: int = WIDTH) -> float:
    """Of one forward and backward pass, embeddings and their gradients included, in a process of its own (Linux)."""
    done = subprocess.run([sys.executable, "-c", CHILD, form, str(rows), str(width)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(prog="loss", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=32_768, help="of which the peak is measured")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    whole = asked.pairs**2 * 4 / 2**20
    import torch
    from torch.nn import functional as F

    from triptych.objective import contrastive

    for form in ("softmax", "sigmoid"):
        peak = peak_megabytes(form, asked.pairs)
        print(
            f"{form}: {asked.pairs:,} pairs of {WIDTH} numbers, peak {peak:.0f} MB; the whole matrix alone is {whole:,.0f} MB", flush=True
        )
    a, b = (F.normalize(torch.randn(4096, WIDTH), dim=1).requires_grad_() for _ in range(2))
    group, scale = torch.arange(4096), torch.tensor(14.0)

    def seconds(strip: int) -> float:
        contrastive.STRIP = strip
        start = time.perf_counter()
        contrastive.contrastive_softmax(a, b, scale, group).mean().backward()
        return time.perf_counter() - start

    usual = contrastive.STRIP
    ratios = [seconds(usual) / seconds(2**62) for _ in range(asked.runs + 1)][1:]
    contrastive.STRIP = usual
    print(f"4,096 pairs: strips take {statistics.median(ratios):.2f} times the time of the whole matrix")


if __name__ == "__main__":
    main()
