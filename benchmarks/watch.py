"""What ledger and monitors cost: their share of the time of training the demo, measured inside one run."""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def timed(spent: dict[str, float], name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with its seconds added to `spent`."""

    @functools.wraps(plain)
    def call(*words: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return plain(*words, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start

    return call


def main() -> None:
    parser = argparse.ArgumentParser(prog="watch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    sets = [f"stages.0.epochs={parser.parse_args().epochs}", "training.check_batch=false"]
    from triptych.run import fit
    from triptych.run.recipe import read
    from triptych.run.watch import Watch

    spent: dict[str, float] = {}
    fit.train_stages = timed(spent, "training", fit.train_stages)
    for name in ("step", "gradient", "epoch"):
        setattr(Watch, name, timed(spent, name, getattr(Watch, name)))
    with tempfile.TemporaryDirectory() as folder:
        fit.fit(read("digits", sets), Path(folder) / "run", quiet=True)
    whole = spent.pop("training")
    parts = ", ".join(f"{name} {seconds / whole:.1%}" for name, seconds in spent.items())
    print(f"ledger and monitors: {sum(spent.values()) / whole:.1%} of {whole:.0f} s of training ({parts})")


if __name__ == "__main__":
    main()
