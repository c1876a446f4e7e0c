"""Tables of trainings that belong together: the trials of a search, the fusions of a bake-off."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.cli.tables import lines

MOST = 20


def study(found: dict[str, Any]) -> None:
    """The best trials, what each word did, and where the winner is."""
    trials = found["trials"]
    sign = -1 if found["direction"] == "higher" else 1
    ranked = sorted(trials, key=lambda one: (one["state"] != "done", sign * (one["score"] or 0), one["loss"] or 0, one["number"]))
    lines(f"trials by validation {found['score']} ({found['direction']} is better)")  # wider than the table, whose title would break
    table = _table("", "trial", "state", "score", "epochs", "seconds")
    for trial in ranked[:MOST]:
        score = "-" if trial["score"] is None else f"{trial['score']:.4f}"
        style = "bold" if found["best"] and trial["number"] == found["best"]["number"] else None
        state = f"failed: {trial['reason']}" if trial["state"] == "failed" else trial["state"]
        table.add_row(str(trial["number"]), escape(state), score, str(trial["epochs"]), f"{trial['seconds']:.1f}", style=style)
    Console(highlight=False).print(table)
    if len(ranked) > MOST:
        lines(f"and {len(ranked) - MOST} more, all in {found['study']}/study.json")
    if found["best"]:
        _words(found)
        lines(f"best    trial {found['best']['number']}, validation {found['score']} {found['best']['score']:.4f}")
        lines(f"recipe  {found['study']}/best.yaml")
    if found["run"]:
        lines(f"run     {found['run']}   (trained anew as a whole run; the test rows had no part in the choice)")
    if found["interrupted"]:
        lines("interrupted; the same command goes on from here")


def _words(found: dict[str, Any]) -> None:
    """What was tried of each word, what the best trial has, and how much it mattered."""
    table = _table("words", "word", "best", "tried", "explains")
    trials = [trial for trial in found["trials"] if trial["words"]]
    for path, best in sorted(found["best"]["words"].items(), key=lambda pair: -found["importance"].get(pair[0], 0)):
        tried = [trial["words"][path] for trial in trials if path in trial["words"]]
        if all(isinstance(value, float) for value in tried):
            told = f"{min(tried):.3g} to {max(tried):.3g}"
        else:
            told = ", ".join(sorted({str(value) for value in tried}, key=lambda text: (len(text), text)))
        share = found["importance"].get(path)
        table.add_row(escape(path), escape(short(best)), escape(told), "-" if share is None else f"{share:.0%}")
    Console(highlight=False).print(table)


def short(value: Any) -> str:
    """A value as short as can be read."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def bakeoff(found: dict[str, Any]) -> None:
    """Each fusion with its figures, best first, and the verdict."""
    budget = f"{found['epochs']} epoch{'s' if found['epochs'] > 1 else ''} each, seeds {', '.join(map(str, found['seeds']))}"
    lines(f"{found['score']} on {found['rows']} {found['judged_on']} rows; {budget}")
    table = _table(
        "",
        *("fusion", "mean (95 %)", "seeds", "to the first (95 %)", "verdict", "parameters"),
    )
    for one in found["rivals"]:
        if one["verdict"] == "failed":
            table.add_row(one["fusion"], "-", "", "", escape(f"failed: {one['reason']}"), "")
            continue
        gap = one["difference"]
        table.add_row(
            one["fusion"],
            f"{one['value']:.3f}\n{one['low']:.3f} to {one['high']:.3f}",
            "-" if one["spread"] is None else f"± {one['spread']:.3f}",
            "" if gap is None else f"{gap['value']:+.3f}\n{gap['low']:+.3f} to {gap['high']:+.3f}",
            one["verdict"],
            f"{one['parameters']:,}",
        )
    Console(highlight=False).print(table)
    lines(found["said"])
    if found["interrupted"]:
        lines("interrupted; the same command goes on from here")


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold")
    for header in headers:
        left = header in ("state", "word", "tried", "fusion", "verdict")
        table.add_column(header, justify="left" if left else "right", overflow="fold")
    return table
