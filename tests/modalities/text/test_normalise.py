"""Texts made alike: Whisper's own cases, and what must hold for any script."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.modalities.text.normalise import HOW, _spellings, normalised

WHISPER = {  # from Whisper's tests/test_normalizer.py
    "two": "2",
    "nineteen ninety nine": "1999",
    "two point five million": "2500000",
    "four point two billions": "4200000000s",
    "£77 thousands": "£77000s",
    "forty three thousand two hundred and sixty": "43260",
    "thirty three thousand and three hundred and thirty third": "33333rd",
    "august twenty sixth twenty twenty one": "august 26th 2021",
    "two point two five dollars": "$2.25",
    "seventy six per cent": "76%",
    "one triple oh one": "10001",
    "minus 500": "-500",
    "two dollars and seventy cents": "$2.70",
    "$0.36": "¢36",
    "three and a half million": "3500000",
    "b747": "b 747",
    "10 th": "10th",
    "Let's": "let us",
    "she's been like": "she has been like",
    "10km": "10 km",
    "RC232": "rc 232",
    "Mr. Park visited Assoc. Prof. Kim Jr.": "mister park visited associate professor kim junior",
    "mobilisation": "mobilization",
    "cancelation": "cancellation",
}


@pytest.mark.parametrize("text", WHISPER)
def test_english_is_whispers(text):
    assert normalised(text, "english") == WHISPER[text]


def test_the_list_of_spellings_is_whole():
    assert len(_spellings()) == 1739 and _spellings()["colour"] == "color"


def test_basic():
    assert normalised("Hello,  WORLD! It's 3–4 o’clock\t(noon).", "basic") == "hello world its 3 4 oclock noon"
    assert normalised("हिन्दी में, लिखो।", "basic") == "हिन्दी में लिखो", "marks are parts of words"
    assert normalised("ﬁne\u00adly ＡＢＣ", "basic") == "finely abc"
    assert normalised("  As, it IS ", "none") == "  As, it IS "


@given(st.text(max_size=30), st.sampled_from(["none", "basic"]))
def test_what_is_normalised_stays(text, how):
    once = normalised(text, how)
    assert normalised(once, how) == once


@given(st.text(max_size=30), st.sampled_from(HOW))
def test_any_text_can_be_normalised(text, how):
    once = normalised(text, how)
    assert how == "none" or once == " ".join(once.split())


def test_an_unknown_way_is_said():
    with pytest.raises(InputError, match="did you mean 'english'"):
        normalised("a", "englisch")
