"""Rows that have words and no input: chat beside questions about pictures. They are kept and learnt from, and by nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import triptych
from triptych.base.errors import InputError
from triptych.run.building import build
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

RECIPE = """
name: words-alone
data: {source: rows.jsonl, split: {column: side}, max_rejected: 0.2}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
fusion: {kind: prefix, projector: linear, width: 8}
decoder: {kind: small, layers: 1, width: 32, heads: 4, dropout: 0, tokenizer: word, context: 64, vocabulary: 40}
tasks:
  answer: {kind: generate, target: answer, template: "{image} {question}", longest: 3}
  caption: {kind: generate, target: caption, template: "{image} what is shown", longest: 3}
  chat: {kind: generate, messages: talk, longest: 3}
  label: {kind: classify, target: label}
stages: [{train: [all], epochs: 8, lr: 1.0e-2}]
training: {batch_size: 4, threads: 1, select: answer.loss}
"""
QUIET = Voice(quiet=True)
COLOURS = {"red": (250, 20, 20), "blue": (20, 20, 250)}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Of each six rows three show a colour, two are words alone, and one has nothing at all."""
    folder = tmp_path_factory.mktemp("words")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(48):
            colour, kind = list(COLOURS)[number // 6 % 2], number % 6
            row = {"id": str(number), "label": colour, "caption": colour, "side": "train" if number < 36 else "test"}
            if kind < 3:
                Image.fromarray(np.full((16, 16, 3), COLOURS[colour], np.uint8)).save(folder / f"{number}.png")
                row |= {"image": f"{number}.png", "question": "what colour is it", "answer": colour}
            elif kind == 3:
                row |= {"question": "what does a dog say", "answer": "woof"}
            elif kind == 4:
                row["talk"] = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]
            file.write(json.dumps(row) + "\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def bench_of(recipe, *sets):
    made = read(str(recipe), list(sets))
    return build(made, open_table(made, QUIET), QUIET)


def test_each_task_takes_the_rows_that_it_can_be_asked_of(recipe):
    bench = bench_of(recipe)
    ids = [int(row) for row in bench.table.rows.ids()]
    assert [one.reason for one in bench.table.rejects] == ["no input at all: image is empty"] * 8
    assert {one % 6 for one in ids} == {0, 1, 2, 3, 4}
    of = {name: {n % 6 for n, has in zip(ids, target.has.tolist(), strict=True) if has} for name, target in bench.targets.items()}
    # what a picture is asked has words that were written for a picture; a label is told by inputs
    assert of == {"answer": {0, 1, 2, 3}, "caption": {0, 1, 2}, "chat": {4}, "label": {0, 1, 2}}
    assert any("no words of its own in the question" in line for line in bench.targets["caption"].findings)


def test_a_batch_of_words_alone_is_the_same_beside_pictures(recipe):
    bench = bench_of(recipe)
    loader, model = bench.loader("train"), bench.model.eval()
    ids = bench.table.rows.ids()
    words = [n for n, row in enumerate(ids) if int(row) % 6 in (3, 4)][:4]
    seen = [n for n, row in enumerate(ids) if int(row) % 6 < 3][:3]
    alone, beside = (model(loader.batch(rows)).outputs for rows in (words, words + seen))
    for name in ("answer", "chat"):
        torch.testing.assert_close(alone[name]["nll_B"], beside[name]["nll_B"][: len(words)])
        assert alone[name]["nll_B"].sum() > 0


def test_both_are_learnt_together(recipe, tmp_path):
    run = triptych.train(recipe, out=tmp_path / "run", quiet=True)
    assert run.predict(question="what does a dog say").tasks["answer"]["said"] == "woof"
    assert {run.predict(image=recipe.parent / f"{n}.png", question="what colour is it").tasks["answer"]["said"] for n in (36, 42)} == set(
        COLOURS
    )


def test_other_fusions_have_nothing_to_mix(recipe):
    with pytest.raises(InputError, match="no input at all"):
        open_table(read(str(recipe), ["fusion={kind: single}", "data.max_rejected=0.2"]), QUIET)
