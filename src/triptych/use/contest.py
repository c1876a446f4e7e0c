"""The page of a bake-off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.base.files import write_text
from triptych.run.folder import RunFolder
from triptych.use import overlays
from triptych.use.dots import Dot, intervals
from triptych.use.pages import rendered


def write_page(found: dict[str, Any], path: Path) -> Path:
    """Write the HTML page of what `run.bakeoff.bake` told; returns its path."""
    there = [one for one in found["rivals"] if one["verdict"] != "failed"]
    colours = {one["fusion"]: overlays.colour(number) for number, one in enumerate(there)}
    scored = [Dot(one["fusion"], *_triple(one), colour=colours[one["fusion"]]) for one in there]
    gaps = [Dot(one["fusion"], *_triple(one["difference"]), colour=colours[one["fusion"]]) for one in there if one["difference"]]
    first = there[0]["fusion"] if there else ""
    charts = [
        intervals(scored, f"{found['score']}, mean of the seeds", near=True),
        intervals(gaps, f"difference to {first}", zero=True),
        *_curves(found, [one["fusion"] for one in there]),
    ]
    facts = {**found, "rivals": there, "failed": [one for one in found["rivals"] if one["verdict"] == "failed"]}
    write_text(path, rendered("bakeoff.html.j2", {**facts, "charts": [chart for chart in charts if chart]}))
    return path


def _triple(one: dict[str, float | None]) -> tuple[float | None, float | None, float | None]:
    return one["value"], one["low"], one["high"]


def _curves(found: dict[str, Any], kinds: list[str]) -> list[str]:
    """Of the first seed: what each had learnt after each epoch."""
    if not found["seeds"]:
        return []
    seed = found["seeds"][0]
    logs = {kind: RunFolder(Path(_of(found["runs"][kind], seed))).read_log() for kind in kinds}
    charts = []
    for name, title in (
        (f"validation {found['score']}", f"validation {found['score']}, seed {seed}"),
        ("train loss", f"training loss, seed {seed}"),
    ):
        lines = {kind: [(row["epoch"], row[name]) for row in log if isinstance(row.get(name), int | float)] for kind, log in logs.items()}
        charts.append(overlays.overlay(lines, title))
    return charts


def _of(runs: dict[Any, str], seed: int) -> str:
    """By number, or by its text where the facts come from JSON."""
    return runs[seed] if seed in runs else runs[str(seed)]
