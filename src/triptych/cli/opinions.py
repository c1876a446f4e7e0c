"""Tables of feedback on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.cli.tables import COLOURS, lines

SIDES = (("held_out", "feedback that was held out"), ("learnt", "feedback that was learnt (it proves only that it was)"))


def _console() -> Console:
    return Console(highlight=False)


def feedback(told: Mapping[str, Any]) -> None:
    """Counts by task and kind, how often the run was right, agreement, voices, findings."""
    kinds = ", ".join(f"{count} {kind}s" for kind, count in told["kinds"].items() if count)
    lines(f"{told['remarks']} remarks ({kinds}) on {told['inputs']} inputs by {told['raters']} named raters", f"  in {told['path']}")
    if told["tasks"]:
        _by_task(told["tasks"])
    for name, one in told["voices"].items():
        sure = f"{one['low']:.2f} to {one['high']:.2f}" if one["low"] is not None else "no interval: it takes two raters who differ"
        lines(f"voices{f' of {name}' if name else ''}: MOS {one['mean']:.2f} ({sure}), {one['votes']} votes raters: {one['raters']}")
    findings(told["findings"])


def _by_task(tasks: Mapping[str, Any]) -> None:
    table = Table()
    for header in ("task", "corrections", "the run was right", "raters agree", "ratings", "mean", "better of two"):
        table.add_column(header, justify="left" if header == "task" else "right")
    for name, one in tasks.items():
        right, agree = one["right"], one["agreement"]
        was = f"{right['count']} of {right['of']} ({right['low']:.0%} to {right['high']:.0%})" if right else "-"
        if one["error"] is not None:
            was = f"off by {one['error']:.3g} in the mean"
        both = f"{agree['same']} of {agree['pairs']} pairs" if agree else "-"
        mean = "-" if one["rating"] is None else f"{one['rating']:.2f}"
        cells = (escape(name or "(the whole answer)"), one["corrections"], was, both, one["ratings"], mean, one["preferences"])
        table.add_row(*map(str, cells))
    _console().print(table)


def findings(found: Iterable[Mapping[str, Any]]) -> None:
    """What is doubtful, and what to do."""
    for one in found:
        _console().print(f"[{COLOURS[one['severity']]}]{one['severity']}[/]: {escape(one['text'])}", soft_wrap=True)
        lines(*(f"  {example}" for example in one["examples"]), *([f"  try:   {one['fix']}"] if one["fix"] else []))


def next_version(told: Mapping[str, Any]) -> None:
    """What was made of the remarks, and how both versions fare: on feedback that was held out, on what was learnt, on the old test."""
    counts = told["counts"]
    lines(f"{counts['remarks']} remarks = {counts['learnt']} learnt + {counts['held_out']} held out + {counts['left_out']} left out")
    lines(*(f"  left out, {count}: {why}" for why, count in counts["why"].items()))
    findings(told["findings"])
    for side, title in SIDES:
        if told[side]:
            _versions(told[side], f"before -> after, on {title}")
    if not told["held_out"]:
        lines("nothing was held out, so that nothing says whether the next version is better on feedback it has not seen")
    _versions(told["old_test"], "what it cost: before -> after, on the old test rows", old=True)


def _versions(found: Mapping[str, Any], title: str, old: bool = False) -> None:
    """A line a score: before, after, and what the change is worth."""
    from triptych.run.verdict import WORDS, with_interval

    _console().print(f"[bold]{title}[/bold]", soft_wrap=True)
    for name, one in found.items():
        rows = "" if old else f" ({one['rows']} rows)"
        if "metric" not in one:
            lines(f"  {name}{rows}: not measured")
            continue
        p = one.get("p_value")
        tested = "" if p is None else f", McNemar p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
        values = f"{with_interval(one['untouched'])} -> {with_interval(one['trained'])}"
        lines(f"  {name}.{one['metric']}{rows}: {values}")
        lines(f"    {WORDS[one['verdict']]}: {with_interval(one['change'], '+')}{tested}")
        if "gained" in one:
            lines(f"    right {one['right_before']} -> {one['right_after']}: {one['gained']} gained, {one['lost']} lost")
        if "likelier_after" in one:
            lines(f"    the better is the likelier answer of the two: {one['likelier_before']} -> {one['likelier_after']} of {one['rows']}")
