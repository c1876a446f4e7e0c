from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from triptych.base.plain import one_line


def test_names_that_would_steer_a_terminal():
    assert one_line("a\nb\x1b[31m\r\u2028\udcff") == "a\\nb\\x1b[31m\\r\\u2028\\udcff"
    assert one_line("Größe 😀 日本 a b") == "Größe 😀 日本 a b"


@given(st.text())
def test_it_is_one_line_and_can_be_written(text):
    said = one_line(text)
    assert len(said.splitlines()) <= 1 and isinstance(said.encode(), bytes)
    assert said == text or not text.isprintable()
