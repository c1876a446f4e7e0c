"""The recipe of a run's next version: from its weights, slower and shorter, with what was said of its answers beside its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.settings import spelled_out
from triptych.run.recipe import LAST, Recipe, read
from triptych.use.lessons import CHOSEN, REJECTED, Lesson, Wanted
from triptych.use.opened import Run

EPOCHS = 5
SLOWER = 0.3
"""What the rate of the next version is of that of the run's last stage."""
SHARE = 0.25
"""How much of what is drawn in an epoch is feedback, as far as no row is drawn more than `OFTEN` times."""
OFTEN = 25.0


@dataclass(frozen=True)
class Plans:
    """How the next version is trained."""

    wanted: Wanted = field(default_factory=Wanted)
    epochs: int = EPOCHS
    weight: float | None = None
    """How often a row of feedback is drawn against one of the run's own; by default so that they make a quarter of an epoch."""
    changes: tuple[str, ...] = ()


def next_recipe(run: Run, learnt: Sequence[Lesson], own: int, plans: Plans, added: Path | None, decoder: Path | None) -> Recipe:
    """The recipe of the next version: the run's, from its weights, slower and shorter, with the feedback beside its rows."""
    old = run.recipe
    share = SHARE / (1 - SHARE) * own / max(1, len(learnt))
    weight = plans.weight or round(min(OFTEN, max(1.0, share)), 2)
    last = old.stages[-1]
    rate = {part: one * SLOWER for part, one in last.lr.items()} if isinstance(last.lr, dict) else last.lr * SLOWER
    stage = {**spelled_out(last), "epochs": plans.epochs, "lr": rate, "patience": None}
    tree = spelled_out(old)
    tree |= {"start": str(run.folder.path.resolve()), "approach": None, "stages": [stage], "search": {}, "forgetting": None, "track": None}
    tree["training"] = {**tree["training"], "select": LAST, "devices": 1, "check_batch": False}
    if added is not None:
        tree["data"] = {**tree["data"], "added": {"source": str(added.resolve()), "weight": weight}}
    pairs = [one for one in learnt if CHOSEN in one.row.cells]
    if pairs and decoder is not None:
        tree = with_preferences(tree, old, {name for one in pairs for name in one.tasks}, decoder)
    return read(tree, plans.changes, own=False)


def with_preferences(tree: dict[str, Any], old: Recipe, names: Iterable[str], decoder: Path) -> dict[str, Any]:
    """A recipe's tree with a task of preferences beside each task that has some, learnt by additions to the run's own decoder."""
    before: Any = old.decoder
    words = {word: value for word in ("context", "language", "speech", "look_every") if (value := getattr(before, word, None)) is not None}
    lora = {"rank": 8} if getattr(before, "lora", None) is None else spelled_out(before.lora)
    tasks = dict(tree["tasks"])
    for name in sorted(names):
        task: Any = old.tasks[name]
        asked = {"template": task.template, "system": task.system}
        tasks[f"better_{name}"] = {"kind": "prefer", "chosen": CHOSEN, "rejected": REJECTED, **asked}
    parts = [*old.inputs, "fusion", *(name for name, task in old.tasks.items() if task.kind not in ("generate", "prefer"))]
    stage = tree["stages"][0]
    trained = parts if "all" in stage["train"] else [one for one in stage["train"] if not one.startswith("decoder")]
    rate = max(stage["lr"].values()) if isinstance(stage["lr"], dict) else stage["lr"]
    stage = {**stage, "train": [*trained, "decoder.lora"], "lr": rate}
    base = {"kind": "pretrained", "name": str(decoder.resolve()), "lora": lora, **words}
    return {**tree, "tasks": tasks, "stages": [stage], "decoder": base}
