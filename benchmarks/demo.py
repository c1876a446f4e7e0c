"""The digits recipe over three seeds: time, the worst of the six directions, accuracy from the picture alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import triptych

SEEDS = (0, 1, 2)


def main() -> None:
    print(f"{'seed':>4} {'seconds':>8} {'worst direction':>16} {'mean recall@1':>14} {'picture alone':>14} {'sound alone':>12} {'text alone':>11} {'all':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = triptych.train("digits", set=[f"training.seed={seed}"], out=Path(folder) / str(seed), quiet=True)
            scores = {score["name"]: score["trained"] for score in run.scores}
            directions = [value for name, value in scores.items() if name.startswith("match.recall@1 ")]
            alone = [scores[f"digit.accuracy from {column}"] for column in ("image", "audio", "text")]
            seconds = run.folder.read("run.json")["cost"]["seconds"]
            print(
                f"{seed:4} {seconds:8.1f} {min(directions):16.3f} {scores['match.recall@1']:14.3f} "
                f"{alone[0]:14.3f} {alone[1]:12.3f} {alone[2]:11.3f} {scores['digit.accuracy']:6.3f}"
            )


if __name__ == "__main__":
    main()
