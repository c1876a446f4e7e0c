"""The shipped recipes that answer in writing: a few rows of their sample through training, measuring and asking."""

from __future__ import annotations

from dataclasses import replace

import pytest

import triptych
from triptych.data.samples import SAMPLES
from triptych.run.recipe import read

FEW = ["stages.0.epochs=1", "training.batch_size=8", "decoder.layers=1", "decoder.width=16", "training.threads=1"]


@pytest.fixture(autouse=True)
def _few_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SAMPLES, "scenes", replace(SAMPLES["scenes"], rows={"train": 6, "validation": 2, "test": 3}))


def test_captions_come_out_as_sentences_with_scores(tmp_path):
    run = triptych.train("captions", set=FEW, out=tmp_path / "run", quiet=True)
    names = {score["name"] for score in run.scores}
    assert {"caption.exact", "caption.bleu", "caption.cider", "caption.accuracy"} <= names


def test_questions_are_asked_in_writing_and_by_voice(tmp_path):
    pytest.importorskip("espeakng_loader")
    run = triptych.train("ask", set=FEW, out=tmp_path / "run", quiet=True)
    told = {score["name"]: score["trained"] for score in run.scores}
    assert {"answer.exact", "caption.bleu", "heard.wer"} <= set(told)
    assert set(run.folder.read("reliance.json")["tasks"]["answer"]["inputs"]) == {"image", "voice"}
    picture = next((tmp_path / "cache" / "samples").glob("scenes-*voice*/image/*.png"))
    (answer,) = run.predict_each([{"image": str(picture), "question": "how many stars are there"}])
    assert isinstance(answer["answer"]["said"], str)


def test_what_is_asked_for_never_stands_in_a_question():
    for name in ("captions", "ask"):
        recipe = read(name, [])
        asked = {task.target for task in recipe.tasks.values()}
        assert not any(f"{{{column}}}" in task.template for task in recipe.tasks.values() for column in asked)
