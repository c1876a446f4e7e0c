"""Transcriptions through the whole house, on words that are tones: learnt in seconds, told with times, resumed, refused."""

from __future__ import annotations

import csv
import json
import random

import numpy as np
import pytest
import soundfile

import triptych
from triptych.base.errors import InputError
from triptych.cli.main import app
from triptych.run.lit import Lit
from triptych.run.recipe import read
from triptych.use.compare import compare
from triptych.use.report import write_report

RATE, LONG, GAP = 8000, 0.2, 0.12
HERTZ = {"low": 250, "mid": 800, "high": 2500}
RECIPE = """
data: {source: table.csv, split: {column: side}}
inputs:
  voice: {modality: audio, prepare: {rate: 8000, bins: 16, seconds: 4}, encoder: {kind: cnn, widths: [8, 16], width: 32}}
tasks:
  text: {kind: ctc, target: said, symbols: words, beam: 4}
stages: [{train: [all], epochs: 6, lr: 2.0e-2}]
training: {batch_size: 4, threads: 1}
report: {rows: 2}
"""


def tones(words: list[str], seed: int) -> np.ndarray:
    """One tone a word, with gaps between; words begin at GAP + n * (LONG + GAP)."""
    draw = np.random.default_rng(seed)
    parts = [np.zeros(round(GAP * RATE))]
    for word in words:
        time = np.arange(round(LONG * RATE)) / RATE
        parts += [0.6 * np.sin(2 * np.pi * HERTZ[word] * time), np.zeros(round(GAP * RATE))]
    return (np.concatenate(parts) + draw.normal(0, 0.005, sum(map(len, parts)))).astype(np.float32)


def starts(count: int) -> list[float]:
    return [GAP + n * (LONG + GAP) for n in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe and its table: 60 recordings of two to five tones; one text that cannot fit, one that is strange, one row without sound."""
    folder = tmp_path_factory.mktemp("tones")
    draw, rows = random.Random(0), []
    for number in range(60):
        words = [draw.choice(list(HERTZ)) for _ in range(draw.randint(2, 5))]
        soundfile.write(folder / f"{number}.wav", tones(words, number), RATE)
        side = "train" if number < 44 else "validation" if number < 50 else "test"
        rows.append(
            {"voice": f"{number}.wav", "said": " ".join(words).capitalize() + ".", "side": side, "topic": "ab"[number % 2], "empty": ""}
        )
    soundfile.write(folder / "short.wav", tones(["low"], 99)[:400], RATE)
    rows.append({"voice": "short.wav", "said": "low mid high " * 9, "side": "train", "topic": "a", "empty": ""})
    rows.append({"voice": "3.wav", "said": "something low", "side": "test", "topic": "b", "empty": ""})
    rows.append({"voice": "", "said": "low", "side": "train", "topic": "a", "empty": ""})
    rows.append({"voice": "4.wav", "said": "...", "side": "train", "topic": "b", "empty": ""})
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return triptych.train(
        str(folder / "recipe.yaml"), set=["data.max_rejected=0.2"], out=tmp_path_factory.mktemp("run") / "run", quiet=True
    )


def test_it_is_learnt_measured_and_written_down(run, folder):
    scores = {score["name"]: score for score in run.scores}
    wer = scores["text.wer"]
    assert wer["direction"] == "lower" and wer["trained"] < 0.15 < wer["untouched"]
    assert scores["text.exact"]["trained"] > 0.8 and scores["text.cer"]["trained"] < 0.15
    verdict = run.folder.read("verdicts.json")["text"]
    assert verdict["verdict"] == "better" and verdict["change"]["high"] < 0 and verdict["beaten"] == ["usual text"]
    best = run.folder.read("run.json")["best"]
    log = [line["validation text.wer"] for line in run.folder.read_log()]
    assert best["score"] == "text.wer" and best["value"] == min(log)
    told = " ".join(finding["text"] for finding in run.folder.read("run.json")["findings"])
    assert "1 training row has more symbols in the text" in told and "(row-61); not used" in told
    assert "1 word of no training row ('something')" in told
    assert "nothing is left of 1 text once normalised ('...')" in told
    rows = run.folder.read_rows("predictions.parquet")
    assert rows["text.truth"][-1] == "something low" and "something" not in rows["text.said"][-1]
    report = write_report(run.folder).read_text()
    assert "something" not in report or "�" in report
    assert "<audio" in report and "<b>text</b> · wer" in report


def test_it_says_when_each_word_was_said(run):
    answer = run.predict(voice=(tones(["high", "low", "low", "mid"], 500), RATE))["text"]
    assert answer["said"] == "high low low mid"
    assert [word["word"] for word in answer["words"]] == answer["said"].split()
    for word, start in zip(answer["words"], starts(4), strict=True):
        assert abs(word["start"] - start) < 0.1 and start - 0.05 < word["end"] <= start + LONG + 0.1
        assert 0 < word["confidence"] <= 1


def test_of_a_recording_that_is_too_long_it_says_from_where_on_it_was_heard(run):
    long = np.concatenate([np.zeros(3 * RATE, np.float32), tones(["mid"], 1), np.zeros(3 * RATE, np.float32)])
    answer = run.predict(voice=(long, RATE))["text"]
    assert answer["said"] == "mid" and answer["heard_from"] == pytest.approx((len(long) / RATE - 4) / 2, abs=1e-3)
    assert abs(answer["words"][0]["start"] - (3 + GAP)) < 0.1


def test_a_beam_of_one_and_rows_in_a_batch_say_the_same(run):
    values = [{"voice": (tones(words, 7), RATE)} for words in (["low"], ["mid", "high", "low"], ["high"] * 5)]
    together = [answer["text"] for answer in run.predict_rows(values)]
    assert together == [run.predict(**value)["text"] for value in values]


def test_measured_again_the_figures_are_the_same_and_other_rows_can_be_judged(run, folder):
    again = triptych.evaluate(str(run.folder.path))
    assert again.told["stored"]["same"]
    other = triptych.evaluate(str(run.folder.path), data=str(folder / "table.csv"))
    assert other.value("text.wer") < 0.35
    head = next(score for score in other.scores if score["name"] == "text.wer")
    assert head["low"] <= head["value"] <= head["high"]


def test_runs_are_compared_row_by_row_and_fewer_errors_are_better(run, folder, tmp_path):
    worse = triptych.train(
        str(folder / "recipe.yaml"),
        set=["data.max_rejected=0.2", "stages.0.epochs=1", "stages.0.lr=1e-4"],
        out=tmp_path / "worse",
        quiet=True,
    )
    (told,) = compare([worse.folder, run.folder])["intervals"]
    assert told["differences"][0]["paired"] and told["differences"][0]["verdict"] == "better"


def test_subtitles_of_a_long_recording_are_those_of_its_words(run, tmp_path, monkeypatch, capsys):
    draw = random.Random(1)
    words = [draw.choice(list(HERTZ)) for _ in range(60)]
    soundfile.write(tmp_path / "talk.wav", tones(words, 9), RATE)  # 19 s: seven windows
    out = tmp_path / "talk.srt"
    monkeypatch.setattr("sys.argv", ["triptych"])
    app(["subtitles", str(run.folder.path), str(tmp_path / "talk.wav"), "--out", str(out), "--overlap", "1"], standalone_mode=False)
    from triptych.data.sources.subtitles import read_subtitles
    from triptych.modalities import rooms

    rows = list(read_subtitles(out, rooms()).rows())
    assert " ".join(row.cells["text"] for row in rows).split() == words
    assert len(rows) > 1 and abs(rows[0].cells["start"] - GAP) < 0.1 and "60 words" in capsys.readouterr().out
    app(["subtitles", str(run.folder.path), str(tmp_path / "talk.wav"), "--overlap", "1", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert all(abs(word["start"] - start) < 0.1 for word, start in zip(told, starts(60), strict=True))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "talk.txt"], "no file of subtitles"),
        (["--window", "9"], "longer than the 4 s"),
        (["--overlap", "3"], "cannot overlap by 3 s"),
        (["--task", "topic"], "topic"),
    ],
)
def test_subtitles_refuse_what_cannot_be(run, folder, words, said):
    with pytest.raises(InputError, match=said):
        app(["subtitles", str(run.folder.path), str(folder / "1.wav"), *words], standalone_mode=False)


class Stop(Exception):
    """Stands for whatever ends a process."""


def test_a_training_that_was_stopped_ends_as_it_would_have(run, folder, tmp_path, monkeypatch):
    steps = iter(range(1, 1000))
    whole = Lit.training_step

    def stopping(self, batch, index):
        if next(steps) == 15:
            raise Stop
        return whole(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Lit, "training_step", stopping)
        patch.setattr("triptych.run.resume.SHARE", 0)
        triptych.train(
            str(folder / "recipe.yaml"), set=["data.max_rejected=0.2", "training.save_seconds=0"], out=tmp_path / "run", quiet=True
        )
    again = triptych.resume(tmp_path / "run", quiet=True)
    files = [one.folder.read("run.json")["files"] for one in (run, again)]
    weights = [{name: value for name, value in found.items() if name.endswith(".safetensors")} for found in files]
    assert weights[0] == weights[1] and again.scores == run.scores


def test_rows_some_at_a_time_give_the_same_gradients(folder, tmp_path):
    """Batches of different lengths are put together again."""
    sets = ["data.max_rejected=0.2", "stages.0.epochs=1", "training.buckets=0"]
    runs = [
        triptych.train(str(folder / "recipe.yaml"), set=[*sets, f"training.chunk={chunk}"], out=tmp_path / f"{chunk}", quiet=True)
        for chunk in ("null", "3")
    ]
    logs = [one.folder.read_log()[0]["train text.loss"] for one in runs]
    assert logs[0] == pytest.approx(logs[1], rel=1e-4)


def test_beside_another_input_and_task(folder, tmp_path):
    """Only mixtures that have the voice can say anything; a hidden voice teaches nothing; what each input adds is told."""
    sets = [
        "data.max_rejected=0.2",
        "inputs.words={modality: text, column: topic, prepare: {vocabulary: 270}, encoder: {kind: gru, width: 8, depth: 1}}",
        "tasks.kind={kind: classify, target: side_of}",
        "data.columns={side_of: {template: '{topic}{topic}'}}",
        "training.drop_inputs=0.3",
        "fusion=gated",
        "tasks.text.input=voice",
    ]
    both = triptych.train(str(folder / "recipe.yaml"), set=sets, out=tmp_path / "run", quiet=True)
    scores = {score["name"]: score["trained"] for score in both.scores}
    assert scores["text.wer"] < 0.3 and scores["text.wer from voice"] < 0.3 and "text.wer from words" not in scores
    relied = both.folder.read("reliance.json")["tasks"]["text"]["inputs"]
    assert relied["voice"]["drop"]["value"] > 0.5 and relied["words"]["verdict"] != "used"
    told = " ".join(finding["text"] for finding in both.folder.read("run.json")["findings"])
    assert "1 row with a text and no voice" in told
    assert both.predict(words="a")["text"] == {"said": "", "words": []}


def test_wrong_recipes_are_refused_before_anything_is_trained(folder, tmp_path):
    recipe = str(folder / "recipe.yaml")
    with pytest.raises(InputError, match="not clear of which"):
        read(recipe, ["inputs.other={modality: audio, column: voice}"])
    with pytest.raises(InputError, match=r"unknown input of tasks\.text\.input"):
        read(recipe, ["tasks.text.input=vioce"])
    bands = "inputs.voice.encoder={kind: transformer, width: 8, heads: 2, depth: 1, patch_bins: 4}"
    with pytest.raises(InputError, match="gives no steps in the order of time"):
        triptych.train(recipe, set=["data.max_rejected=0.2", bands], out=tmp_path / "bands", quiet=True)
    with pytest.raises(InputError, match="more symbols than"):
        triptych.train(
            recipe,
            set=["data.max_rejected=0.2", "tasks.text.symbols=characters", "inputs.voice.encoder={kind: cnn, widths: [4, 4, 4, 4, 4, 4]}"],
            out=tmp_path / "coarse",
            quiet=True,
        )
    with pytest.raises(InputError, match="no training row has both"):
        triptych.train(recipe, set=["data.max_rejected=0.2", "tasks.text.target=empty"], out=tmp_path / "none", quiet=True)
