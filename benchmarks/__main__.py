"""`make bench`: every figure of docs/performance.md, one after the other, each as a ratio measured in one run."""

from __future__ import annotations

import importlib
import sys

ALL = (
    "startup",
    "features",
    "encoders",
    "loss",
    "waiting",
    "watch",
    "overhead",
    "processes",
    "contrast",
    "reading",
    "building",
    "memory",
    "embedding",
    "finetune",
    "decoder",
    "demo",
)


def main() -> None:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or ALL
    for name in names:
        sys.argv = [name]  # a benchmark may have options of its own when it is run alone
        print(f"\n## {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
