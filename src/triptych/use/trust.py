"""What a report and an evaluation say of how far figures can be believed, and of what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.run.reliance import FLAGGED, IGNORED, PRESENCE, SPARE, UNSURE, USED, warnings

SAID = {
    USED: "used",
    SPARE: "spare: the others say the same",
    PRESENCE: "there, but what it says is ignored",
    IGNORED: "ignored",
    UNSURE: "not clear: too few rows",
}


def sureness(name: str, told: Mapping[str, Any]) -> str:
    """A verdict as a chart: trained, untouched and by prompts with their intervals, and what can be had without training."""
    from triptych.use.dots import Dot, intervals

    def dot(label: str, found: Mapping[str, Any], ours: bool) -> Dot:
        return Dot(label, found["value"], found["low"], found["high"], ours)

    dots = [dot("trained", told["trained"], True)]
    if prompts := told.get("prompts"):
        dots += [dot("trained, by prompts", prompts["trained"], True), dot("untouched, by prompts", prompts["untouched"], False)]
    dots.append(dot("untouched", told["untouched"], False))
    shown = {"zero-shot by prompts"} if prompts else set()
    dots += [Dot(b, v.get(told["metric"]), ours=False) for b, v in told["baselines"].items() if b not in shown]
    return intervals(dots, f"{name}.{told['metric']}")


def reliance_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """The audit of the inputs for a page; empty where none was made."""
    if not told:
        return {}
    rows = f"{told['rows']:,}" + ("" if told["rows"] == told["of"] else f" of {told['of']:,}")
    measured = (
        f"Over {rows} rows, each time those that have the input and another. Exchanged: the mean of {told['shuffles']} drawn exchanges "
        "among all rows. Bars: 95 % intervals of the paired difference. Alone: the score from this input and no other."
    )
    tasks = [_audited(name, task) for name, task in told["tasks"].items() if any(task["inputs"].values())]
    return {"why_not": told["why_not"], "measured": measured, "tasks": tasks, "warnings": warnings(told)}


def _audited(name: str, task: Mapping[str, Any]) -> dict[str, Any]:
    from triptych.use.dots import Dot, intervals

    dots, inputs = [], []
    for given, one in task["inputs"].items():
        if one is None:
            continue
        for how, said in (("shuffle", "exchanged"), ("drop", "left out")):
            found = one[how]
            dots.append(Dot(f"{given} {said}", found["value"], found["low"], found["high"], how == "shuffle"))
        values = {how: one[how]["value"] for how in ("shuffle", "drop", "alone")}
        inputs.append({"input": given, "rows": one["rows"], **values, "said": SAID[one["verdict"]], "flagged": one["verdict"] in FLAGGED})
    chart = intervals(dots, f"{name}.{task['metric']} lost without an input", zero=True)
    return {"task": name, "metric": task["metric"], "inputs": inputs, "chart": chart}


def gap_facts(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The modality gap of each contrast task for a page: every pair, whenever it was measured."""
    from triptych.use.dots import moved

    found = []
    for name, pairs in details.get("gap", {}).items():
        whens = [when for when in pairs[0] if when != "pair"]
        rows = [
            {
                "pair": " and ".join(one["pair"]),
                "distances": [one[when]["distance"] for when in whens],
                "share": one[whens[-1]]["share"],
                "rows": one[whens[-1]]["rows"],
            }
            for one in pairs
        ]
        drawn = [(row["pair"], row["distances"][0] if len(whens) > 1 else None, row["distances"][-1]) for row in rows]
        chart = moved(drawn, f"{name}: distance of the centres", 2.0) if len(whens) > 1 else ""
        found.append({"task": name, "whens": whens, "rows": rows, "chart": chart})
    return found


def evaluation_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of an evaluation shows."""
    by_name = {score["name"]: score for score in told["scores"]}
    heads = [score for score in told["scores"] if "low" in score and not score["of"]]
    groups: dict[str, list[dict[str, Any]]] = {}
    for score in told["scores"]:
        groups.setdefault(f"{score['task']}: {score['metric']}" if score["metric"] else "loss of all tasks", []).append(dict(score))
    main = {f"{score['task']}: {score['metric']}" for score in heads}
    rejected = [{"severity": "rejected", "text": f"{one['id']}: {one['reason']}"} for one in told["rejected"][:20]]
    return {
        **told,
        "made": told["made"][:16].replace("T", " "),
        "headline": [{**score, "chart": _standing(score, by_name, told["baselines"].get(score["task"], {}))} for score in heads],
        "groups": [
            {"group": group, "direction": rows[0]["direction"], "rows": rows, "main": group in main} for group, rows in groups.items()
        ],
        "classes": _classes(told["details"]),
        "reliance": reliance_facts(told["reliance"]),
        "gap": gap_facts(told["details"]),
        "findings": [*told["findings"], *rejected],
    }


def _standing(score: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]], baselines: Mapping[str, Mapping[str, Any]]) -> str:
    """A headline score beside what the prompts say and what can be had without training."""
    from triptych.use.dots import Dot, intervals

    dots = [Dot("the model", score["value"], score["low"], score["high"])]
    if prompts := by_name.get(f"{score['name']} by prompts"):
        dots.append(Dot("by prompts", prompts["value"], prompts.get("low"), prompts.get("high")))
    dots += [Dot(name, v.get(score["metric"]), ours=False) for name, v in baselines.items() if name != "zero-shot by prompts"]
    return intervals(dots, score["name"]) if len(dots) > 1 else ""


def _classes(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    from triptych.use import charts

    found = []
    for task, classes in details["classes"].items():
        matrix = details["confusion"].get(task)
        ways = {"measured, by prompts": "by prompts", "measured": "what was said"}
        drawn = [charts.confusion(matrix[key], matrix["labels"], f"{task}, {way}") for key, way in ways.items() if matrix and key in matrix]
        reliable = charts.reliability(details["reliability"].get(task, []), f"{task}, reliability")
        found.append({"title": task, "matrices": drawn, "reliability": reliable, "classes": classes})
    return found


def forgetting_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """What tuning cost of what the base knew, as a table and, where something was tuned, a curve; empty where it was not asked."""
    from triptych.use.charts import between

    if not told:
        return {}
    points = told["points"]
    names = {"kept": f"the base's task: {told['score']}", **{name: name for name in points[-1] if name not in ("share", "kept")}}
    heads = ["share of the tuning", *names.values()]
    rows = [[f"{point['share']:.0%}", *(_figure(point[name]) for name in names)] for point in points]
    chart = between(points, names, "Between untouched and tuned", "share of the tuning in the weights") if len(points) > 1 else ""
    return {"source": told["source"], "rows": told["rows"], "tuned": told["tuned"], "heads": heads, "lines": rows, "chart": chart}


def _figure(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"
