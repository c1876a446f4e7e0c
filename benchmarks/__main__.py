"""`make bench`: every figure of docs/performance.md, one after the other, each as a ratio measured in one run."""

from __future__ import annotations

import importlib
import sys

ALL = ("startup", "features", "encoders", "demo")


def main() -> None:
    """Run the named benchmarks, or all."""
    for name in sys.argv[1:] or ALL:
        print(f"\n## {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
