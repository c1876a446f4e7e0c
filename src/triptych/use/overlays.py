"""The curves of several runs over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.use.drawing import SERIES, WIDTH, drawn, plain_axes, score_axis, short, svg

_DASHES = ("-", "--", ":", "-.")
Points = Sequence[tuple[int, float]]


def colour(number: int) -> str:
    """Of the n-th run, in all charts of a page."""
    return SERIES[number % len(SERIES)]


def style(number: int) -> dict[str, Any]:
    """Colour and dash of the n-th run: six colours, then again with another dash, so that 24 are told apart."""
    return {"color": colour(number), "linestyle": _DASHES[number // len(SERIES) % len(_DASHES)]}


def overlay(lines: Mapping[str, Points | None], title: str) -> str:
    """One line a run over epochs; a run without points keeps its colour and place, so that all charts of a page agree.

    Args:
        lines: {run: (epoch, value) pairs, or None}.
        title: stands over the chart.

    Returns:
        The chart; an empty string where there is nothing to draw.
    """
    there = {name: [(e, v) for e, v in points if math.isfinite(v)] for name, points in lines.items() if points}
    there = {name: points for name, points in there.items() if points}
    if not there:
        return ""
    rows = math.ceil(len(there) / 2)
    with drawn((WIDTH, 2.8 + 0.18 * rows), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        for number, name in enumerate(lines):
            if name in there:
                dots = "o" if len(there[name]) < 3 else ""
                ax.plot(*zip(*there[name], strict=True), **style(number), linewidth=1.6, marker=dots, markersize=4, label=short(name, 24))
        score_axis(ax, [value for points in there.values() for _, value in points])
        ax.set_xlabel("epoch")
        ax.locator_params(axis="x", integer=True, min_n_ticks=1)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, handlelength=2.2, columnspacing=1.2)
        told = "; ".join(f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in there.items())
        return svg(figure, title, told)
