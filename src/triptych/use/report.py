"""The report: one HTML file without a network, made from the run folder alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.base.files import write_text
from triptych.run.folder import RunFolder
from triptych.run.recipe import Recipe
from triptych.use.pages import rendered
from triptych.use.spent import balance, noticed
from triptych.use.trust import forgetting_facts, gap_facts, reliance_facts, sureness
from triptych.use.versions import version_facts


def write_report(run: RunFolder) -> Path:
    """Make report.html of a finished run (again) and return its path."""
    write_text(run.report, rendered("report.html.j2", _facts(run)))
    return run.report


def _facts(run: RunFolder) -> dict[str, Any]:
    about, recipe, scores, log = run.read("run.json"), run.recipe(), run.read("scores.json"), run.read_log()
    shown, details = run.read("shown.json", default={}), run.read("details.json", default={})
    return {
        "name": recipe.name,
        "about": recipe.about,
        "made": f"{about['made'][:16].replace('T', ' ')} with triptych {about['versions']['triptych']}",
        "summary": _summary(about),
        "headline": headlines(recipe, scores, run.read("verdicts.json", default={})),
        "charts": _charts(recipe, about, log),
        "curves": _all_curves(recipe, about, log),
        "stopped": stopped(about),
        "noticed": noticed(about),
        "balance": balance(run, about["best"]["epoch"]),
        "scores": _groups(recipe, scores, run.read("verdicts.json", default={})),
        "reliance": reliance_facts(run.read("reliance.json", default={})),
        "gap": gap_facts(details),
        "versions": version_facts(run.read("feedback.json", default={})),
        "forgetting": forgetting_facts(run.read("forgetting.json", default={})),
        "classes": _classes(details),
        "retrieval": shown.get("retrieval", []),
        "seen": shown.get("seen", []),
        "variants": shown.get("variants", []),
        "augmented": about.get("augmented", {}),
        "worst": shown.get("worst", []),
        "cost": _cost(about),
        "lengths": _lengths(about),
        "sampling": _sampling(about),
        "choices": about["choices"],
        "findings": _findings(run, about),
        "recipe": (run.path / "recipe.yaml").read_text(encoding="utf-8"),
        "commands": next_commands(run),
    }


def headlines(recipe: Recipe, scores: list[dict[str, Any]], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
    """Each task's first score, untouched against trained, with how sure it is and what can be had without training."""
    from triptych.contract.tasks import headline, unwritten
    from triptych.run.verdict import in_words, unbeaten

    by_name = {score["name"]: score for score in scores}
    metrics = {
        name: next((m for m in (headline(task), unwritten(task)) if f"{name}.{m}" in by_name), "") for name, task in recipe.tasks.items()
    }
    found = [(name, metric, by_name.get(f"{name}.{metric}")) for name, metric in metrics.items()]
    return [
        {
            "task": name,
            "metric": metric,
            "untouched": s["untouched"],
            "trained": s["trained"],
            "best": f"{s['direction']} is better",
            "said": in_words(name, verdicts[name]) if name in verdicts else [],
            "chart": sureness(name, verdicts[name]) if name in verdicts else "",
            "unbeaten": unbeaten(verdicts[name]) if name in verdicts else [],
            "same": verdicts.get(name, {}).get("verdict") == "not told apart",
        }
        for name, metric, s in found
        if s
    ]


def _summary(about: dict[str, Any]) -> list[tuple[str, str]]:
    rows, stages = about["rows"], about["stages"]
    return [
        ("rows", ", ".join(f"{count:,} {side}" for side, count in rows.items())),
        ("rejected", f"{about['rejected']:,} rows"),
        ("parameters", f"{sum(about['parameters'].values()):,}"),
        ("epochs", f"{sum(stage['epochs'] for stage in stages)} of at most {sum(stage['of'] for stage in stages)}"),
        ("best epoch", str(about["best"]["epoch"])),
        ("time", f"{about['cost']['seconds']:.0f} s"),
        ("measured on", f"the {about['judged_on']} rows"),
    ]


def stopped(about: dict[str, Any]) -> str:
    """One sentence on where training stopped and which epoch was kept."""
    best, stages = about["best"], about["stages"]
    done = sum(stage["epochs"] for stage in stages)
    early = [stage["stage"] for stage in stages if stage["early"]]
    how = f"stage {', '.join(map(str, early))} stopped early" if early else "it ran to its end"
    if best["score"] == "last":
        return f"{done} epochs were trained; {how}. The last one was kept, as training.select says."
    if best["value"] is None:
        why = "There were no validation rows" if not about["rows"].get("validation") else f"No validation row gave a {best['score']}"
        return f"{done} epochs were trained; {how}. {why}, so the last epoch was kept."
    return f"{done} epochs were trained; {how}. Epoch {best['epoch']} was kept: validation {best['score']} {best['value']:.3f}."


def _charts(recipe: Recipe, about: dict[str, Any], log: list[dict[str, Any]]) -> list[str]:
    from triptych.contract.tasks import headline
    from triptych.use import charts

    names = ["loss", *(f"{name}.{headline(task)}" for name, task in recipe.tasks.items())]
    early = any(stage["early"] for stage in about["stages"])
    stopped_at = sum(stage["epochs"] for stage in about["stages"]) if early else None
    best_at = about["best"]["epoch"]
    there = [name for name in names if any(f"validation {name}" in row or f"train {name}" in row for row in log)]
    drawn = [charts.curves(log, [f"train {name}", f"validation {name}"], name, stopped_at, best_at) for name in there]
    weighed = [f"weight {name}" for name in recipe.tasks] if recipe.training.weighting != "fixed" else []
    return [*drawn, *([charts.curves(log, weighed, "weights of the tasks", stopped_at, best_at)] if weighed else [])]


def _all_curves(recipe: Recipe, about: dict[str, Any], log: list[dict[str, Any]]) -> list[str]:
    """Every score of each task over the epochs, small."""
    from triptych.contract.tasks import metrics
    from triptych.use import dots

    best = about["best"]["epoch"]
    names = {name: [f"validation {name}.{metric}" for metric in metrics(task)] for name, task in recipe.tasks.items()}
    short = [{key.removeprefix("validation "): value for key, value in row.items()} for row in log]
    drawn = [dots.multiples(short, [n.removeprefix("validation ") for n in of], f"{name}, validation", best) for name, of in names.items()]
    return [svg for svg in drawn if svg]


def _groups(recipe: Recipe, scores: list[dict[str, Any]], verdicts: dict[str, Any]) -> list[dict[str, Any]]:
    """Scores by task and metric; the headline of each task, and what it asks for, is `main`, the others are folded away below."""
    from triptych.contract.tasks import headline, unwritten

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for score in scores:
        groups.setdefault((score["task"], score["metric"]), []).append(
            {**score, "name": score["of"] or "overall", "same": _same(score, verdicts)}
        )
    main = {
        (name, metric) for name, task in recipe.tasks.items() for metric in (headline(task), unwritten(task), *getattr(task, "scores", ()))
    }
    return [
        _group(f"{task}: {metric}" if metric else "loss of all tasks", rows, (task, metric) in main)
        for (task, metric), rows in groups.items()
    ]


def _same(score: dict[str, Any], verdicts: dict[str, Any]) -> bool:
    """Whether a headline score's change could be chance; other scores have no interval."""
    told = verdicts.get(score["task"], {})
    part = told if not score["of"] else told.get("parts", {}).get(score["of"], {})
    return score["metric"] == part.get("metric", told.get("metric")) and part.get("verdict") == "not told apart"


def _group(title: str, rows: list[dict[str, Any]], main: bool) -> dict[str, Any]:
    """One table of scores; the main ones of several rows also as bars, where they are shares."""
    from triptych.use import charts

    pairs = [(row["name"], row["untouched"], row["trained"]) for row in rows]
    shares = all(value is not None and 0 <= value <= 1 for _, *values in pairs for value in values)
    chart = charts.bars(pairs, title) if main and len(rows) > 1 and shares else ""
    return {"group": title, "main": main, "direction": rows[0]["direction"], "rows": rows, "chart": chart}


def _classes(details: dict[str, Any]) -> list[dict[str, Any]]:
    """By task: confusion matrices, a table of the classes, the reliability of the confidence."""
    from triptych.use import charts

    found = []
    for task, classes in details.get("classes", {}).items():
        matrix = details["confusion"].get(task)
        drawn = matrices(task, matrix or {}, ("untouched, by prompts", "untouched", "trained"))
        reliable = charts.reliability(details["reliability"].get(task, []), f"{task}, reliability of the trained model")
        found.append({"title": task, "matrices": drawn, "classes": classes, "reliability": reliable})
    return found


def matrices(task: str, matrix: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    """The confusion matrices that there are of those `shown`, drawn. What a new head says untouched says nothing where prompts do."""
    from triptych.use import charts

    there = [when for when in shown if when in matrix]
    if shown[0] in there and shown[0] != there[-1]:
        there = [when for when in there if when != "untouched"]
    return [charts.confusion(matrix[when], matrix["labels"], f"{task}, {when}") for when in there]


def _cost(about: dict[str, Any]) -> list[tuple[str, str]]:
    cost = about["cost"]
    parts = ", ".join(f"{name} {count:,}" for name, count in about["parameters"].items())
    stages = "; ".join(f"stage {s['stage']}: {s['parameters']:,}" for s in about["stages"])
    return [
        ("time, measuring included", f"{cost['seconds']:.1f} s"),
        ("processor time", f"{cost['cpu_seconds']:.1f} s"),
        ("energy, estimated", f"{cost['watt_hours']:.2f} Wh (processor time at 10 W a core; a GPU is not counted)"),
        ("parameters", parts),
        ("trainable parameters", stages),
        ("made with", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
    ]


def _lengths(about: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line an input that has a limit: how long its training rows are, and what the limit cuts off."""
    from triptych.run.lengths import Lengths, plain, share

    found = [Lengths(**one) for one in about.get("lengths", [])]
    return [
        (
            one.input,
            one.unit,
            *(plain(number) for number in (one.shortest, one.half, one.most, one.longest)),
            f"{one.word} {plain(one.limit)}",
            share(one.rows_cut),
            share(one.cut),
            one.measured(),
        )
        for one in found
    ]


MOST_GROUPS = 30


def _sampling(about: dict[str, Any]) -> dict[str, Any]:
    """The plan by which training rows are drawn, its largest groups first; empty where each comes once an epoch."""
    plan = about.get("sampling")
    if not plan:
        return {}
    groups = sorted(plan["groups"], key=lambda group: -group["rows"])
    lines = [
        (g["group"], f"{g['rows']:,}", f"{g['share']:.1%}", f"{g['drawn']:,}", f"{g['drawn_share']:.1%}", f"{g['seen']:.2f} times")
        for g in groups[:MOST_GROUPS]
    ]
    return {"by": plan["by"], "rows": f"{plan['rows']:,}", "lines": lines, "left": len(groups) - len(lines)}


def _findings(run: RunFolder, about: dict[str, Any]) -> list[dict[str, Any]]:
    findings = [{"severity": "note", "text": one} if isinstance(one, str) else dict(one) for one in about["findings"]]
    for row in _rejects(run)[:20]:
        findings.append({"severity": "rejected", "text": f"{row['id']}: {row['reason']}"})
    if about["rejected"] > 20:
        findings.append({"severity": "rejected", "text": f"and {about['rejected'] - 20} more rows, all in rejects.csv"})
    return findings


def _rejects(run: RunFolder) -> list[dict[str, str]]:
    import csv

    path = run.path / "rejects.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


QUOTED = '"..."'


def next_commands(run: RunFolder) -> list[str]:
    """What to try next with this run, as commands that work as they stand but for the file names."""
    from triptych.modalities import rooms

    recipe, path = run.recipe(), shlex.quote(str(run.path))
    tries = []
    for name, settings in recipe.inputs.items():
        room = rooms()[settings.modality]
        liked = next((suffix for suffix in (".png", ".wav", ".mp4") if suffix in room.suffixes), min(room.suffixes))
        alone = sum(liked in rooms()[other.modality].suffixes for other in recipe.inputs.values()) == 1
        given = f"some{liked}" if room.by_reference and alone else f"--{name} {f'some{liked}' if room.by_reference else QUOTED}"
        tries.append(f"triptych predict {path} {given}")
    others = ["gated"] if len(recipe.inputs) > 1 and recipe.fusion.kind != "gated" else []
    return [
        *dict.fromkeys(tries),
        f"triptych embed {path} FOLDER --out vectors.parquet",
        f"triptych report {path}",
        *(f"triptych train {shlex.quote(str(run.path / 'recipe.yaml'))} --set fusion={other}" for other in others),
        f"triptych compare {path} OTHER_RUN",
    ]
