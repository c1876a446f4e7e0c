"""The digits recipe over three seeds: time, the worst of the six directions, accuracy from the picture alone."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import triptych


def main() -> None:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="the recipe's own by default")
    asked = parser.parse_args()
    shorter = [f"stages.0.epochs={asked.epochs}"] if asked.epochs else []
    heads = ("seed", "seconds", "worst direction", "mean recall@1", "picture alone", "sound alone", "text alone", "all")
    print("  ".join(f"{head:>{max(len(head), 5)}}" for head in heads))
    with tempfile.TemporaryDirectory() as folder:
        for seed in asked.seeds:
            run = triptych.train("digits", set=[f"training.seed={seed}", *shorter], out=Path(folder) / str(seed), quiet=True)
            scores = {score["name"]: score["trained"] for score in run.scores}
            directions = [value for name, value in scores.items() if name.startswith("match.recall@1 ")]
            alone = [scores[f"digit.accuracy from {column}"] for column in ("image", "audio", "text")]
            seconds = run.folder.read("run.json")["cost"]["seconds"]
            cells = (seed, seconds, min(directions), scores["match.recall@1"], *alone, scores["digit.accuracy"])
            shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
            print("  ".join(f"{cell:>{max(len(head), 5)}}" for cell, head in zip(shown, heads, strict=True)), flush=True)


if __name__ == "__main__":
    main()
