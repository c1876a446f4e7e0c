"""Texts in symbols and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.contract.spelling import STRANGE, Spelling, normalised


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  Turn  ON,\tthe light! ", "turn on the light"),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t 'quote' me.", "don't quote me"),
        ("rock 'n' roll", "rock n roll"),
        ("Stra\N{LATIN SMALL LETTER SHARP S}e", "strasse"),
        ("cafe\N{COMBINING ACUTE ACCENT} under_score", "caf\N{LATIN SMALL LETTER E WITH ACUTE} under score"),
        ("...", ""),
    ],
)
def test_basic_normalising(text, wanted):
    assert normalised(text, "basic") == wanted


def test_none_leaves_all_but_spaces():
    assert normalised("  Turn ON,  the light! ", "none") == "Turn ON, the light!"


@given(st.text(max_size=60), st.sampled_from(["none", "basic"]))
def test_normalising_twice_is_normalising_once(text, how):
    once = normalised(text, how)
    assert normalised(once, how) == once


@given(st.lists(st.text(max_size=30), max_size=5), st.sampled_from(["characters", "words"]))
def test_what_was_spelt_reads_as_it_was(texts, unit):
    texts = [normalised(text, "basic") for text in texts]
    spelling = Spelling.of(texts, unit)
    assert [spelling.text(row) for row in spelling.classes(texts)] == texts
    assert all(0 < c <= len(spelling.symbols) for row in spelling.classes(texts) for c in row)


def test_what_no_training_row_has_is_strange():
    spelling = Spelling.of(["one two"], "characters")
    assert spelling.symbols[0] == " "
    (row,) = spelling.classes(["six"])
    assert spelling.text(row) == STRANGE * 3
    assert spelling.strange("one six") == ["i", "s", "x"]
    words = Spelling.of(["one two"], "words")
    assert words.text(words.classes(["two six one"])[0]) == f"two {STRANGE} one"
    assert words.text([-1, 1, 0, 2, -1]) == "one two"
