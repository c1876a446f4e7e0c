"""Charts of several runs at once: their curves over each other, their scores with intervals below each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from triptych.use.drawing import INK, MUTED, SERIES, WIDTH, drawn, plain_axes, short, svg

_DASHES = ("-", "--", ":", "-.")
Points = Sequence[tuple[int, float]]


def style(number: int) -> dict[str, Any]:
    """Colour and dash of the n-th run: six colours, then again with another dash, so that 24 are told apart."""
    return {"color": SERIES[number % len(SERIES)], "linestyle": _DASHES[number // len(SERIES) % len(_DASHES)]}


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
        values = [value for points in there.values() for _, value in points]
        if min(values) >= 0 and 0.5 < max(values) <= 1:
            ax.set_ylim(top=1.01)
        ax.set_xlabel("epoch")
        ax.locator_params(axis="x", integer=True, min_n_ticks=1)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, handlelength=2.2, columnspacing=1.2)
        told = "; ".join(f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in there.items())
        return svg(figure, title, told)


def dots(rows: Sequence[tuple[str, float | None, float | None, float | None]], title: str, zero: bool = False, first: int = 0) -> str:
    """A dot a row with its 95 % interval as a line, the value written at its end.

    Args:
        rows: (name, value, low, high); a row without a value says so.
        title: stands over the chart.
        zero: mark where nothing differs.
        first: place of the first row among the runs, whose colours are those of the curves.
    """
    if not any(value is not None for _, value, *_ in rows):
        return ""
    ends = [x for _, *triple in rows for x in triple if x is not None] + [0.0] * zero
    low, high = min(ends), max(ends)
    margin = (high - low or abs(high) or 1.0) * 0.06
    with drawn((WIDTH, 0.9 + 0.5 * len(rows)), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        if zero:
            ax.axvline(0, color=MUTED, linewidth=1, linestyle=":")
        for place, (name, value, below, above) in enumerate(rows):
            ax.text(low - margin, place - 0.3, short(name, 50), va="center", color=INK)
            if value is None:
                ax.text(low - margin, place + 0.08, "no value", va="center", color=MUTED)
                continue
            colour = style(first + place)["color"]
            if below is not None and above is not None:
                ax.plot([below, above], [place + 0.08] * 2, color=colour, linewidth=2.2, solid_capstyle="round")
            ax.plot([value], [place + 0.08], marker="o", color=colour, markersize=6, linestyle="")
            ax.text(high + margin, place + 0.08, f"{value:{'+' if zero else ''}.3f}", va="center", ha="left", color=colour)
        ax.set(xlim=(low - margin, high + margin * 4.5), ylim=(len(rows) - 0.5, -0.65), yticks=[])
        ax.set_xticks([tick for tick in ax.get_xticks() if low - margin <= tick <= high + 1e-9])  # a share of 1.1 cannot be
        ax.grid(visible=False, axis="y")
        told = "; ".join(f"{name} {value:.3f}" for name, value, *_ in rows if value is not None)
        return svg(figure, title, told)
