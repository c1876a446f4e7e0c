"""Processor seconds of the light verbs, beside a Python that only imports torch."""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

COMMANDS = {
    "triptych --help": ["-m", "triptych", "--help"],
    "triptych schema": ["-m", "triptych", "schema"],
    "a recipe error": ["-m", "triptych", "train", "digits", "--set", "fusion=gatd"],
    "triptych recipes": ["-m", "triptych", "recipes"],
    "import torch": ["-c", "import torch"],
}


def cpu_seconds(words: list[str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for run in range(runs + 1):
        for name, words in COMMANDS.items():
            seconds = cpu_seconds(words)
            if run:  # the first fills the disk's cache and the .pyc files
                times[name].append(seconds)
    torch = statistics.median(times["import torch"])
    print(f"{'command':20} {'CPU s (median)':>15} {'min':>6} {'max':>6} {'of import torch':>16}")
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{name:20} {middle:15.2f} {min(seconds):6.2f} {max(seconds):6.2f} {middle / torch:16.2f}")


if __name__ == "__main__":
    main()
