"""Rows of a table as a decoder is asked them: which can be used, and why others cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from triptych.base.errors import InputError
from triptych.contract.generator import LEARNT, SLOTS
from triptych.contract.tasks import Generate
from triptych.data.asked import AskedRows
from triptych.data.rows import Row
from triptych.data.table import Table
from triptych.modalities.text import MODALITY
from triptych.modalities.text.decoders import Small

INPUTS = {"picture": "image", "voice": "audio"}
CHAT = [{"role": "user", "content": "<image> what"}, {"role": "assistant", "content": "a dog"}]


def table(*cells, columns=("thing", "answer", "chat")) -> Table:
    return Table(list(columns), [Row(f"row-{n}", one) for n, one in enumerate(cells)], "table.csv", Path(), ["train"] * len(cells))


def asked(held, counts=None, **words) -> AskedRows:
    task = Generate(**({"target": "answer", "template": "{picture} what is {thing}"} | words))
    script = MODALITY.script(Small(layers=1, width=16, heads=2, vocabulary=300, context=48), INPUTS)
    made = AskedRows("say", task, script, held, counts or {name: [0] * len(held.rows) for name in INPUTS})
    script.fit(made.cells(range(len(held.rows))))
    return made


def test_rows_without_an_answer_are_not_asked_and_nothing_is_said_of_them():
    held = table({"thing": "a dog", "answer": "brown"}, {"thing": "a cat"}, {"answer": "red"})
    made = asked(held, {"picture": [0, 0, 1], "voice": [0, 0, 0]})
    target = made.target()
    assert target.has.tolist() == [True, False, True]
    assert target.findings == []
    assert made.columns == ["thing", "answer"]


def test_rows_that_cannot_be_asked_are_counted_with_their_reason():
    held = table({"thing": "a", "answer": "b"}, {"answer": "red"}, {"thing": "it", "answer": "long " * 90}, {"thing": "it", "answer": "  "})
    made = asked(held, template="{thing}")
    target = made.target()
    assert target.has.tolist() == [True, False, False, False]
    (first, second, third) = target.findings
    assert all("task say: 1 row is not used" in one for one in (first, second, third))
    assert "nothing is left of the question" in " ".join(target.findings)
    assert "an answer is empty" in " ".join(target.findings)
    assert "(the first: row-2)" in " ".join(target.findings)


def test_what_is_asked_of_an_input_is_not_asked_without_any():
    held = table({"thing": "a dog", "answer": "brown"}, {"answer": "red"}, {"answer": "blue"})
    target = asked(held, {"picture": [0, 0, 1], "voice": [0, 0, 0]}).target()
    assert target.has.tolist() == [True, False, True]
    assert "no words of its own in the question (the first: row-1)" in " ".join(target.findings)


def test_many_reasons_are_counted_to_the_last_row():
    strange = [[{"role": f"{letter}nobody", "content": "x"}] for letter in "abcdefgh"]
    held = table(*[{"chat": turns} for turns in strange], {"chat": CHAT})
    target = asked(held, {"picture": [1] * 9, "voice": [0] * 9}, target=None, template=None, messages="chat").target()
    assert int(target.has.sum()) == 1
    counts = [int(text.split(": ", 1)[1].split(" row", 1)[0]) for text in target.findings]
    assert sum(counts) == 8
    assert target.findings[-1].endswith("for 3 other reasons")


def test_reasons_that_differ_in_a_large_number_are_one_and_the_first_is_told_with_a_way_out():
    held = table(*[{"thing": "it", "answer": "long " * (90 + n)} for n in range(8)], {"thing": "it", "answer": "a"})
    (told,) = asked(held, template="{thing}").target().findings
    assert "8 rows are not used" in told and "the decoder has 48" in told and "(the first: row-0); shorten the answer" in told


def test_questions_that_lose_their_first_words_are_counted():
    held = table({"thing": "word " * 90, "answer": "b"}, {"thing": "it", "answer": "a"}, {"thing": "word " * 70, "answer": "b"})
    target = asked(held, template="{thing}").target()
    assert target.has.tolist() == [True, True, True]
    assert target.findings == [
        "task say: 2 questions are longer than the decoder has room for; the first words are not read (the first: row-0)"
    ]


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match="'colour'") as problem:
        asked(table({"thing": "a", "answer": "b"}), template="{colour} {thing}")
    assert "thing" in str(problem.value.known)
    with pytest.raises(InputError, match="'talk'"):
        asked(table({"thing": "a", "answer": "b"}), target=None, template=None, messages="talk")


def test_every_value_of_a_row_has_its_place():
    held = table(*[{"thing": "a dog", "answer": "brown"}] * 3)
    made = asked(held, {"picture": [1, 0, 3], "voice": [0, 1, 1]})
    packed = made.pack([0, 1, 2])
    assert [[n for n in row if n >= 0] for row in packed.tensors[SLOTS].tolist()] == [[0], [], [0, 2, 4]]
    assert packed.tensors[LEARNT].any(1).all()


def test_conversations_name_as_many_values_as_there_are():
    two = [{"role": "user", "content": "<image> and <image>"}, {"role": "assistant", "content": "dogs"}]
    held = table({"chat": CHAT}, {"chat": CHAT}, {"chat": two}, {"chat": "no chat"}, {"chat": 3}, {"thing": "it"})
    made = asked(held, {"picture": [1, 0, 2, 0, 0, 0], "voice": [0, 0, 0, 0, 0, 0]}, target=None, template=None, messages="chat")
    target = made.target()
    assert target.has.tolist() == [True, False, True, False, False, False]
    said = " ".join(target.findings)
    assert "names 1 x picture, and the row has 0" in said
    packed = made.pack([0, 2])
    assert [[n for n in row if n >= 0] for row in packed.tensors[SLOTS].tolist()] == [[0], [0, 2]]


def test_rows_are_the_same_in_any_company():
    held = table(*[{"thing": f"dog {n}", "answer": "brown " * (n + 1)} for n in range(4)])
    made = asked(held)
    together = made.pack([3, 0, 2])
    for place, row in enumerate([3, 0, 2]):
        alone = made.pack([row])
        length = alone.mask_PT.shape[1]
        assert int(together.mask_PT[place].sum()) == length
        for name, tensor in alone.tensors.items():
            assert torch.equal(together.tensors[name][place, :length], tensor[0])
