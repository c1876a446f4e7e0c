"""Three tasks learnt together, each of them alone, and a model that is shown no picture or no voice: on the same steps.

    python -m benchmarks together                              the whole recipe `ask`, six times: two hours on two cores
    python -m benchmarks together --rows 900 --epochs 4        some of it

Every training has the same rows in the same order, the same sizes, seed and number of steps; a task that is not learnt is not in the
recipe. `blind` and `deaf` are asked without the picture, and without the voice: what the other and the words of the question give.
Beside them stands what costs nothing: the usual answer. Scores are those of the test rows.
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


def trainings() -> dict[str, tuple[list[str], list[str]]]:
    """What each training learns of the recipe's tasks, and what it changes besides."""
    only = ["answer"]
    return {
        "together": (list(TASKS), []),
        **{f"{name} alone": ([name], []) for name in TASKS},
        "blind, answer alone": (only, ['tasks.answer.template="{voice} {question}"']),
        "deaf, answer alone": (only, ['tasks.answer.template="{image} {question}"']),
    }


def recipe(folder: Path, tasks: Sequence[str]) -> Path:
    """The recipe `ask` with these of its tasks, as a file."""
    import yaml

    from triptych.run.recipe import shipped

    whole = yaml.safe_load(shipped()["ask"].read_text(encoding="utf-8"))
    whole["tasks"] = {name: task for name, task in whole["tasks"].items() if name in tasks}
    path = folder / f"{'-'.join(tasks)}.yaml"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


def train(path: Path, folder: Path, sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{name of a score: what was measured}.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    words = [word for one in sets for word in ("--set", one)]
    command = [sys.executable, "-m", "triptych", "train", str(path), *words, "--out", str(folder)]
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
        for number, (name, (learnt, sets)) in enumerate(chosen.items()):
            found = train(recipe(Path(root), learnt), Path(root) / f"run-{number}", [*same, *sets])
            cells = [f"{found[f'{task}.{score}']['trained']:.3f}" if task in learnt else "-" for task, score in TASKS.items()]
            print(f"{name:<22}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
            if not number:
                told = json.loads((Path(root) / "run-0" / "verdicts.json").read_text(encoding="utf-8"))
                usual = [told.get(task, {"baselines": {}})["baselines"].get("usual answer", {}).get(score) for task, score in TASKS.items()]
                print(f"{'the usual answer':<22}" + "".join(f"{'-' if one is None else f'{one:.3f}':>16}" for one in usual), flush=True)


if __name__ == "__main__":
    main()
