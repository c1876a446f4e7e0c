"""From matplotlib to one `<svg>` of a page: colours become the page's own, text stays text, no id is shared with another chart."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in colours that stand for the page's own and are put in their place afterwards.
INK, MUTED, LINE, ACCENT, ACCENT2 = "#0a0101", "#0a0102", "#0a0103", "#0a0104", "#0a0105"
SERIES = ("#0a0201", "#0a0202", "#0a0203", "#0a0204", "#0a0205", "#0a0206")
"""Colours that tell several runs apart; the page's `--line1` to `--line6`."""
_FALLBACKS = ("#2457d6", "#b4530d", "#14713a", "#7a3fb5", "#0e7490", "#767676")
_COLOURS = {
    INK: "var(--ink, currentColor)",
    MUTED: "var(--muted, #767676)",
    LINE: "var(--line, #8884)",
    ACCENT: "var(--accent, #4a7dff)",
    ACCENT2: "var(--accent2, #e07b39)",
    **{colour: f"var(--line{n}, {fallback})" for n, (colour, fallback) in enumerate(zip(SERIES, _FALLBACKS, strict=True), start=1)},
}
WIDTH = 4.8
"""Inches; 346 SVG units, about the width of a phone, so that text stays readable there and grows on wider screens."""

_DRAWING = threading.Lock()  # matplotlib's settings belong to the process: charts are drawn one at a time


@contextmanager
def drawn(size: tuple[float, float], title: str) -> Iterator[Figure]:
    """A figure outside pyplot, with settings that hold only while it is drawn."""
    import matplotlib
    from matplotlib.figure import Figure

    ours: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "triptych",
        "text.parse_math": False,
        "text.usetex": False,
        "font.size": 10,
    }
    ours |= {"text.color": INK, "axes.facecolor": "none", "figure.facecolor": "none", "font.family": ["sans-serif"]}
    with _DRAWING, warnings.catch_warnings(), matplotlib.rc_context(ours):
        warnings.simplefilter("ignore")  # a letter missing in matplotlib's font: the browser has it
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(short(title, 70), x=0.01, ha="left", color=INK, size=11, weight="bold")
        yield figure


def svg(figure: Figure, title: str, told: str) -> str:
    """The figure as an `<svg>` element in the page's colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue()
    body = drawn[drawn.index("<svg") :]
    # matplotlib's own style sheet would speak to the whole page.
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), re.sub(r"\s+", " ", body))
    body = re.sub(r"font-family: [^;\"]*", "font-family: inherit", body)
    for placeholder, variable in _COLOURS.items():
        body = body.replace(placeholder, variable)
    body = _own_ids(body, "c" + hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()[:10])
    inside = body[body.index(">") + 1 :].strip()
    width, height = (round(inches * 72, 1) for inches in figure.get_size_inches())
    least = "100%" if width <= 72 * WIDTH + 1 else "600px"  # a wide chart scrolls in its box rather than become too small to read
    style = f"stroke-linejoin:round;width:100%;height:auto;max-width:{round(width * 1.6)}px;min-width:min({width}px,{least})"
    label = escape(short(f"{title}: {told}", 1000), quote=True)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}" style="{style}">{inside}'


def _own_ids(svg: str, prefix: str) -> str:
    """Keep the ids that something refers to, under names of this chart alone; drop the others."""
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)


def short(text: str, most: int) -> str:
    """The text on one line, cut with a mark where it is longer."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= most else clean[: most - 1].rstrip() + "…"


def plain_axes(ax: Axes) -> None:
    """A light grid and one line below, without a box."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(LINE)
    ax.tick_params(colors=MUTED, length=0)
    ax.grid(visible=True, color=LINE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.xaxis.label.set_color(MUTED)


def score_axis(ax: Axes, values: Sequence[float]) -> None:
    """End the axis at 1 where the values are a score: one up to 1.04 would promise what cannot be."""
    if min(values) >= 0 and 0.5 < max(values) <= 1:
        ax.set_ylim(top=1.01)
        low = ax.get_ylim()[0]
        ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick < 1.005])
