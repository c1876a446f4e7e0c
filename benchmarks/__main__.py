"""`make bench`: every figure of docs/performance.md, one after the other, each as a ratio measured in one run.

    python -m benchmarks                        all of it: hours
    python -m benchmarks --small                each on a small sample: does it run? Its figures say nothing
    python -m benchmarks contrast --steps 6     one, with options of its own; `python -m benchmarks contrast --help` lists them

Each runs in a process of its own, so that none inherits threads or memory from another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

SMALL = {
    "startup": "--runs 1",
    "features": "--clips 4 --rounds 1",
    "encoders": "--runs 1",
    "loss": "--pairs 2048 --runs 1",
    "waiting": "--rounds 1 --steps 1",
    "watch": "--epochs 1",
    "overhead": "--epochs 1 --turns 1",
    "processes": "--rows 300 --epochs 2 --turns 1",
    "contrast": "--rows 64 --judged 32 --epochs 1",
    "reading": "--share 0.02 --rounds 1",
    "building": "--rows 200",
    "memory": "--rows 100 200",
    "embedding": "--pictures 4 --texts 20 --clips 2",
    "finetune": "--clips 10 --epochs 1 --trials 2 --no-last --no-bf16",
    "decoder": "--places 256 --rows 4 --blocks 1 --turns 1",
    "serving": "--requests 40 --clients 1 8 --turns 1",
    "soak": "--requests 200 --clients 4",
    "answering": "--rows 16 --reference-rows 16 --blocks 1 --no-bf16",
    "together": "--rows 120 --epochs 1 --only together blind",
    "search": "--rows 51000 --width 32 --questions 40",
    "demo": "--seeds 0 --epochs 1",
}
"""Every benchmark, and its options for a small sample."""


def main() -> None:
    """Run the named benchmarks, or all; the exit code is that of the first that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(SMALL)}")
    parser.add_argument("--small", action="store_true", help="on a small sample")
    words = sys.argv[1:]
    if words and words[0] in SMALL and "--small" not in words and any(word.startswith("-") for word in words):
        raise SystemExit(measured(words[0], words[1:]))
    asked = parser.parse_args(words)
    if unknown := [name for name in asked.names if name not in SMALL]:
        parser.error(f"unknown benchmark {unknown[0]!r}; known: {', '.join(SMALL)}")
    codes = [measured(name, SMALL[name].split() if asked.small else []) for name in asked.names or SMALL]
    raise SystemExit(next((code for code in codes if code), 0))


def measured(name: str, options: list[str]) -> int:
    """Run one; its exit code."""
    print(f"\n## {' '.join([name, *options])}", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode


if __name__ == "__main__":
    main()
