"""Runs side by side: what their recipes say differently, what they scored, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from triptych.base.settings import flat, spelled_out
from triptych.run.folder import RunFolder


def compare(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """`runs` (names), `recipe`, `scores` and `cost`: each a list of rows with one value a run, None where a run has none.

    Of the recipes only the fields that differ are listed, by their path.
    """
    for run in runs:
        run.verify(lambda name: name in ("recipe.yaml", "scores.json"))
    recipes = [flat(spelled_out(run.recipe())) for run in runs]
    scores = [{score["name"]: score for score in run.read("scores.json")} for run in runs]
    abouts = [run.read("run.json") for run in runs]
    return {
        "runs": [str(run.path) for run in runs],
        "judged_on": [about["judged_on"] for about in abouts],
        "recipe": [row for row in _rows(recipes) if len({repr(value) for value in row["values"]}) > 1],
        "scores": [_score_row(name, scores) for name in _in_order(scores)],
        "cost": [
            {"name": "seconds", "values": [about["cost"]["seconds"] for about in abouts]},
            {"name": "parameters", "values": [sum(about["parameters"].values()) for about in abouts]},
            {"name": "epochs", "values": [sum(stage["epochs"] for stage in about["stages"]) for about in abouts]},
        ],
    }


def _in_order(dicts: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for found in dicts for name in found))


def _rows(dicts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "values": [found.get(name) for found in dicts]} for name in _in_order(dicts)]


def _score_row(name: str, scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values = [found.get(name, {}).get("trained") for found in scores]
    direction = next(found[name]["direction"] for found in scores if name in found)
    return {"name": name, "values": values, "direction": direction}
