"""Runs side by side: what their recipes say differently, how they learnt, what they scored and how surely, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from triptych.base.errors import InputError
from triptych.base.files import write_text
from triptych.base.settings import flat, spelled_out
from triptych.contract.tasks import Direction, direction, headline
from triptych.objective.intervals import Interval
from triptych.run.folder import RunFolder
from triptych.run.verdict import judged

FILES = ("recipe.yaml", "scores.json", "verdicts.json", "log.jsonl", "details.json", "predictions.parquet", "embeddings.parquet")
MOST = 20
SEED = "training.seed"


def compare(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Everything that can be laid beside each other, one value a run, None where a run has none.

    Returns:
        `runs` (paths), `judged_on`, `made`; `recipe` (the fields that differ, by path), `scores`, `cost`: lists of rows;
        `curves`: by figure, (epoch, value) pairs a run; `seeds`: see `over_seeds`; `intervals`: by task, `{value, low, high}` a
        run, and the `differences` of each later run to the first that has the task.

    Raises:
        InputError: a run is damaged, or there are too many.
    """
    if len(runs) > MOST:
        raise InputError(f"{len(runs)} runs do not fit side by side; compare at most {MOST}")
    for run in runs:
        run.verify(lambda name: name in FILES)
    recipes = [flat(spelled_out(run.recipe())) for run in runs]
    scores = [{score["name"]: score for score in run.read("scores.json")} for run in runs]
    abouts = [run.read("run.json") for run in runs]
    intervals = [told for name in _in_order([run.recipe().tasks for run in runs]) for told in [_task(name, runs)] if told]
    return {
        "runs": [str(run.path) for run in runs],
        "made": [about["made"][:16].replace("T", " ") for about in abouts],
        "judged_on": [about["judged_on"] for about in abouts],
        "recipe": [row for row in _rows(recipes) if len({repr(value) for value in row["values"]}) > 1],
        "curves": _curves(runs),
        "intervals": intervals,
        "seeds": over_seeds(recipes, intervals, scores),
        "scores": [_score_row(name, scores) for name in _in_order(scores)],
        "cost": [
            {"name": "seconds", "values": [about["cost"]["seconds"] for about in abouts]},
            {"name": "watt hours, estimated", "values": [round(about["cost"]["watt_hours"], 3) for about in abouts]},
            {"name": "parameters", "values": [sum(about["parameters"].values()) for about in abouts]},
            {"name": "epochs", "values": [sum(stage["epochs"] for stage in about["stages"]) for about in abouts]},
        ],
    }


def write_page(found: dict[str, Any], path: Path) -> Path:
    """Write what `compare` told as one HTML file without a network; returns its path."""
    from triptych.use import overlays
    from triptych.use.dots import Dot, intervals
    from triptych.use.pages import rendered

    numbered = [f"{number} {Path(run).name}" for number, run in enumerate(found["runs"], start=1)]
    charts = [overlays.overlay(dict(zip(numbered, row["values"], strict=True)), row["name"]) for row in found["curves"]]
    tasks = []
    for task in found["intervals"]:
        runs = [(number, one) for number, one in enumerate(task["values"]) if one is not None]
        dots = [Dot(numbered[number], *_triple(one), colour=overlays.colour(number)) for number, one in runs]
        tasks.append({**task, "chart": intervals(dots, f"{task['task']}.{task['metric']}", near=True)})
    facts = {
        **found,
        "names": found["runs"],
        "mixed": len(set(found["judged_on"])) > 1,
        "charts": [chart for chart in charts if chart],
        "intervals": tasks,
        "scores": [{**row, "best": best_of(row)} for row in found["scores"]],
    }
    write_text(path, rendered("compare.html.j2", facts))
    return path


def over_seeds(
    recipes: Sequence[dict[str, Any]], intervals: Sequence[dict[str, Any]], scores: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Runs whose recipes say the same but for the seed, task by task; none where no two do.

    Returns:
        A row each: `runs` (numbers from 1), `score`, `mean`, `low` and `high` (of the runs, no interval), and `prompts`: the mean of what
        prompts alone gave before training, None where nothing has a prompt.
    """
    alike: dict[str, list[int]] = {}
    for number, recipe in enumerate(recipes):
        alike.setdefault(repr(sorted((word, repr(value)) for word, value in recipe.items() if word != SEED)), []).append(number)
    if all(len(numbers) < 2 for numbers in alike.values()):
        return []
    found = []
    for task in intervals:
        name = f"{task['task']}.{task['metric']}"
        for numbers in alike.values():
            values = [one["value"] for n in numbers if (one := task["values"][n]) is not None and one["value"] is not None]
            asked = [told["untouched"] for n in numbers if (told := scores[n].get(f"{name} by prompts")) and told["untouched"] is not None]
            if values:
                row = {"runs": [n + 1 for n in numbers], "score": name, "mean": fmean(values), "low": min(values), "high": max(values)}
                found.append({**row, "prompts": fmean(asked) if asked else None})
    return found


def best_of(row: dict[str, Any]) -> float | None:
    """The best score of a row; None where all are equal, or one alone is there."""
    there = [value for value in row["values"] if value is not None]
    return (max if row["direction"] == "higher" else min)(there) if len(set(there)) > 1 else None


def _triple(one: dict[str, float | None]) -> tuple[float | None, float | None, float | None]:
    return one["value"], one["low"], one["high"]


def _curves(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Training and validation loss, the scores that epochs were chosen by, and the tasks' headlines."""
    recipes, logs = [run.recipe() for run in runs], [run.read_log() for run in runs]
    chosen = [f"validation {recipe.selected()}" for recipe in recipes]
    heads = [f"validation {name}.{headline(task)}" for recipe in recipes for name, task in recipe.tasks.items()]
    found = []
    for name in dict.fromkeys(["train loss", "validation loss", *chosen, *heads]):
        values = [[(row["epoch"], row[name]) for row in log if isinstance(row.get(name), int | float)] or None for log in logs]
        if any(values):
            found.append({"name": name, "values": values})
    return found


def _task(name: str, runs: Sequence[RunFolder]) -> dict[str, Any] | None:
    """One task's headline with its interval in each run, and each run against the first that has it."""
    kinds = [run.recipe().tasks[name].kind if name in run.recipe().tasks else None for run in runs]
    verdicts = [run.read("verdicts.json", default={}).get(name) for run in runs]
    values: list[Any] = [verdict["trained"] if verdict else None for verdict in verdicts]
    having = [number for number, value in enumerate(values) if value is not None]
    if not having:
        return None
    first = having[0]
    metric = verdicts[first]["metric"]
    same = [number for number in having if kinds[number] == kinds[first] and verdicts[number]["metric"] == metric]
    return {
        "task": name,
        "metric": metric,
        "values": [value if number in same else None for number, value in enumerate(values)],
        "first": first + 1,
        "differences": [
            {"run": number + 1, **_difference(name, metric, runs[first], runs[number], values[first], values[number])}
            for number in same[1:]
        ],
    }


def _difference(
    name: str, metric: str, first: RunFolder, other: RunFolder, before: dict[str, Any], after: dict[str, Any]
) -> dict[str, Any]:
    """Paired over the rows where both answered the same ones; else from the two intervals, and why."""
    from triptych.run.answers import against, aligned, answered

    way = direction(first.recipe().tasks[name], metric)
    both = [answered(run, name) for run in (first, other)]
    told = [one for one in both if not isinstance(one, str)]
    rows = aligned(told) if len(told) == 2 else next(one for one in both if isinstance(one, str))
    if isinstance(rows, str):
        return {**_unpaired(before, after, way), "p_value": None, "paired": False, "why": rows}
    change, p_value = against(*rows)
    found = {part: _number(value) for part, value in asdict(change).items()}
    return {**found, "verdict": _verdict(found, way), "p_value": p_value, "paired": True, "why": ""}


def _unpaired(before: dict[str, Any], after: dict[str, Any], way: Direction) -> dict[str, Any]:
    """The difference of two scores of different rows: their variances add up (each taken from its interval)."""
    if any(one[part] is None for one in (before, after) for part in ("value", "low", "high")):
        return {"value": None, "low": None, "high": None, "verdict": "not compared"}
    value = after["value"] - before["value"]
    half = sum((one["high"] - one["low"]) ** 2 / 4 for one in (before, after)) ** 0.5
    found = {"value": value, "low": value - half, "high": value + half}
    return {**found, "verdict": _verdict(found, way)}


def _verdict(found: dict[str, Any], way: Direction) -> str:
    if found["low"] is None:
        return "not compared"
    return judged(Interval(**{part: found[part] for part in ("value", "low", "high")}), way)


def _number(value: float) -> float | None:
    return value if value == value else None


def _in_order(dicts: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for found in dicts for name in found))


def _rows(dicts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "values": [found.get(name) for found in dicts]} for name in _in_order(dicts)]


def _score_row(name: str, scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [found.get(name, {}).get("trained") for found in scores]
    direction = next(found[name]["direction"] for found in scores if name in found)
    return {"name": name, "values": values, "direction": direction}
