"""Charts as inline SVG whose colours follow the page: learning curves, confusion matrices, before and after.

Each function returns one `<svg>` to be put into HTML as it is. It scales with its box, reads its colours from the page's
CSS variables (`--ink --muted --line --accent --accent2`), keeps its text as text, names itself to screen
readers, and shares no id with any other chart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from triptych.use.drawing import ACCENT, ACCENT2, INK, LINE, MUTED, WIDTH, drawn, plain_axes, score_axis, short, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COUNTED = 14
"""Classes up to which a confusion matrix has its counts written in."""

_SHADES = 12
_RING: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 8, "fillstyle": "none", "markeredgewidth": 1.6}
NAME_WIDE, NUMBER_WIDE = 0.14, 0.03
"""Shares of a chart's width that a stage's name takes at the top, and its number alone."""


def curves(log: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, stopped_at: int | None, best_at: int | None) -> str:
    """Lines over epochs: one a name, dashed where the name starts with "train".

    Args:
        log: one row an epoch, `{"epoch": int, "stage": int, name: float ...}`, epochs numbered over all stages.
        names: keys of the rows to draw; rows without one, or where it is no finite number, are left out of its line.
        title: stands over the chart.
        stopped_at: epoch at which training stopped early.
        best_at: epoch whose weights were kept.

    Returns:
        The chart; an empty string where there is nothing to draw.
    """
    lines = {name: found for name in names if (found := points_of(log, name))}
    if not lines:
        return ""
    with drawn((WIDTH, 3.1), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        _stages(ax, log)
        for (name, points), (colour, dash) in zip(lines.items(), _line_styles(list(lines)), strict=True):
            dots, said = "o" if len(points) < 3 else "", short(name, 40)
            ax.plot(*zip(*points, strict=True), color=colour, linestyle=dash, linewidth=1.8, label=said, marker=dots, markersize=4)
            if best_at in dict(points):
                ax.plot([best_at], [dict(points)[best_at]], **_RING, color=colour)
        if best_at is not None:
            ax.plot([], [], **_RING, color=INK, label=f"best (epoch {best_at})")
        if stopped_at is not None:
            ax.axvline(stopped_at, color=INK, linewidth=1, linestyle=":", label=f"stopped (epoch {stopped_at})")
        score_axis(ax, [value for points in lines.values() for _, value in points])
        ax.set_xlabel("epoch")
        ax.locator_params(axis="x", integer=True, min_n_ticks=1)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, handlelength=1.8, columnspacing=1.2)
        return svg(figure, title, _told(lines, stopped_at, best_at))


def between(points: Sequence[Mapping[str, float]], names: Mapping[str, str], title: str, below: str) -> str:
    """Lines over `share`, from 0 to 1: one a key of `names`, which says what it is called. `below` stands under the axis."""
    there = [point for point in points if all(math.isfinite(point[name]) for name in names)]
    lines = {said: [(float(point["share"]), float(point[name])) for point in there] for name, said in names.items()}
    with drawn((WIDTH, 3.1), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        for (said, found), (colour, dash) in zip(lines.items(), _line_styles(list(lines)), strict=True):
            ax.plot(*zip(*found, strict=True), color=colour, linestyle=dash, linewidth=1.8, label=short(said, 40), marker="o", markersize=4)
        ax.set_xlabel(below)
        ax.set_xlim(-0.02, 1.02)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, handlelength=1.8, columnspacing=1.2)
        told = "; ".join(f"{said}: {', '.join(f'{value:.3f} at {share:g}' for share, value in found)}" for said, found in lines.items())
        return svg(figure, title, told)


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> str:
    """Rows are the true classes, columns what was said; deeper with the share of the row, counts written where they fit.

    Args:
        matrix: counts, `matrix[truth][said]`, C x C.
        labels: C names.
        title: stands over the chart.
    """
    classes = len(labels)
    size = min(max(3.0, 1.4 + 0.34 * classes), 8.0)
    shares = [[count / max(sum(row), 1) for count in row] for row in matrix]
    with drawn((size, size + 0.2), title) as figure:
        ax = figure.add_subplot()
        # Under counts the shades stay light enough for the page's ink to be read, on a light page and on a dark one.
        _cells(ax, shares, darkest=0.55 if classes <= MOST_COUNTED else 1.0)
        if classes <= MOST_COUNTED:
            _counts(ax, matrix)
        _class_names(ax, [short(label, 16) for label in labels])
        ax.set_xlabel("said")
        ax.set_ylabel("truth")
        right, total = sum(matrix[n][n] for n in range(classes)), sum(map(sum, matrix))
        return svg(figure, title, f"confusion matrix of {classes} classes, {right} of {total} right")


def bars(rows: Sequence[tuple[str, float, float]], title: str) -> str:
    """Untouched and trained side by side, a pair of bars from 0 to 1 a row, their values written at the ends.

    Args:
        rows: (name, untouched, trained); NaN where there is no value.
        title: stands over the chart.

    Returns:
        The chart; an empty string without rows.
    """
    if not rows:
        return ""
    with drawn((WIDTH, 0.75 + 0.62 * len(rows)), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        for place, (name, *pair) in enumerate(rows):
            ax.text(0, place - 0.36, short(name, 60), va="center", color=INK)
            for offset, value, colour in zip((-0.08, 0.2), pair, (MUTED, ACCENT), strict=True):
                shown = min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0
                ax.barh(place + offset, shown, 0.24, color=colour)
                ax.text(shown + 0.01, place + offset, f"{value:.3f}" if math.isfinite(value) else "no value", va="center", color=colour)
        ax.set(xlim=(0, 1.13), ylim=(len(rows) - 0.55, -0.6), xticks=[0, 0.25, 0.5, 0.75, 1], yticks=[])
        ax.grid(visible=False, axis="y")
        _pair_legend(figure)
        return svg(figure, title, "; ".join(f"{name}: untouched {before:.3f}, trained {after:.3f}" for name, before, after in rows))


def reliability(bins: Sequence[Mapping[str, float]], title: str) -> str:
    """Confidence against the share of right answers: below the diagonal the model is surer than it should be.

    Args:
        bins: `confidence`, `accuracy` (0 to 1) and `rows` of each bin of confidence that holds rows.
        title: stands over the chart.

    Returns:
        The chart; an empty string without bins.
    """
    if not bins:
        return ""
    with drawn((3.4, 3.4), title) as figure:
        ax = figure.add_subplot()
        plain_axes(ax)
        ax.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        most = max(one["rows"] for one in bins)
        xs, ys = [one["confidence"] for one in bins], [one["accuracy"] for one in bins]
        ax.plot(xs, ys, color=ACCENT, linewidth=1.2)
        ax.scatter(xs, ys, s=[12 + 80 * one["rows"] / most for one in bins], color=ACCENT)
        ax.set(xlim=(0, 1.04), ylim=(-0.04, 1.04), xlabel="confidence (a dot's size: rows)", ylabel="share right")
        told = "; ".join(f"{one['rows']} rows at {one['confidence']:.2f}: {one['accuracy']:.2f} right" for one in bins)
        return svg(figure, title, told)


# ---- drawing


def points_of(log: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(epoch, value) of each row that has a finite number of that name."""
    found = ((int(row["epoch"]), row.get(name)) for row in log)
    return [(epoch, float(value)) for epoch, value in found if isinstance(value, int | float) and math.isfinite(value)]


def _line_styles(names: Sequence[str]) -> list[tuple[str, str]]:
    solid, dashed = iter((ACCENT, INK, MUTED, ACCENT2) * len(names)), iter((ACCENT2, MUTED, INK, ACCENT) * len(names))
    return [(next(dashed), "--") if name.startswith("train") else (next(solid), "-") for name in names]


def _stages(ax: Axes, log: Sequence[Mapping[str, Any]]) -> None:
    """A thin line where a stage begins after another, with its name at the top; with its number alone where names would overlap."""
    begun = [((one["epoch"] + two["epoch"]) / 2, two["stage"]) for one, two in pairwise(log) if two.get("stage") != one.get("stage")]
    width = max((log[-1]["epoch"] - log[0]["epoch"]) if log else 0, 1)
    ends = [*[place for place, _ in begun[1:]], log[-1]["epoch"] if log else 0]
    tight = len(begun) > 1 and min(end - place for (place, _), end in zip(begun, ends, strict=True)) < NAME_WIDE * width
    written = -math.inf
    for place, stage in begun:
        ax.axvline(place, color=MUTED, linewidth=0.8)
        if place - written < NUMBER_WIDE * width:
            continue
        written = place
        first = (place, stage) == begun[0]
        told, side = (f" stage {stage}", "left") if not tight else (f"stage {stage} ", "right") if first else (str(stage), "center")
        ax.text(place, 1.0, told, transform=ax.get_xaxis_transform(), va="bottom", ha=side, color=MUTED, size=8)


def _cells(ax: Axes, shares: Sequence[Sequence[float]], darkest: float) -> None:
    """One path a shade holds all its squares: forty classes stay small. Below a linear shade, few mistakes could not be seen."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    squares: dict[int, list[Path]] = {}
    for y, row in enumerate(shares):
        for x, share in enumerate(row):
            corners = [(x - 0.48, y - 0.48), (x + 0.48, y - 0.48), (x + 0.48, y + 0.48), (x - 0.48, y + 0.48), (x - 0.48, y - 0.48)]
            squares.setdefault(math.ceil(share * _SHADES), []).append(Path(corners, closed=True))
    for shade, paths in sorted(squares.items()):
        colour, alpha = (ACCENT, darkest * (shade / _SHADES) ** 0.75) if shade else (LINE, 0.25)
        ax.add_patch(PathPatch(Path.make_compound_path(*paths), facecolor=colour, alpha=alpha, edgecolor="none"))
    ax.set(xlim=(-0.5, len(shares) - 0.5), ylim=(len(shares) - 0.5, -0.5), aspect="equal")
    ax.set_frame_on(False)
    ax.tick_params(colors=INK, length=0, pad=3)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(MUTED)


def _counts(ax: Axes, matrix: Sequence[Sequence[int]]) -> None:
    for y, row in enumerate(matrix):
        for x, count in enumerate(row):
            if count:
                ax.text(x, y, str(count), ha="center", va="center", color=INK)


def _class_names(ax: Axes, labels: Sequence[str]) -> None:
    every = max(1, math.ceil(len(labels) / 40))
    places, size = range(0, len(labels), every), 9.5 if len(labels) <= 20 else 7.5
    upright = len(labels) > 6 and max(map(len, labels)) > 2
    ax.set_xticks(places, [labels[n] for n in places], rotation=90 if upright else 0, size=size)
    ax.set_yticks(places, [labels[n] for n in places], size=size)


def _pair_legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=MUTED, label="untouched"), Patch(color=ACCENT, label="trained")]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, handlelength=1.2)


def _told(lines: Mapping[str, Sequence[tuple[int, float]]], stopped_at: int | None, best_at: int | None) -> str:
    """The chart in words, for those who hear the page."""
    said = [f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g} over {points[-1][0]} epochs" for name, points in lines.items()]
    said += [f"best at epoch {best_at}"] * (best_at is not None) + [f"stopped at epoch {stopped_at}"] * (stopped_at is not None)
    return "; ".join(said)
