"""Lengths of each input, and what its limit cuts: right, said before training, and the same for every modality."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import soundfile

from triptych.modalities import rooms
from triptych.run.building import build
from triptych.run.inspect import findings
from triptych.run.lengths import Lengths, lengths_before, measure_lengths
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.use.report import write_report

QUIET = Voice(quiet=True)


@pytest.fixture
def folder(tmp_path):
    """100 rows, texts of 1 to 50 words and tones of 0.1 to 1 s; every one in training but four."""
    (tmp_path / "s").mkdir()
    lines = []
    for n in range(100):
        words, seconds = 1 + n % 50, 0.1 * (1 + n % 10)
        tone = 0.5 * np.sin(np.arange(int(8000 * seconds)) * (0.1 + 0.001 * n))
        soundfile.write(tmp_path / f"s/{n}.wav", tone, 8000)
        side = "test" if n in (10, 21) else "validation" if n in (32, 43) else "train"
        lines.append({"text": " ".join(["word"] * words), "audio": f"s/{n}.wav", "label": "ab"[n % 2], "side": side})
    lines[50]["text"] = ""
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    (tmp_path / "r.yaml").write_text("""
data: {source: t.csv, split: {column: side}}
inputs:
  text: {prepare: {tokenizer: word, max_tokens: 41}, encoder: {kind: gru, width: 8, depth: 1}}
  audio: {prepare: {rate: 8000, bins: 16, seconds: 0.75}, encoder: {kind: cnn, widths: [4], width: 8}}
tasks: {label: {kind: classify, target: label}}
stages: [{train: [all], epochs: 1}]
training: {threads: 1, batch_size: 32}
""")
    return tmp_path


def test_they_are_those_of_the_training_rows(folder):
    recipe = read(str(folder / "r.yaml"))
    table = open_table(recipe, QUIET)
    text, sound = lengths_before(recipe, table)
    words = np.array([2 + n % 50 for n in range(100) if n not in (10, 21, 32, 43, 50)], float)  # and the [CLS]
    assert (text.rows, text.of, text.shortest, text.longest, text.limit) == (95, 95, words.min(), words.max(), 41)
    assert text.half == np.quantile(words, 0.5, method="higher") and text.most == np.quantile(words, 0.95, method="higher")
    assert text.rows_cut == np.mean(words > 41) and text.cut == pytest.approx(np.maximum(words - 41, 0).sum() / words.sum())
    assert np.mean(words > text.enough) <= 0.01 < np.mean(words > text.enough - 1)
    seconds = np.array([0.1 * (1 + n % 10) for n in range(100) if n not in (10, 21, 32, 43)])
    assert (sound.unit, sound.word, sound.longest) == ("seconds", "seconds", 1.0)
    assert sound.rows_cut == pytest.approx(np.mean(seconds > 0.75)) and sound.enough == 1.0


def test_check_says_them_and_warns_with_the_value_that_cuts_one_in_a_hundred(folder):
    recipe = read(str(folder / "r.yaml"))
    found = findings(recipe, open_table(recipe, QUIET))
    assert [one["input"] for one in found["lengths"]] == ["text", "audio"] and json.dumps(found["lengths"])
    cut = {one["text"].partition(":")[0]: one for one in found["findings"] if one["code"] == "cut"}
    assert cut["text"]["severity"] == cut["audio"]["severity"] == "warning"
    assert "prepare.max_tokens: 51 would cut 1 %" in cut["text"]["fix"] and "row-42" in cut["text"]["examples"]
    wide = read(str(folder / "r.yaml"), ["inputs.text.prepare.max_tokens=50", "inputs.audio.prepare.seconds=1"])
    found = findings(wide, open_table(wide, QUIET))
    (cut,) = (one for one in found["findings"] if one["code"] == "cut")
    assert (cut["severity"], cut["text"][:5]) == ("note", "text:") and "prepare.max_tokens: 51 would cut 1 %" in cut["fix"]


def test_a_limit_that_cuts_next_to_nothing_is_not_advised_again():
    few = Lengths("sound", "seconds", "seconds", 1.0, 200, 200, 0.1, 0.4, 0.7, 2.22, 0.005, 0.004, 0.9, False)
    assert few.finding().fix.startswith("prepare.seconds: 2.3 would cut none; or divide")


def test_a_large_table_is_sampled_and_says_so(folder, monkeypatch):
    monkeypatch.setattr("triptych.run.lengths.LOOKED_AT", 30)
    recipe = read(str(folder / "r.yaml"))
    table = open_table(recipe, QUIET)
    text, sound = lengths_before(recipe, table)
    assert (text.rows, text.of, text.provisional, sound.provisional) == (30, 95, True, False)
    assert "30 of 95 training rows, as is learnt from these alone" in text.line()
    assert "30 of 96 rows were measured" in sound.finding().text
    assert [one.half for one in lengths_before(recipe, table)] == [text.half, sound.half]
    bench = build(recipe, table, QUIET)
    assert [one.provisional for one in bench.lengths] == [False, False] and bench.lengths == measure_lengths(table, bench.inputs)


def test_trimmed_silence_does_not_count(tmp_path):
    sound = rooms()["audio"].read((np.concatenate([np.zeros(8000), np.ones(4000), np.zeros(8000)]).astype(np.float32) * 0.5, 8000))
    settings = rooms()["audio"].Input(prepare={"trim_silence": True})
    assert rooms()["audio"].preparation(settings).lengths([sound]) == [0.5]


def test_training_says_them_first_and_the_run_and_its_report_keep_them(folder, capsys):
    import triptych

    run = triptych.train(folder / "r.yaml", out=folder / "run")
    said = capsys.readouterr().err
    assert said.index("text: 2 to 51 tokens, half up to") < said.index("stage 0")
    assert "warning: text: max_tokens 41 cuts" in said and "prepare.max_tokens: 51 would cut 1 %" in said
    about = run.folder.read("run.json")
    assert [one["input"] for one in about["lengths"]] == ["text", "audio"]
    assert any(one["code"] == "cut" for one in about["findings"])
    page = write_report(run.folder).read_text()
    assert 'id="lengths"' in page and "max_tokens 41" in page and "95 training rows" in page


def test_no_sound_is_decoded_again_for_its_length_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "own-cache"))
    recipe = read(folder / "r.yaml")
    table = open_table(recipe, QUIET)
    first = lengths_before(recipe, table)
    room, read_ = rooms()["audio"], []
    monkeypatch.setattr(type(room), "read", lambda self, *words, **more: read_.append(words) or pytest.fail("it was read again"))
    assert lengths_before(recipe, table) == first
    assert not read_
