"""What is far off in a line of the ledger: one task, input or source takes nearly all there is to learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from triptych.run.monitors import Moment, Notice

MOST = 0.9
"""Share of the gradient that is far off for one of several tasks, or one source."""
LEAST = 0.01
"""Share of what reaches the encoders that is next to nothing."""
OFTEN = 0.2
"""Share of the rows that an input must be in for its small share to be odd."""
FAR = 3.0
"""Times its share of the rows, or one part of that: a group's share of loss or gradient is marked."""


def remarks(entry: Mapping[str, Any], now: Moment) -> Iterator[Notice]:
    """About one epoch; most have none."""
    yield from _tasks(entry, now)
    yield from _sources(entry, now)
    yield from _encoders(entry, now)


def _tasks(entry: Mapping[str, Any], now: Moment) -> Iterator[Notice]:
    shares = {task: of["gradient_share"] for task, of in entry["tasks"].items() if of["gradient_share"] is not None}
    for task, share in shares.items():
        if len(shares) > 1 and share > MOST:
            others = ", ".join(name for name in shares if name != task)
            text = f"task {task}: takes {share:.0%} of the gradient on what the tasks share; that of {others} hardly counts"
            yield _notice(now, text, f"--set training.weighting=gradient, or a smaller weight: --set tasks.{task}.weight=0.1")


def _sources(entry: Mapping[str, Any], now: Moment) -> Iterator[Notice]:
    for task, sources in entry["sources"].items():
        for name, of in sources.items():
            if of["gradient_share"] is not None and of["gradient_share"] > MOST and of["row_share"] < 0.5:
                text = f"source {name}: {of['row_share']:.0%} of the rows, {of['gradient_share']:.0%} of the gradient of {task}"
                yield _notice(
                    now, text, "look at its rows: labels that do not fit cost most; its weight under data.source says how often it is drawn"
                )


def _encoders(entry: Mapping[str, Any], now: Moment) -> Iterator[Notice]:
    shares = {name: share for name, share in entry["encoders"].items() if share is not None}
    for name, share in shares.items():
        often = max((of[name]["row_share"] for of in entry["inputs"].values() if name in of), default=0.0)
        if len(shares) > 1 and share < LEAST and often > OFTEN:
            text = f"input {name}: its encoder gets {share:.1%} of the gradient; the model may learn without it"
            yield _notice(now, text, "training.drop_inputs=0.3 hides the others now and then; a rate of its own: stages.0.lr={...}")


def _notice(now: Moment, text: str, fix: str) -> Notice:
    return now.notice("balance", text, fix, max(now.step - 1, 1), "note")


def marked(of: Mapping[str, Any]) -> str:
    """`more` or `less` where a group's share of the gradient, or else of the loss, is far from its share of the rows; else nothing."""
    share = of["gradient_share"] if of["gradient_share"] is not None else of["loss_share"]
    if share is None or not of["row_share"]:
        return ""
    return "more" if share > FAR * of["row_share"] else "less" if share * FAR < of["row_share"] else ""
