"""Classes told by sentences: equal to the same by hand, and no row is answered from what it lacks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import triptych
from triptych.base.errors import InputError
from triptych.run.prompts import nearest
from triptych.run.recipe import read
from triptych.run.verdict import in_words
from triptych.use.report import write_report

PROMPT = "tasks.label.prompt='a {label} thing, with {braces}'"


def test_nearest_is_the_mean_over_the_inputs_a_row_has():
    torch.manual_seed(0)
    spaces = {c: F.normalize(torch.randn(4, 8), dim=1) for c in ("a", "b", "words")}
    prompts = F.normalize(torch.randn(3, 8), dim=1)
    present = {
        "a": torch.tensor([True, True, False, False]),
        "b": torch.tensor([True, False, False, False]),
        "words": torch.tensor([True, True, True, False]),
    }
    found = nearest(spaces, present, "words", prompts, 5.0)
    wanted = [
        (spaces["a"][0] + spaces["b"][0]) / 2 @ prompts.T,  # the words of the row itself are not asked
        spaces["a"][1] @ prompts.T,
        spaces["words"][2] @ prompts.T,  # but where there is nothing else
        torch.zeros(3),
    ]
    torch.testing.assert_close(found, (5 * torch.stack(wanted)).softmax(1))


def test_before_and_after_stand_beside_the_other_baselines(tiny_recipe, tmp_path):
    sets = [PROMPT, "stages.0.epochs=10"]
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=sets, quiet=True)
    score = next(score for score in run.scores if score["name"] == "label.accuracy by prompts")
    told = run.folder.read("verdicts.json")["label"]
    assert told["baselines"]["zero-shot by prompts"]["accuracy"] == score["untouched"] == told["prompts"]["untouched"]["value"]
    assert told["prompts"]["trained"]["value"] == score["trained"]
    assert {"chance", "majority", "nearest rows", "logistic regression"} <= set(told["baselines"])
    assert "by prompts" in write_report(run.folder).read_text()
    # By hand, through the opened run: the sentence nearest to each of the test rows.
    labels = run.model.parts()["label"].facts["labels"]
    prompts = run.embed_rows([{"text": f"a {label} thing, with {{braces}}"} for label in labels])["match.text"]
    held, right = run.gallery, []
    for n in range(len(held["id"])):
        there = [held[f"match.{c}"][n] for c in ("image", "audio") if held[f"match.{c}"][n] is not None]
        vectors = torch.tensor(there or [held["match.text"][n]])
        right.append(labels[int((vectors @ torch.tensor(prompts).T).mean(0).argmax())] == held["match.label"][n])
    assert score["trained"] == pytest.approx(sum(right) / len(right))
    assert told["prompts"]["alike"] == pytest.approx(float((torch.tensor(prompts) @ torch.tensor(prompts).T).min()), abs=1e-5)
    said = {alike: " ".join(in_words("label", {**told, "prompts": {**told["prompts"], "alike": alike}})) for alike in (0.5, 0.99)}
    assert "say the prompt" in said[0.99] and "cosine 0.990" in said[0.99] and "say the prompt" not in said[0.5]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (["tasks.label.prompt=some music"], ["says nothing of the class", "{label}", "tasks.label"]),
        (
            ["tasks.label.prompt='a {label}'", "tasks.match.between=[image, audio]"],
            ["no contrast task brings text together", "match is between image, audio", "between: [image, text]"],
        ),
        (["tasks={label: {kind: classify, target: label, prompt: 'a {label}'}}"], ["the recipe has no contrast task", "remove the prompt"]),
        (
            [
                "inputs={image: {}, audio: {}}",
                "tasks={m: {kind: contrast, between: [image, audio]}, label: {kind: classify, target: label, prompt: 'a {label}'}}",
            ],
            ["no input takes sentences", "image, audio are files"],
        ),
        (["inputs={text: {}}", "tasks={n: {kind: classify, target: label, prompt: 'a {label}'}}"], ["remove the prompt, or add an input"]),
        (["tasks={n: {kind: classify, target: label, prompt: ['a {label}', 'one']}}"], ["prompt 'one' says nothing"]),
        (["tasks={n: {kind: classify, target: label, prompt: []}}"], ["empty list"]),
        (["tasks={n: {kind: regress, target: number, prompt: 'a {label}'}}"], ["unknown field 'prompt'"]),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused(tiny_recipe, changes, parts):
    with pytest.raises(InputError) as caught:
        read(str(tiny_recipe), changes)
    for part in parts:
        assert part in str(caught.value), caught.value
