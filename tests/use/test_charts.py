"""Charts and the page they stand in: whole SVG, the page's colours, nothing shared, nothing loaded, users' words escaped."""

import functools
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import matplotlib
import pytest

import triptych.use.charts as charts
from triptych.use import dots, overlays

LOG = [
    {"epoch": n, "stage": 1 if n < 4 else 2, "train loss": 2.0 / n, "validation loss": 2.2 / n, "validation f1": 1 - 1 / n, "lr": 0.1}
    for n in range(1, 8)
]
EVIL = '</text><script>alert(1)</script> $x_1$ & "quoted" 文字\x07'


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in parsed(svg).iter() if node.tag.endswith("text")]


def every_chart() -> list[str]:
    return [
        charts.curves(LOG, ["train loss", "validation loss"], "Loss", 7, 5),
        charts.curves(LOG, ["validation f1"], "F1", None, None),
        charts.confusion([[3, 1], [0, 4]], ["no", "yes"], "Answer"),
        charts.bars([("f1", 0.1, 0.9), ("recall", 0.25, float("nan"))], "Before and after"),
        charts.reliability([{"confidence": 0.4, "accuracy": 0.5, "rows": 9}, {"confidence": 0.9, "accuracy": 0.7, "rows": 2}], "Belief"),
        charts.between([{"share": s, "kept": 1 - s / 2, "f1": s} for s in (0.0, 0.5, 1.0)], {"kept": "base", "f1": "f1"}, "Both", "share"),
    ]


@pytest.mark.parametrize("svg", every_chart())
def test_a_chart_is_whole_svg_in_the_colours_of_the_page(svg):
    root = parsed(svg)
    assert root.attrib["role"] == "img" and root.attrib["aria-label"] and "width:100%" in root.attrib["style"]
    assert "#0a01" not in svg, "a placeholder colour was left"
    assert "var(--ink" in svg and "var(--accent" in svg
    assert not re.search(r"(fill|stroke): ?#(?!8884)[0-9a-f]{3,6}", svg), "a fixed colour is not seen on one of the two pages"
    assert "<style" not in svg and "<metadata" not in svg and "<?xml" not in svg
    assert "http" not in svg.replace("http://www.w3.org", "")


def test_charts_share_no_id_and_every_reference_is_met():
    seen: set[str] = set()
    for svg in every_chart():
        own = set(re.findall(r' id="([^"]+)"', svg))
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg)) <= own
        assert not own & seen
        seen |= own


def test_the_same_data_gives_the_same_chart():
    assert every_chart() == every_chart()


def test_threads_draw_what_one_draws():
    expected, found = every_chart(), []
    threads = [threading.Thread(target=lambda: found.append(every_chart())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_drawing_leaves_the_settings_of_matplotlib_alone_and_pyplot_unloaded():
    before = dict(matplotlib.rcParams)
    every_chart()
    assert dict(matplotlib.rcParams) == before
    lines = ["import sys, triptych.use.charts as c", "print('matplotlib' in sys.modules)", "c.bars([('a', 0, 1)], 't')"]
    code = "; ".join([*lines, "print('matplotlib.pyplot' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == ["False", "False"]


def test_curves_name_lines_best_stop_and_stages():
    found = texts(charts.curves(LOG, ["train loss", "validation loss"], "Loss", 7, 5))
    for word in ("Loss", "train loss", "validation loss", "best (epoch 5)", "stopped (epoch 7)", "epoch"):
        assert word in found
    assert any("stage 2" in text for text in found)
    quiet = texts(charts.curves(LOG, ["train loss"], "Loss", None, None))
    assert not any("best" in text or "stopped" in text for text in quiet)


def test_stages_that_are_near_each_other_have_their_numbers_alone():
    log = [{"epoch": n, "stage": max(0, (n - 35) // 3), "loss": 1.0} for n in range(1, 45)]
    found = texts(charts.curves(log, ["loss"], "Loss", None, None))
    assert [text.strip() for text in found if "stage" in text] == ["stage 1"] and "2" in found


def test_curves_leave_out_what_is_not_a_number():
    log = [*LOG, {"epoch": 8, "stage": 2, "train loss": float("nan")}, {"epoch": 9, "stage": 2, "train loss": None}]
    svg = charts.curves(log, ["train loss", "no such thing"], "Loss", None, 9)
    assert "nan" not in svg and "no such thing" not in svg
    assert charts.curves([], ["train loss"], "Loss", None, None) == "" == charts.curves(LOG, ["other"], "Loss", None, None)


def test_one_epoch_is_a_point():
    assert "train loss" in texts(charts.curves(LOG[:1], ["train loss"], "Loss", None, 1))


@pytest.mark.parametrize("classes", [2, 3, 10, 14, 15, 40])
def test_confusion_of_any_size_is_small_and_counts_where_they_fit(classes):
    matrix = [[90 if x == y else (x + y) % 3 for x in range(classes)] for y in range(classes)]
    svg = charts.confusion(matrix, [f"class {n}" for n in range(classes)], "Truth")
    assert ("90" in texts(svg)) == (classes <= charts.MOST_COUNTED)
    assert len(svg) < 130_000
    assert texts(svg).count("class 1") == 2


def test_confusion_shades_by_share_of_the_row():
    svg = charts.confusion([[1, 0], [0, 1000]], ["a", "b"], "t")
    shaded = [node for node in parsed(svg).iter() if "opacity" in node.attrib.get("style", "") and "accent" in node.attrib["style"]]
    assert len(shaded) == 1, "one of one and a thousand of a thousand are the same shade"
    charts.confusion([[0, 0], [0, 0]], ["a", "b"], "an empty row divides nothing")


def test_bars_write_their_values():
    found = texts(charts.bars([("f1", 0.125, 0.9)], "t"))
    assert {"0.125", "0.900", "f1", "untouched", "trained"} <= set(found)
    assert "no value" in texts(charts.bars([("f1", float("nan"), 0.9)], "t"))
    assert charts.bars([], "t") == ""


def test_words_of_users_are_escaped_and_never_formulas():
    for svg in (
        charts.confusion([[1, 2], [3, 4]], [EVIL[:16], "b"], EVIL),
        charts.bars([(EVIL, 0.1, 0.2)], EVIL),
        charts.curves([{"epoch": 1, "stage": 1, EVIL: 1.0}], [EVIL], EVIL, None, None),
    ):
        assert "<script" not in svg
        assert any("$x_1$" in text for text in texts(svg))


def test_dots_say_their_values_and_leave_out_what_is_none():
    made = [
        dots.Dot("trained", 0.9, 0.85, 0.95),
        dots.Dot("chance", 0.1, ours=False),
        dots.Dot("gone", float("nan")),
        dots.Dot("gone", None),
    ]
    svg = dots.intervals(made, "f1")
    assert {"trained", "0.900", "chance", "0.100", "f1"} <= set(texts(svg)) and "gone" not in texts(svg)
    assert "trained 0.900 (0.850 to 0.950)" in svg
    assert "-0.050" in texts(dots.intervals([dots.Dot("a", -0.05, -0.2, 0.1)], "t", zero=True))
    near = [dots.Dot("run 1", 0.94, 0.93, 0.95, colour=overlays.colour(0)), dots.Dot("run 2", 0.95, 0.94, 0.96, colour=overlays.colour(1))]
    assert "0.00" in texts(dots.intervals(near, "t")) and "0.00" not in texts(dots.intervals(near, "t", near=True))
    assert all(f"var(--line{n}" in dots.intervals(near, "t", near=True) for n in (1, 2))
    assert dots.intervals([], "t") == dots.intervals([dots.Dot("a", float("nan"))], "t") == ""


def test_before_and_after_may_lack_one_of_them():
    svg = dots.moved([("a and b", 1.25, 0.5), ("a and c", None, 0.75), ("gone", None, None)], "gap", 2.0)
    assert {"a and b", "0.500", "0.750", "untouched", "trained"} <= set(texts(svg)) and "gone" not in texts(svg)
    assert dots.moved([("gone", None, None)], "gap", 2.0) == ""


def test_small_curves_one_a_name():
    svg = dots.multiples(LOG, ["validation f1", "validation loss", "train loss", "nothing"], "all", 3)
    assert {"validation f1", "validation loss", "train loss", "all"} <= set(texts(svg)) and "nothing" not in texts(svg)
    assert dots.multiples(LOG, ["nothing"], "all", None) == "" == dots.multiples([], ["train loss"], "all", None)


# ---- the page

FIELDS = (
    "summary",
    "headline",
    "versions",
    "charts",
    "noticed",
    "balance",
    "scores",
    "reliance",
    "gap",
    "forgetting",
    "classes",
    "retrieval",
    "seen",
    "variants",
    "worst",
    "sampling",
    "lengths",
    "cost",
    "choices",
    "findings",
    "commands",
)
EMPTY = {
    "about": "what it is for",
    "name": "a run",
    "made": "today",
    "stopped": "",
    "recipe": "",
    "curves": [],
    "augmented": {},
    **{field: [] for field in FIELDS},
}


@functools.cache
def report() -> dict:
    svg, picture = charts.confusion([[1, 0], [0, 1]], ["a", "b"], "t"), '<figure class="value image"><img alt="p" src="data:,"></figure>'
    hits = [{"html": picture, "right": True, "score": 0.9, "label": EVIL}, {"html": picture, "right": False, "score": 0.5, "label": "b"}]
    score = {"about": "what it is for", "name": EVIL, "same": False, "untouched": None, "trained": 0.5, "direction": "higher"}
    return {
        "about": "what it is for",
        "name": EVIL,
        "made": EVIL,
        "stopped": EVIL,
        "recipe": EVIL,
        "sampling": {"by": EVIL, "rows": "9", "lines": [(EVIL, "9", "100.0%", "9", "100.0%", "1.00 times")], "left": 2},
        "summary": [("rows", EVIL)],
        "headline": [
            {"task": EVIL, "metric": "f1", "untouched": 0.1, "trained": 0.9, "best": "higher is better", "said": [EVIL], "same": False}
            | {"chart": dots.intervals([dots.Dot(EVIL, 0.5)], "f1"), "unbeaten": [EVIL]},
            {"task": "age", "metric": "error", "untouched": 3.0, "trained": 4.0, "best": "lower is better", "said": [], "same": False}
            | {"chart": "", "unbeaten": []},
        ],
        "charts": every_chart(),
        "curves": [dots.multiples(LOG, ["validation f1", "train loss"], EVIL, 5)],
        "noticed": {
            "quiet": EVIL,
            "left_out": EVIL,
            "said": [{"severity": "error", "text": EVIL, "fix": EVIL, "epoch": 1, "step": 7}],
        },
        "balance": {
            "epoch": 2,
            "rows": 1000,
            "measured": 3,
            "steps": 9,
            "tasks": [{"name": EVIL, "rows": 9, "weight": 1.0, "loss": 0.5, "loss_share": 0.5, "gradient_share": None}],
            "encoders": [{"name": EVIL, "gradient_share": 0.4}],
            "groups": [
                {
                    "title": EVIL,
                    "odd": True,
                    "left": 2,
                    "rows": [
                        {"name": EVIL, "rows": 9, "row_share": 0.1, "loss": 0.5, "loss_share": 0.6, "gradient_share": 0.7, "mark": "more"}
                    ],
                }
            ],
        },
        "reliance": {
            "why_not": EVIL,
            "warnings": [EVIL],
            "measured": EVIL,
            "tasks": [
                {
                    "task": EVIL,
                    "metric": "f1",
                    "chart": dots.intervals([dots.Dot(EVIL, 0.1, -0.1, 0.3), dots.Dot("b", 0.2, ours=False)], EVIL, zero=True),
                    "inputs": [{"input": EVIL, "rows": 9, "shuffle": 0.1, "drop": None, "alone": 0.5, "said": EVIL, "flagged": True}],
                }
            ],
        },
        "gap": [
            {
                "task": EVIL,
                "whens": ["untouched", "trained"],
                "chart": dots.moved([(EVIL, 1.0, 0.5)], EVIL, 2.0),
                "rows": [{"pair": EVIL, "distances": [1.0, 0.5], "share": 0.3, "rows": 9}],
            }
        ],
        "forgetting": {
            "source": EVIL,
            "rows": 9,
            "tuned": [EVIL],
            "heads": ["share", EVIL],
            "lines": [["0%", "0.900"], ["100%", "0.500"]],
            "chart": charts.between([{"share": 0.0, "kept": 0.9}, {"share": 1.0, "kept": 0.5}], {"kept": EVIL}, EVIL, "share"),
        },
        "scores": [
            {
                "group": EVIL,
                "main": True,
                "direction": "higher",
                "rows": [score, {**score, "untouched": 0.5}, {**score, "untouched": float("nan")}],
            }
        ],
        "classes": [
            {
                "title": EVIL,
                "untouched": None,
                "trained": svg,
                "matrices": [charts.confusion([[1, 0], [0, 1]], ["a", "b"], "t")],
                "reliability": charts.reliability([{"confidence": 0.5, "accuracy": 0.5, "rows": 1}], "t"),
                "classes": [{"class": EVIL, "rows": 3, "precision": None, "recall": 0.5, "f1": 0.4}],
            }
        ],
        "retrieval": [
            {"title": EVIL, "query_column": EVIL, "target_column": EVIL, "rows": [{"query": picture, "hits": hits, "label": EVIL}]}
        ],
        "seen": [{"column": EVIL, "value": picture, "seen": picture}],
        "variants": [
            {"column": EVIL, "whole": {"value": picture, "seen": picture}, "variants": [{"value": picture, "seen": picture}]},
        ],
        "augmented": {EVIL: {EVIL: 3}},
        "versions": {
            **{"lead": EVIL, "sides": [{"title": EVIL, "rows": [[EVIL] * 6]}], "why": [EVIL], "old": EVIL, "table": EVIL, "version": EVIL},
            "findings": [{"severity": "error", "text": EVIL, "fix": EVIL, "examples": [EVIL]}],
        },
        "worst": [{"task": EVIL, "rows": [{"id": EVIL, "said": EVIL, "truth": EVIL, "confidence": 0.9, "values": [picture]}]}],
        "lengths": [(EVIL,) * 10],
        "cost": [("time", EVIL)],
        "choices": [{"about": "what it is for", "name": EVIL, "value": EVIL, "reason": EVIL}],
        "findings": [{"severity": EVIL, "text": EVIL}],
        "commands": [EVIL],
    }


def rendered(r: dict) -> str:
    """As strict as it gets: no escaping unless the page asks for it, and no field that is not given."""
    folder = Path(charts.__file__).parent / "page"
    env = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, autoescape=False)
    return env.get_template("report.html.j2").render(r=r)


class Page(HTMLParser):
    VOID = frozenset({"meta", "img", "br", "path", "use", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag


def test_the_page_is_whole_escaped_and_loads_nothing():
    page = Page(rendered(report()))
    assert not page.open and "script" not in page.tags and "link" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.tags.count("section") == 21


def test_an_empty_field_leaves_no_section_and_no_link():
    html = rendered(EMPTY)
    assert "<section" not in html and 'href="#' not in html and "a run" in html
    for field in (*FIELDS[1:], "stopped", "recipe"):
        page = Page(rendered(EMPTY | {field: report()[field]}))
        assert page.tags.count("section") == 1, field
        assert len([link for link in page.links if link in {f"#{name}" for name in page.ids}]) >= 1, field


def test_better_and_worse_follow_the_direction_and_right_is_said_in_words():
    html = rendered(report())
    assert "better by 0.800" in html and "worse by 1.000" in html and "the same" in html and "not compared" in html
    assert "✓ right" in html and "✗ wrong" in html
