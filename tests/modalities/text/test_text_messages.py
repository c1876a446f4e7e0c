"""Conversations in the shapes people keep them in, and the words of a task."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from triptych.base.errors import BadValue, InputError
from triptych.modalities.text.messages import Slot, Turn, check_counts, read_messages
from triptych.modalities.text.wording import Template

PIXEL = "data:image/png;base64,iVBORw0KGgo="
OPENAI = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is "},
            {"type": "image_url", "image_url": {"url": PIXEL}},
            {"type": "text", "text": "this, "},
            {"type": "text", "text": "and this?"},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "image"},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "A dot."}], "name": "it"},
]
SHAREGPT = {
    "system": "Be brief.",
    "conversations": [
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Ho"},
        {"from": "human", "value": "?"},
        {"from": "gpt", "value": "!"},
    ],
}
LLAVA = {
    "id": "7",
    "image": "a.png",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat is <b>this</b>, and <image>?"},
        {"from": "gpt", "value": "An <image> tag."},
    ],
}


def told(turns):
    return [(turn.role, turn.parts, turn.learnt) for turn in turns]


@pytest.mark.parametrize("as_text", [False, True])
def test_the_shapes(as_text):
    openai, sharegpt, llava = (read_messages(json.dumps(c) if as_text else c) for c in (OPENAI, SHAREGPT, LLAVA))
    asked = ("What is ", Slot("image", 0), "this, and this?", Slot("audio", 0), Slot("image", 1))
    assert told(openai) == [("system", ("Be brief.",), False), ("user", asked, False), ("assistant", ("A dot.",), True)]
    assert [(t.role, t.parts[0]) for t in sharegpt] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Ho"),
        ("user", "?"),
        ("assistant", "!"),
    ]
    assert llava[0].parts == (Slot("image", 0), "\nWhat is <b>this</b>, and ", Slot("image", 1), "?")
    assert llava[1].parts == ("An <image> tag.",)
    assert read_messages({"messages": OPENAI, "tools": [{"type": "function"}]}) == openai


def test_words_of_media_are_those_of_the_inputs():
    cell = [{"role": "user", "content": "<image> <scan>"}, {"role": "assistant", "content": "x"}]
    assert read_messages(cell, media={"scan": "scan"})[0].parts == ("<image> ", Slot("scan", 0))
    assert read_messages(cell, media={})[0].parts == ("<image> <scan>",)
    assert read_messages(cell, media={"image": "photo", "scan": "photo"})[0].parts == (Slot("photo", 0), " ", Slot("photo", 1))
    with pytest.raises(BadValue, match="there is audio in it, and no input takes that"):
        read_messages(OPENAI, "row 4", media={"image": "image"})


def one(**message):
    return [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, message]


WRONG = [
    ("{", "no conversation, nor JSON"),
    ("Hello", "no conversation, nor JSON"),
    ("[" * 100_000, "no conversation, nor JSON"),
    (3, "a list of messages, not a number"),
    (None, "a list of messages, not null"),
    ([], "is empty"),
    ({}, "the object has no messages; it has nothing"),
    ({"chat": []}, "it has chat"),
    ({"messages": "hi"}, "not a text"),
    (["hi"], "a message is an object, not a text"),
    ([{"role": "system", "content": "a"}], "nobody says anything"),
    (one(content="x"), "nothing says who speaks; the message has content"),
    (one(role="usr", content="x"), "unknown role 'usr'"),
    (one(role=["user"], content="x"), "unknown role"),
    (one(role="tool", content="3"), "unknown role 'tool'"),
    (one(role="user"), "the message has no content"),
    (one(role="user", content=None), "the message has no content"),
    ([{"from": "human", "text": "x"}], "the message has no value"),
    (one(role="assistant", content=None, tool_calls=[{}]), "calls a tool"),
    (one(role="user", content=" \n"), "the user says nothing"),
    (one(role="user", content=[]), "the user says nothing"),
    (one(role="user", content=7), "a text or a list of parts, not a number"),
    (one(role="user", content={"text": "x"}), "not an object"),
    (one(role="user", content=[7]), "a part of a message is an object, not a number"),
    (one(role="user", content=[{"type": "text"}]), "has no text"),
    (one(role="user", content=[{"type": ["text"], "text": "x"}]), "unknown type of part"),
    (one(role="user", content=[{"type": "smell", "text": "x"}]), "unknown type of part 'smell'"),
    (one(role="assistant", content=[{"type": "image"}]), "a medium stands in an answer"),
]


@pytest.mark.parametrize("cell,said", WRONG)
def test_what_is_no_conversation_says_why(cell, said):
    with pytest.raises(BadValue, match=said) as error:
        read_messages(cell, "row 7")
    assert "row 7" in error.value.where


def test_the_message_that_is_wrong_is_named_with_what_is_known():
    with pytest.raises(BadValue) as error:
        read_messages(one(role="asistant", content="x"), "row 7")
    assert "row 7, message 3" in str(error.value) and "did you mean 'assistant'?" in str(error.value) and "human" in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "messages"]) | st.text(), inner, max_size=4)
        | st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": inner})
    ),
    max_leaves=8,
)


@trials(max_examples=50)
@given(JSON)
def test_anything_at_all_is_a_conversation_or_a_bad_value(cell):
    try:
        turns = read_messages(cell)
    except BadValue:
        return
    assert turns and all(isinstance(part, str | Slot) and part for turn in turns for part in turn.parts)
    assert read_messages(json.dumps(cell)) == turns


def test_half_a_character_does_not_reach_the_tokenizer():
    (turn,) = read_messages('[{"role": "user", "content": "a \\ud83d b"}]')
    assert turn.parts == ("a \ufffd b",)


def test_media_that_are_named_and_media_that_are_there_are_counted():
    turns = read_messages(LLAVA)
    check_counts(turns, {"image": 2, "audio": 0}, "row 7")
    for has, said in (({}, "names 2 x image, and the row has 0"), ({"image": 1}, "and the row has 1"), ({"image": 3}, "and the row has 3")):
        with pytest.raises(BadValue, match=said) as error:
            check_counts(turns, has, "row 7")
        assert error.value.where == "row 7"
    with pytest.raises(BadValue, match="names 0 x audio, and the row has 1"):
        check_counts(turns, {"image": 2, "audio": 1})


def template(words, system=None):
    return Template(words, system, ["image", "voice"], ["question", "name", "count", "tags"])


def test_a_template_is_filled_with_what_a_row_has():
    made = template("{image} {voice} {question} {{so}} ", "You are {name}.")
    assert made.slots == ["image", "voice"] and made.columns == ["name", "question"]
    cells = {"question": " Why? ", "name": "Ida"}
    assert made.turns(cells, {"image": 1, "voice": 1}, "So.") == [
        Turn("system", ("You are Ida.",)),
        Turn("user", (Slot("image"), " ", Slot("voice"), " Why? {so}")),
        Turn("assistant", ("So.",), learnt=True),
    ]
    assert made.turns({}, {"voice": 1}) == [Turn("system", ("You are.",)), Turn("user", (Slot("voice"), " {so}"))]
    assert made.turns({"question": ""}, {})[1].parts == ("{so}",)
    assert made.turns(cells, {"image": 3})[1].parts == (*(Slot("image", n) for n in range(3)), " Why? {so}")


def test_cells_are_written_as_people_write_them():
    made = template("{count} of {tags}: {question}")
    assert made.turns({"count": 7.0, "tags": ["a", "b"], "question": "{image} <image>"}, {})[0].parts == ("7 of a, b: {image} <image>",)
    with pytest.raises(BadValue, match="question: not a text"):
        made.turns({"question": b"\x89PNG\0"}, {}, where="row 3")


@pytest.mark.parametrize("words", ["{image}", "{question}", "{image}{question}", " {voice}\n"])
def test_nothing_left_of_a_question_is_a_bad_value(words):
    with pytest.raises(BadValue, match="nothing is left"):
        template(words).turns({"question": " ", "name": "x"}, {"image": 0}, "a")


@pytest.mark.parametrize(
    "words,said",
    [
        ("{imge} what", "unknown name 'imge'"),
        ("{image", "do not match"),
        ("image}", "do not match"),
        ("{}", "more or less than a name"),
        ("{image!r}", "more or less than a name"),
        ("{image:3}", "more or less than a name"),
        ("", "nothing in it"),
    ],
)
def test_wrong_templates(words, said):
    with pytest.raises(InputError, match=said) as error:
        template(words)
    if "imge" in words:
        assert "did you mean 'image'" in str(error.value) and "question" in str(error.value)
    with pytest.raises(InputError, match="system words are words"):
        template("a", "{image}")


@given(st.text(), st.dictionaries(st.sampled_from(["question", "name"]), st.text(max_size=8)), st.booleans())
def test_any_words_are_a_template_or_an_input_error(words, cells, seen):
    try:
        made = template(words)
        (turn,) = made.turns(cells, {"image": int(seen)})
    except (InputError, BadValue):
        return
    assert turn.parts and all(turn.parts)
