"""What a recipe and its rows lack for tasks in writing, said before anything is trained; options that mean an input or a column."""

from __future__ import annotations

import pytest

from triptych.base.errors import InputError
from triptych.cli.values import named_values
from triptych.data.rows import Listed, Row
from triptych.data.table import Table
from triptych.run.inspect import told
from triptych.run.recipe import read

RECIPE = """
data: {source: rows.csv}
inputs: {image: {}, voice: {modality: audio}}
decoder: small
tasks:
  answer: {kind: generate, target: answer, template: "{image} {voice} {question}"}
  caption: {kind: generate, target: caption, template: "{image}"}
stages: [{train: [all], epochs: 1}]
"""
CELLS = [{"answer": "a", "caption": "b"}, {"caption": "b"}, {"answer": "a"}, {}]


def recipe(tmp_path, *sets, text=RECIPE):
    (tmp_path / "recipe.yaml").write_text(text)
    return read(str(tmp_path / "recipe.yaml"), list(sets))


def said(recipe):
    rows = [Row(f"row-{n}", {"image": "x.png", "voice": "x.wav", **cells}) for n, cells in enumerate(CELLS)]
    table = Table(["image", "voice", "answer", "caption"], Listed(rows), "rows.csv", None, splits=["train"] * len(rows))
    return {(one.severity, one.text): one.rows for one in told(recipe, table) if one.code in ("no answer", "not asked about")}


def test_rows_without_an_answer_are_counted(tmp_path):
    found = said(recipe(tmp_path))
    assert found == {
        ("warning", "no task has an answer for these rows, so nothing is learnt from them"): 1,
        ("note", "task answer: these rows have no answer (answer is empty), and are not asked it"): 2,
        ("note", "task caption: these rows have no answer (caption is empty), and are not asked it"): 2,
    }


def test_an_input_that_no_question_names_is_told(tmp_path):
    text = RECIPE.replace("{image} {voice} {question}", "{image} {question}")
    assert ("warning", "input voice: no template names it, so nothing is learnt from it") in said(recipe(tmp_path, text=text))


@pytest.mark.parametrize(
    ("template", "what"),
    [("{image} {answer}", "the answer stands in the question"), ("{image} {question", "do not match")],
)
def test_a_question_that_cannot_be_one_is_refused_with_its_task(tmp_path, template, what):
    with pytest.raises(InputError, match=what) as problem:
        recipe(tmp_path, text=RECIPE.replace("{image} {voice} {question}", template))
    assert "tasks.answer" in problem.value.where


def test_an_option_may_be_called_by_its_modality_where_there_is_one(tmp_path):
    made = recipe(tmp_path)
    assert named_values({"audio": ["a"], "text": ["how many"]}, made) == {"voice": "a", "question": "how many"}
    with pytest.raises(InputError, match="given by two names"):
        named_values({"text": ["a"], "question": ["b"]}, made)
    with pytest.raises(InputError, match="unknown option '--video'"):
        named_values({"video": ["a"]}, made)
