"""How a training that was stopped goes on to the very weights it would have had, and a finished one for some epochs more.

    state.safetensors    the last state: weights, optimiser, schedule, order of rows, random numbers, what was best so far
    untouched.safetensors  what was measured before the first step

The state is written after a step or an epoch, when enough time has gone since the last one, and at the end of every stage.
Whatever was done after it is done again, with the same random numbers, so it comes out the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.base.errors import InputError
from triptych.base.files import write_text
from triptych.base.ranks import Ranks
from triptych.base.settings import spelled_out
from triptych.data.facts import Facts
from triptych.data.table import Table
from triptych.objective.scores import Score
from triptych.run.baselines import Told
from triptych.run.folder import RunFolder, refuse_newer
from triptych.run.measure import Measured, Mixed
from triptych.run.recipe import Recipe
from triptych.run.state import read_state, write_state
from triptych.run.writing import Written

FREE = ("name", "about", "report", "training.save_seconds", "track", "search")
"""What a recipe may say otherwise when a run goes on: nothing of it reaches the weights."""
LOGS = ("log.jsonl", "ledger.jsonl")
"""Files with a line an epoch."""
SHARE = 20
"""Of the time, at most one part in so many goes into writing the state."""


@dataclass
class Course:
    """Where a training stands, in plain values: everything else of its state is written beside it."""

    stage: int = 0
    before: int = 0
    """Epochs done in earlier stages."""
    epochs: int = 0
    """Whole epochs done in this stage."""
    since: int = 0
    """Epochs in all, after which patience counts: those of the run that this one continues."""
    ended: bool = False
    """Whether this stage is done, early or not."""
    early: bool = False
    best: dict[str, Any] = field(default_factory=dict)
    stops: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """What the training has cost so far."""

    def following(self) -> Course:
        """At the start of the next stage."""
        return Course(self.stage + 1, self.before + self.epochs, since=self.since, best=self.best, stops=self.stops, seconds=self.seconds)


Start = tuple[Course, dict[str, Any]]
"""Where a run stands, and the rest of its state: `model`, `optimizer`, `schedule`, `sums`, `loader`, `watch`, `random`."""


class Clock:
    """Whether it is time to write the state again: seconds apart, and never more than a share of the work."""

    def __init__(self, every: float) -> None:
        """`every` so many seconds, at the earliest."""
        self.every, self.last, self.took = every, time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether enough time has gone."""
        return time.monotonic() - self.last >= max(self.every, SHARE * self.took)

    @contextmanager
    def written(self) -> Iterator[None]:
        """Time one writing."""
        start = time.monotonic()
        yield
        self.last = time.monotonic()
        self.took = self.last - start


def seed_random(seed: int) -> None:
    """Set every generator that a training may ask.

    Lightning's own `seed_everything` is not used: it keeps the seed in the environment, and a trainer of several processes
    sets it again at the start of every stage, so that a training taken up in the middle would draw the first numbers again.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Of every generator that a training may ask."""
    name, keys, *rest = np.random.get_state(legacy=True)
    version, numbers, gauss = random.getstate()
    found = {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, list(numbers), gauss],
    }
    return {**found, "cuda": torch.cuda.get_rng_state_all()} if torch.cuda.is_available() else found


def restore_random(state: Mapping[str, Any]) -> None:
    """Put every generator where it was."""
    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def fingerprint(table: Table, facts: Facts, columns: list[str]) -> str:
    """A word for the rows that are learnt from: ids, sides, the content of every value, and the cells of `columns`."""
    told = hashlib.sha256(json.dumps([list(table.rows.ids()), list(table.splits)]).encode())
    for column, seen in facts:
        told.update(f"\n{column}\n".encode() + seen.rows.tobytes() + seen.content.tobytes())
    for column in columns:
        for cell in table.rows.cells(column):
            told.update(f"{cell!r}\n".encode("utf-8", "surrogatepass"))
    return told.hexdigest()[:24]


def keep_untouched(run: RunFolder, untouched: Measured, simple: Mapping[str, Told]) -> None:
    """Write down what was measured before the first step."""
    written = {name: dict(vars(held)) for name, held in untouched.written.items()}
    tree = {**vars(untouched), "scores": [list(score) for score in untouched.scores], "written": written}
    write_state(run.untouched, {"measured": tree, "simple": dict(simple)})


def read_untouched(run: RunFolder) -> tuple[Measured, dict[str, Told]]:
    """What `keep_untouched` wrote."""
    tree = read_state(run.untouched)
    held = tree["measured"]
    mixed = {task: {of: Mixed(*parts) for of, parts in found.items()} for task, found in held["mixed"].items()}
    written = {task: Written(**found) for task, found in held["written"].items()}
    scores = [Score(*score) for score in held["scores"]]
    return Measured(**{**held, "scores": scores, "mixed": mixed, "written": written}), tree["simple"]


def restore_of(state: Mapping[str, Any], run: RunFolder, ranks: Ranks) -> None:
    """Put this process's random numbers where they were.

    Raises:
        InputError: the run was trained by more or fewer processes: then it cannot come to the same weights.
    """
    if len(state["random"]) != ranks.size:
        what = f"the run was trained by {len(state['random'])} processes together, and this is {ranks.size}"
        raise InputError(what, where=str(run.path), fix=f"start it with --devices {len(state['random'])}")
    restore_random(state["random"][ranks.rank])


@contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """One process trains in a folder; the lock ends with its process, however that ends.

    Raises:
        InputError: another one does.
    """
    if run.rank:  # the first one holds the lock for all that train it together
        yield
        return
    with (run.path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError("another process is training this run", where=str(run.path), fix="wait for it, or stop it") from error
        yield
        (run.path / ".lock").unlink(missing_ok=True)


def reopened(path: str | Path) -> RunFolder:
    """The folder of a run that was stopped.

    Raises:
        InputError: it is none, it is done, or a newer version wrote it.
    """
    run = RunFolder(Path(path))
    if not (run.path / "run.json").is_file():
        raise InputError(f"{str(path)!r} is not a run folder: it has no run.json", fix="triptych train RECIPE starts one")
    about = run.read("run.json")
    refuse_newer(about, path)
    if about.get("status") == "done":
        missing = "" if (run.path / "report.html").exists() else f"triptych report {path} writes its report; "
        fix = f"{missing}triptych continue {path} --epochs 5 trains it further"
        raise InputError("the run is done: there is nothing left to resume", where=str(path), fix=fix)
    return run


def refuse_other_recipe(old: Recipe, new: Recipe, run: RunFolder) -> None:
    """A run that goes on ends with the weights it would have had, so nothing that reaches them may be said otherwise.

    Raises:
        InputError: something is; every difference is listed.
    """
    changed = [
        f"{path}: {before} -> {after}" for path, before, after in differences(spelled_out(old), spelled_out(new)) if not _is_free(path)
    ]
    if changed:
        listed = "".join(f"\n    {line}" for line in changed)
        fix = f"triptych train --resume {run.path} with nothing beside it, or train anew with --out"
        raise InputError(f"the recipe is not that of the run:{listed}", where=str(run.path), fix=fix)


def _is_free(path: str) -> bool:
    return any(path == free or path.startswith(f"{free}.") for free in FREE)


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two trees of plain values differ: path, before, after."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{path}.{place}")
    elif old != new:
        yield path, old, new


def refuse_other_rows(run: RunFolder, table: Table) -> None:
    """Raise InputError where the rows are not those that the run was learning from."""
    known = run.read("run.json").get("data")
    if known and known != table.fingerprint:
        fix = "bring the data back as they were, or train anew with --out"
        raise InputError("the rows have changed since the run was started; it cannot go on as it was", where=table.source, fix=fix)


def cut_log(run: RunFolder, epochs: int) -> None:
    """Take the lines of epochs that are done again out of the logs."""
    for name in LOGS:
        kept = [row for row in run.read_log(name) if row["epoch"] <= epochs]
        write_text(run.path / name, "".join(json.dumps(row) + "\n" for row in kept))


def read_course(run: RunFolder) -> Start | None:
    """Where the run stands, and the rest of its state; None where it was stopped before the first was written."""
    if not run.state.exists():
        return None
    tree = read_state(run.state)
    return Course(**tree.pop("course")), tree


def longer(run: RunFolder, epochs: int) -> Recipe:
    """The recipe of a finished run with more epochs in its last stage, counted from where that stage ended.

    Raises:
        InputError: the run keeps no state, so that nothing can go on from it.
    """
    recipe = run.recipe()
    start = read_course(run)
    if start is None:
        raise InputError("the run keeps no state of its training", where=str(run.path), fix="train it again, for more epochs")
    last = recipe.stages[-1].model_copy(update={"epochs": start[0].epochs + epochs})
    return recipe.model_copy(update={"stages": [*recipe.stages[:-1], last]})


def hand_over(old: RunFolder, new: RunFolder, epochs: int) -> None:
    """Copy what a longer run starts from: the last state and the best weights, the log, what was measured untouched."""
    start = read_course(old)
    assert start is not None
    course, state = start
    course.ended = course.early = False
    course.since = course.before + course.epochs
    write_state(new.state, {"course": asdict(course), **state})
    for path in (old.untouched, *(old.path / name for name in LOGS)):
        if path.exists():
            shutil.copyfile(path, new.path / path.name)
    shutil.copytree(old.model, new.model)
    new.about({"continues": {"run": str(old.path.resolve()), "epochs": course.since, "more": epochs}})


def write_course(run: RunFolder, course: Course, held: Mapping[str, Any], ranks: Ranks) -> None:
    """Write where the run stands, with all that it has learnt and remembers, and the random numbers of every process."""
    numbers = ranks.gathered(random_state())
    if ranks.first:
        write_state(run.state, {"course": asdict(course), "random": numbers, **held})
    ranks.wait()
