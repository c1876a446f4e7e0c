"""Charts of figures with what is known of them: dots with intervals, dots before and after. Drawn like those of `charts.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from triptych.use.charts import points_of
from triptych.use.drawing import ACCENT, ACCENT2, INK, LINE, MUTED, WIDTH, drawn, plain_axes, short, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRAME = 0.35  # least width of an axis of differences: those in the third decimal must not look large


class Dot(NamedTuple):
    """A figure: solid where `ours`, else what it is held against. Without `low` and `high` nothing is known of its interval."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    ours: bool = True
    colour: str = ""
    """Of a run among others; by default that of what is ours, or is not."""


def intervals(dots: Sequence[Dot], title: str, zero: bool = False, near: bool = False) -> str:
    """One line a figure: its name, a dot, the interval as a bar through it, and the value in digits.

    Args:
        dots: those whose value is no finite number are left out.
        title: stands over the chart.
        zero: mark zero with a line, for differences.
        near: the axis spans what is drawn, for figures of one kind that lie close together; else 0 to 1 at least.

    Returns:
        The chart; an empty string where no dot has a value.
    """
    known = [(dot, dot.value) for dot in dots if dot.value is not None and math.isfinite(dot.value)]
    if not known:
        return ""
    with drawn((WIDTH, 0.7 + 0.42 * len(known)), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        ends = [end for dot, value in known for end in (dot.low, value, dot.high) if end is not None and math.isfinite(end)]
        low, high = _axis(ends, zero, near)
        if zero:
            ax.axvline(0, color=MUTED, linewidth=1)
        _dots(ax, known, low, high, "+.3f" if zero else ".3f")
        told = "; ".join(f"{dot.name} {value:.3f}" + _said(dot) for dot, value in known)
        return svg(figure, title, told)


def _axis(ends: Sequence[float], zero: bool, near: bool) -> tuple[float, float]:
    low, high = min(ends), max(ends)
    if zero:
        return min(low, -0.02), max(high, low + FRAME)
    if near:
        room = 0.06 * (high - low or abs(high) or 1.0)
        return low - room, high + room
    return min(low, 0.0), max(high, 1.0)


def _dots(ax: Axes, dots: Sequence[tuple[Dot, float]], low: float, high: float, form: str) -> None:
    span = high - low
    beside = 0.02 * span if -0.2 * span < low < 0 else low  # right of the line at zero, where that is near the edge
    for place, (dot, value) in enumerate(dots):
        ax.text(beside, place - 0.33, short(dot.name, 48), va="center", color=INK)
        colour = dot.colour or (ACCENT if dot.ours else MUTED)
        if dot.low is not None and dot.high is not None and math.isfinite(dot.low + dot.high):
            ax.plot([dot.low, dot.high], [place, place], color=colour, linewidth=3.2, alpha=0.45, solid_capstyle="round")
        ax.plot([value], [place], marker="o", markersize=6.5, color=colour, fillstyle="full" if dot.ours else "none")
        ax.text(high + 0.04 * span, place, f"{value:{form}}", va="center", color=colour)
    ax.set(xlim=(low - 0.02 * span, high + 0.2 * span), ylim=(len(dots) - 0.5, -0.7), yticks=[])
    ax.grid(visible=False, axis="y")
    ax.locator_params(axis="x", nbins=5)
    ax.set_xticks([tick for tick in ax.get_xticks() if low - 0.02 * span <= tick <= high + 1e-9])  # a share of 1.2 cannot be


def _said(dot: Dot) -> str:
    return f" ({dot.low:.3f} to {dot.high:.3f})" if dot.low is not None and dot.high is not None else ""


def moved(rows: Sequence[tuple[str, float | None, float | None]], title: str, most: float) -> str:
    """From a hollow dot (untouched) to a solid one (trained), a line a row, on an axis from 0 to `most`."""
    rows = [row for row in rows if row[1] is not None or row[2] is not None]
    if not rows:
        return ""
    with drawn((WIDTH, 0.9 + 0.42 * len(rows)), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        for place, (name, before, after) in enumerate(rows):
            ax.text(0, place - 0.33, short(name, 48), va="center", color=INK)
            if before is not None and after is not None:
                ax.plot([before, after], [place, place], color=LINE, linewidth=2.4)
            for value, colour, fill in ((before, MUTED, "none"), (after, ACCENT, "full")):
                if value is not None:
                    ax.plot([value], [place], marker="o", markersize=6.5, color=colour, fillstyle=fill)
            last = after if after is not None else before
            ax.text(most * 1.03, place, f"{last:.3f}", va="center", color=ACCENT if after is not None else MUTED)
        ax.set(xlim=(-0.02 * most, 1.18 * most), ylim=(len(rows) - 0.5, -0.7), yticks=[], xticks=[0, most / 2, most])
        ax.grid(visible=False, axis="y")
        handles = [ax.plot([], [], marker="o", linestyle="", color=c, fillstyle=f)[0] for c, f in ((MUTED, "none"), (ACCENT, "full"))]
        figure.legend(handles, ["untouched", "trained"], loc="outside lower left", ncols=2, frameon=False, handlelength=1.2)
        return svg(figure, title, "; ".join(f"{name}: untouched {b}, trained {a}" for name, b, a in rows))


def multiples(log: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, best_at: int | None) -> str:
    """Small curves over epochs, one a name, each on an axis of its own.

    Args:
        log: one row an epoch, as `charts.curves` takes it.
        names: keys of the rows.
        title: stands over the chart.
        best_at: epoch whose weights were kept.

    Returns:
        The chart; an empty string where no row holds any of the names.
    """
    lines = {name: found for name in names if (found := points_of(log, name))}
    if not lines:
        return ""
    rows = math.ceil(len(lines) / 2)
    with drawn((WIDTH, 0.5 + 1.35 * rows), title) as figure:
        grid = figure.subplots(rows, 2, squeeze=False)
        for ax in grid.flat[len(lines) :]:
            ax.set_axis_off()
        for ax, (name, held) in zip(grid.flat, lines.items(), strict=False):
            plain_axes(ax)
            ax.plot(*zip(*held, strict=True), color=ACCENT, linewidth=1.6, marker="o" if len(held) < 3 else "", markersize=3)
            if best_at in dict(held):
                ax.plot([best_at], [dict(held)[best_at]], marker="o", markersize=6, fillstyle="none", color=ACCENT2)
            ax.set_title(short(name, 26), size=9, loc="left", color=INK)
            ax.locator_params(axis="x", integer=True, nbins=4, min_n_ticks=1)
            ax.locator_params(axis="y", nbins=3)
            ax.tick_params(labelsize=8)
        told = "; ".join(f"{name} from {held[0][1]:.3g} to {held[-1][1]:.3g}" for name, held in lines.items())
        return svg(figure, title, told)
