"""A bake-off: every fusion trained on the same rows, in the same order, for the same epochs, with the same seeds.

What is judged is the headline score on the rows kept for the test, averaged over the seeds, each row against itself.
"""

from __future__ import annotations

import shutil
import statistics as plain
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, TriptychError
from triptych.base.files import held_alone, write_json
from triptych.base.settings import flat, spelled_out
from triptych.contract.tasks import direction, headline
from triptych.objective.intervals import difference, interval
from triptych.run.answers import Answered, aligned, answered, group_of, pooled
from triptych.run.fit import fit, resume
from triptych.run.folder import RunFolder, open_folder
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.search import changed
from triptych.run.shared import Shared, alone_only

WINNER, SAME, BEHIND, FAILED = "ahead", "not told apart", "behind", "failed"


def bake(recipe: Recipe, rivals: Mapping[str, Recipe], seeds: int, folder: Path, voice: Voice) -> dict[str, Any]:
    """Train what is not there yet, then judge.

    Returns:
        What bakeoff.json holds: `score`, `rivals` (best first; value and interval, difference to the first, by seed, cost,
        verdict), `said` (a sentence), `seeds`, `epochs`, `rows`, `judged_on`, `runs`, `interrupted`.

    Raises:
        InputError: a run of another recipe stands in the folder.
    """
    alone_only(recipe, "a bake-off")
    folder.mkdir(parents=True, exist_ok=True)
    with held_alone(folder / "bakeoff.lock", "bake-off"):
        runs: dict[str, dict[int, RunFolder]] = {kind: {} for kind in rivals}
        failed: dict[str, str] = {}
        interrupted = False
        try:
            _train(recipe, rivals, seeds, folder, voice, runs, failed)
        except KeyboardInterrupt:
            interrupted = True
        told = {**judged(recipe, runs, failed), "folder": str(folder), "interrupted": interrupted}
        write_json(folder / "bakeoff.json", told)
    return told


def _train(
    recipe: Recipe,
    rivals: Mapping[str, Recipe],
    seeds: int,
    folder: Path,
    voice: Voice,
    runs: dict[str, dict[int, RunFolder]],
    failed: dict[str, str],
) -> None:
    """Seed by seed, so that what there is when it is stopped is of all alike."""
    shared = Shared()
    with voice.bar() as bar:
        task = bar.add_task("trainings", total=seeds * len(rivals), note="")
        for number in range(seeds):
            for kind, rival in rivals.items():
                seed = recipe.training.seed + number
                if kind not in failed:
                    try:
                        runs[kind][seed] = _one(recipe, kind, rival, seed, folder, shared, voice)
                    except InputError:
                        raise
                    except TriptychError as problem:
                        failed[kind] = f"seed {seed}: {problem.what}"
                        voice.say(f"  {kind}, seed {seed}: failed: {problem.what}")
                bar.update(task, advance=1)


def _one(recipe: Recipe, kind: str, rival: Recipe, seed: int, folder: Path, shared: Shared, voice: Voice) -> RunFolder:
    """One training; that of an earlier call where it is finished, gone on with where it was stopped."""
    # Patience would give each another budget; the best epoch is still the one that is kept.
    made = changed(rival, {"training.seed": seed, "stages.*.patience": None, "name": f"{recipe.name}-{kind}-{seed}"})
    path = folder / f"{kind}-{seed}"
    begun = path.exists() and not _hardly(path)
    if begun and (known := _finished(path, made)):
        voice.say(f"  {kind}, seed {seed}: is there already")
        return known
    if not begun:
        shutil.rmtree(path, ignore_errors=True)
    run = resume(path, made, quiet=True, shared=shared) if begun else fit(made, path, quiet=True, shared=shared)
    score = _score(recipe)
    value = next((one["trained"] for one in run.read("scores.json") if one["name"] == ".".join(score)), None)
    seconds = run.read("run.json")["cost"]["seconds"]
    voice.say(f"  {kind}, seed {seed}: {'.'.join(score)} {'-' if value is None else f'{value:.3f}'}   {seconds:.1f} s")
    return run


def _hardly(path: Path) -> bool:
    """Killed while its folder was made: nothing is lost with it."""
    return path.is_dir() and all(one.name.startswith((".", "recipe.yaml")) for one in path.iterdir())


def _finished(path: Path, made: Recipe) -> RunFolder | None:
    """The run where it is whole and of this recipe; None where it was cut off."""
    if not (path / "run.json").exists():
        raise InputError(f"{str(path)!r} is in the way: it is no run", fix="name another folder with --out")
    run = RunFolder(path)
    if run.read("run.json").get("status") != "done":
        return None
    known, now = flat(spelled_out(run.recipe())), flat(spelled_out(made))
    if other := [name for name in {**known, **now} if known.get(name) != now.get(name)]:
        what = f"{str(path)!r} is a run of another recipe: {', '.join(other[:5])} differ"
        raise InputError(what, fix="name another folder with --out, or say the same as before")
    return open_folder(path)


def _score(recipe: Recipe) -> tuple[str, str]:
    """The task whose headline decides: that of the score that chooses epochs, else the first."""
    task = recipe.selected().partition(".")[0]
    name = task if task in recipe.tasks else next(iter(recipe.tasks))
    return name, headline(recipe.tasks[name])


def judged(recipe: Recipe, runs: Mapping[str, Mapping[int, RunFolder]], failed: Mapping[str, str]) -> dict[str, Any]:
    """The table and the verdict, over the seeds that every fusion has."""
    name, metric = _score(recipe)
    whole = {kind: found for kind, found in runs.items() if found and kind not in failed}
    seeds = sorted(set.intersection(*(set(found) for found in whole.values()))) if whole else []
    rivals, why, rows = _ranked(whole, seeds, name)
    rivals += [{"fusion": kind, "verdict": FAILED, "reason": reason} for kind, reason in failed.items()]
    abouts = [run.read("run.json") for found in whole.values() for run in found.values()]
    return {
        "score": f"{name}.{metric}",
        "rivals": rivals,
        "said": said(rivals, f"{name}.{metric}", rows, len(seeds)) if rows else why or "no training was finished",
        "seeds": seeds,
        "epochs": sum(stage.epochs for stage in recipe.stages),
        "rows": rows,
        "judged_on": abouts[0]["judged_on"] if abouts else "",
        "runs": {kind: {seed: str(run.path) for seed, run in found.items()} for kind, found in runs.items()},
    }


def _ranked(whole: Mapping[str, Mapping[int, RunFolder]], seeds: list[int], name: str) -> tuple[list[dict[str, Any]], str, int]:
    """Each fusion with its figures, best first; or why they cannot be judged row by row."""
    found: dict[tuple[str, int], Answered] = {}
    for kind, of_kind in whole.items():
        for seed in seeds:
            one = answered(of_kind[seed], name)
            if isinstance(one, str):
                return [], f"{kind}, seed {seed}: {one}", 0
            found[kind, seed] = one
    rows = aligned(list(found.values())) if found else "no training was finished"
    if isinstance(rows, str):
        return [], rows, 0
    found = dict(zip(found, rows, strict=True))
    group_N = group_of(rows[0])
    means = {kind: pooled([found[kind, seed].statistics for seed in seeds]) for kind in whole}
    sign = 1 if direction(next(iter(whole.values()))[seeds[0]].recipe().tasks[name]) == "higher" else -1
    order = sorted(whole, key=lambda kind: -sign * means[kind].value)
    rivals = []
    for kind in order:
        each = [found[kind, seed].statistics.value for seed in seeds]
        behind = [value - found[order[0], seed].statistics.value for value, seed in zip(each, seeds, strict=True)]
        change = difference(means[order[0]], means[kind], group_N)
        surely = (change.high if sign > 0 else -change.low) < 0 and max(
            sign * gap for gap in behind
        ) < 0  # the rows say so, and so does every seed
        rivals.append(
            {
                "fusion": kind,
                **asdict(interval(means[kind], group_N)),
                "by_seed": dict(zip(seeds, each, strict=True)),
                "spread": plain.stdev(each) if len(each) > 1 else None,
                "difference": None if kind == order[0] else asdict(change),
                "verdict": WINNER if kind == order[0] else BEHIND if surely else SAME,
                **_cost([whole[kind][seed] for seed in seeds]),
            }
        )
    return rivals, "", len(rows[0].ids)


def _cost(runs: list[RunFolder]) -> dict[str, Any]:
    abouts = [run.read("run.json") for run in runs]
    return {
        "parameters": sum(abouts[0]["parameters"].values()),
        "seconds": plain.mean(about["cost"]["seconds"] for about in abouts),
        "best_epochs": [about["best"]["epoch"] for about in abouts],
    }


def said(rivals: list[dict[str, Any]], score: str, rows: int, seeds: int) -> str:
    """The verdict in plain words."""
    there = [one for one in rivals if one["verdict"] != FAILED]
    first = there[0]
    same = [one["fusion"] for one in there if one["verdict"] == SAME]
    behind = [one["fusion"] for one in there if one["verdict"] == BEHIND]
    value = f"{score} {first['value']:.3f} ({first['low']:.3f} to {first['high']:.3f})"
    over = f"on {rows:,} rows, mean of {seeds} seed{'s' if seeds > 1 else ''}"
    lost = [f"{one['fusion']} failed" for one in rivals if one["verdict"] == FAILED]
    if len(there) == 1:
        told = f"{first['fusion']} alone was trained to the end: {value} {over}"
    elif not behind:
        cheap = min(there, key=lambda one: one["parameters"])["fusion"]
        told = (
            f"No fusion is surely better: {first['fusion']} is ahead with {value} {over}, but that could be chance; the smallest is {cheap}"
        )
    elif not same:
        told = f"{first['fusion']} wins: {value} {over}; surely behind it: {', '.join(behind)}"
    else:
        told = f"{first['fusion']} is ahead: {value} {over}; not told apart from it: {', '.join(same)}; surely behind: {', '.join(behind)}"
    return "; ".join([told, *lost])
