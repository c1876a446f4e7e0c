"""Three tasks learnt together, each of them alone, and a model that is shown no picture or no voice: on the same steps.

    python -m benchmarks together                              the whole recipe `ask`, six times: two hours on two cores
    python -m benchmarks together --rows 900 --epochs 4        some of it

Every training has the same rows in the same order, the same sizes, seed and number of steps; what a task does not learn has the weight 0.
`blind` and `deaf` are asked without the picture, and without the voice: what the other and the words of the question give. Beside
them stands what costs nothing: the usual answer. Scores are those of the test rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TASKS = {"answer": "exact", "caption": "bleu", "heard": "wer"}
"""The recipe's tasks, and the score by which each is told here."""


def trainings() -> dict[str, list[str]]:
    """What each training changes in the recipe."""
    alone = {f"{name} alone": [f"tasks.{other}.weight=0" for other in TASKS if other != name] for name in TASKS}
    only = alone["answer alone"]
    return {
        "together": [],
        **alone,
        "blind, answer alone": [*only, 'tasks.answer.template="{voice} {question}"'],
        "deaf, answer alone": [*only, 'tasks.answer.template="{image} {question}"'],
    }


def train(folder: Path, sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{name of a score: what was measured}.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    words = [word for one in sets for word in ("--set", one)]
    command = [sys.executable, "-m", "triptych", "train", "ask", *words, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{folder.name} failed:\n{done.stderr[-3000:]}")
    return {one["name"]: one for one in json.loads((folder / "scores.json").read_text(encoding="utf-8"))}


def main() -> None:
    """Train all of them and tell their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=0, help="of all sides together; 0: all")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[], help="the first letters of some of the trainings: together blind")
    args = parser.parse_args()
    same = [f"stages.0.epochs={args.epochs}", *([f"data.limit={args.rows}"] if args.rows else [])]
    chosen = {name: sets for name, sets in trainings().items() if not args.only or any(name.startswith(word) for word in args.only)}
    with tempfile.TemporaryDirectory() as root:
        print(f"{'':<22}" + "".join(f"{f'{task}.{score}':>16}" for task, score in TASKS.items()), flush=True)
        for number, (name, sets) in enumerate(chosen.items()):
            found = train(Path(root) / f"run-{number}", [*same, *sets])
            learnt = [task for task in TASKS if f"tasks.{task}.weight=0" not in sets]
            cells = [f"{found[f'{task}.{score}']['trained']:.3f}" if task in learnt else "-" for task, score in TASKS.items()]
            print(f"{name:<22}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
            if not number:
                told = json.loads((Path(root) / "run-0" / "verdicts.json").read_text(encoding="utf-8"))
                usual = [told[task]["baselines"].get("usual answer", {}).get(score) for task, score in TASKS.items()]
                print(f"{'the usual answer':<22}" + "".join(f"{'-' if one is None else f'{one:.3f}':>16}" for one in usual), flush=True)


if __name__ == "__main__":
    main()
