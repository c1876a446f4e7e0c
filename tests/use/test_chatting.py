"""What of an answer is shown while it is written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.use.chatting import pieces

TEXTS = st.text(st.sampled_from("abc é猫😀\n.!"), max_size=40)


def versions(text: str) -> list[str]:
    """A text as its bytes come in, letters that are not whole yet broken, as a tokenizer of bytes gives it."""
    content = text.encode()
    return [content[: n + 1].decode(errors="replace").strip() for n in range(len(content))]


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_pieces_are_the_text_and_no_letter_is_broken(text):
    found = list(pieces(versions(text)))
    assert "".join(found) == text.strip()
    assert not any("\ufffd" in piece for piece in found)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, stop=st.text("abc!", min_size=1, max_size=4))
def test_the_beginning_of_a_word_that_ends_an_answer_is_not_shown(text, stop):
    found = "".join(pieces([one.split(stop)[0].strip() for one in versions(f"{text}{stop} more")], [stop]))
    assert found == f"{text}{stop}".split(stop)[0].strip()


def test_words_come_one_by_one_and_languages_without_spaces_too():
    text = "a dark cat sleeps"
    assert list(pieces(text[: n + 1] for n in range(len(text)))) == ["a", " dark", " cat", " sleeps"]
    long = "猫" * 60
    assert len(list(pieces(long[: n + 1] for n in range(60)))) > 20


def test_punctuation_that_a_tokenizer_moves_is_waited_for():
    assert "".join(pieces(["it", "it is", "it is dark", "it is dark .", "it is dark."])) == "it is dark."
    assert list(pieces([])) == []
