"""What the report says of a version that was trained from feedback: what was made of it, both versions side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TITLES = {
    "held_out": "On feedback that was held out",
    "learnt": "On feedback that was learnt, which proves only that it was",
    "old_test": "On the old test rows: what it cost",
}


def version_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of `feedback.json` for the page; nothing of a run that was not trained from feedback."""
    if not told:
        return {}
    counts = told["counts"]
    lead = f"{counts['remarks']} remarks: {counts['learnt']} learnt, {counts['held_out']} held out, {counts['left_out']} left out."
    sides = [
        {"title": title, "rows": [_cells(name, one) for name, one in told[side].items()]} for side, title in TITLES.items() if told[side]
    ]
    return {
        "lead": lead,
        "sides": sides,
        "why": [f"{count}: {why}" for why, count in counts["why"].items()],
        "findings": told["findings"],
        "old": told["from"]["run"],
        "table": told["feedback"]["path"],
        "version": told["feedback"]["version"],
    }


def _cells(name: str, one: Mapping[str, Any]) -> list[str]:
    """A score as the cells of a table's row."""
    from triptych.run.verdict import WORDS, with_interval

    rows = str(one.get("rows", ""))
    if "metric" not in one:
        return [name, rows, "", "", "", "not measured"]
    p = one.get("p_value")
    tested = "" if p is None else f"; McNemar p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    if "likelier_after" in one:
        tested = f"; the better is the likelier of the two: {one['likelier_before']} -> {one['likelier_after']}"
    values = [with_interval(one["untouched"]), with_interval(one["trained"]), with_interval(one["change"], "+")]
    return [f"{name}.{one['metric']}", rows, *values, WORDS[one["verdict"]] + tested]
