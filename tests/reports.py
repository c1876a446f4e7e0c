"""How much of a report the trainings of a test write: making the page takes several times what training a tiny model does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any
from unittest import mock

BLANK = "from tests.reports import blank; from triptych.use import report; report.write_report = blank\n"
"""Said before a program that a test starts: its trainings write blank reports."""


def blank(run: Any) -> Path:
    """Takes the place of `triptych.use.report.write_report` where nobody looks at the page."""
    run.report.write_text(f"<!doctype html><title>{escape(run.name)}</title>", encoding="utf-8")
    return run.report


@contextmanager
def reports(*, charts: bool = True, pages: bool = True) -> Iterator[None]:
    """Inside of it: whether charts are drawn, or their words alone are put down; whether `train` makes a page, or a blank one."""
    from matplotlib.figure import Figure

    from triptych.use import report

    drawn, made = _real(Figure.savefig, report.write_report)
    chart, page = drawn if charts else _words_alone, made if pages else blank
    with mock.patch.object(Figure, "savefig", chart), mock.patch.object(report, "write_report", page):
        yield


_REAL: list[Any] = []


def _real(*there: Any) -> list[Any]:
    """What was there when this was called first, before anything was changed."""
    _REAL.extend(there if not _REAL else ())
    return _REAL


def _words_alone(figure: Any, file: Any, **words: Any) -> None:
    from matplotlib.text import Text

    told = "".join(f"<text>{escape(text.get_text())}</text>" for text in figure.findobj(Text) if text.get_text())
    file.write(f'<svg width="1">{told}</svg>')
