"""Scores: what people compare models by, each with its direction."""

from __future__ import annotations

from typing import NamedTuple

from triptych.contract.tasks import METRICS, Direction


class Score(NamedTuple):
    """One figure: `task.metric`, measured `of` some inputs or in some direction ("" where that is all)."""

    task: str
    metric: str
    of: str
    value: float
    direction: Direction

    @property
    def name(self) -> str:
        """`digit.accuracy` or `match.recall@1 image->audio`; the name a recipe's `select` uses."""
        return self.task + (f".{self.metric}" if self.metric else "") + (f" {self.of}" if self.of else "")


def better(direction: Direction, new: float, old: float | None) -> bool:
    """Whether `new` beats `old`; a figure that is not a number beats nothing."""
    if new != new:
        return False
    return old is None or old != old or (new > old if direction == "higher" else new < old)


def as_scores(task: str, kind: str, of: str, values: dict[str, float]) -> list[Score]:
    """Named values of one task as scores with their directions."""
    return [Score(task, metric, of, value, METRICS[kind][metric]) for metric, value in values.items()]
