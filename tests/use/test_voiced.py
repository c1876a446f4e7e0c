"""Written answers said aloud: real sound that differs by what is said, from the command line and by the function behind it."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import triptych
from triptych.base.errors import BadValue, InputError
from triptych.cli.main import app
from triptych.use.voiced import named, places, speaker, spoken, told_by

pytest.importorskip("espeakng_loader")
COMMAND = CliRunner()
WRITES = [
    "decoder={kind: small, layers: 1, width: 16, heads: 2, context: 64, tokenizer: word, vocabulary: 60, dropout: 0}",
    "fusion={kind: prefix, width: 8, shorten: {image: 8}}",
    "inputs={image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}}",
    "tasks={say: {kind: generate, target: label, template: '{image} what', choices: [low, high]}, label: {kind: classify, target: label}}",
    "stages.0.epochs=3",
]


def heard(content: bytes) -> tuple[np.ndarray, int]:
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64), file.getframerate()


def test_it_is_sound_and_another_text_is_another_sound():
    first, rate = heard(spoken("a large red circle"))
    other, _ = heard(spoken("two small blue stars above a green square"))
    assert rate == 22_050 and 0.5 < len(first) / rate < 4 and len(other) > len(first)
    for samples in (first, other):
        assert np.abs(samples).max() > 3000 and np.sqrt(np.square(samples).mean()) > 300
    assert spoken("a large red circle") == spoken("a large red circle")


def test_voice_and_speed_are_heard():
    plain, _ = heard(spoken("a large red circle"))
    fast, _ = heard(spoken("a large red circle", speed=320))
    other, _ = heard(spoken("a large red circle", by="en-gb+m3"))
    assert len(fast) < 0.75 * len(plain) and (len(other) != len(plain) or (other != plain).any())


@pytest.mark.parametrize("text", ["", "  ", "?!", "a" * 6000])
def test_what_cannot_be_said_is_refused(text):
    with pytest.raises(BadValue):
        spoken(text)


@pytest.mark.parametrize(
    ("by", "speed", "says"),
    [("klingonese", None, "no voice"), ("en-us+nobody", None, "variant"), ("en", 10, "80 to 450"), ("gone.onnx", None, "gone.onnx")],
)
def test_a_voice_that_is_not_there_is_named(by, speed, says):
    with pytest.raises(InputError, match=says):
        speaker(by, speed)


def test_answers_have_files_of_their_own():
    rows: list[dict[str, Any]] = [{"image": Path("a/x.png")}, {"image": Path("b/x.png")}, {"text": "seven"}]
    assert places(Path("out"), named(rows)) == [Path("out/x.wav"), Path("out/x-2.wav"), Path("out/answer-3.wav")]
    assert places(Path("one.WAV"), ["x"]) == [Path("one.WAV")]
    for out, names in (("one.wav", ["x", "y"]), ("one.mp3", ["x"])):
        with pytest.raises(InputError):
            places(Path(out), names)


@pytest.fixture(scope="module")
def run(tiny_recipe, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triptych.use.report.write_report", lambda run: run.report.write_text(""))
        return triptych.train(tiny_recipe, out=tmp_path_factory.mktemp("voiced") / "run", set=WRITES, quiet=True)


def predicted(run, tiny_table, *words):
    pictures = [str(tiny_table.parent / f"pictures/{n}.png") for n in (1, 2)]
    return COMMAND.invoke(app, ["predict", str(run.folder.path), *pictures, *words])


def test_the_command_line_says_each_answer(run, tiny_table, tmp_path):
    done = predicted(run, tiny_table, "--speak", str(tmp_path / "out"), "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.wav", "2.wav"]
    for one in told:
        assert Path(one["spoken"]).read_bytes() == spoken(one["tasks"]["say"]["said"])
    assert told_by(run) == "say"
    named_task = predicted(run, tiny_table, "--speak", str(tmp_path / "classes"), "--spoken-task", "label", "--json")
    for one in json.loads(named_task.stdout):
        assert Path(one["spoken"]).read_bytes() == spoken(one["tasks"]["label"]["said"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--speak", "one.wav"], "2 answers do not go into one file"),
        (["--spoken-by", "en"], "add --speak"),
        (["--speak", "out", "--spoken-task", "nothing"], "known: say, label"),
        (["--speak", "out", "--spoken-by", "xx-yy"], "no voice"),
    ],
)
def test_wrong_words_cost_nothing(run, tiny_table, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = predicted(run, tiny_table, *words)
    assert isinstance(done.exception, InputError) and says in str(done.exception) and not list(tmp_path.iterdir())


def test_a_run_that_writes_nothing_says_what_can_be_said(tiny_run):
    with pytest.raises(InputError, match="no tasks that are answered in writing") as problem:
        told_by(tiny_run)
    assert list(problem.value.known) == ["label"] and told_by(tiny_run, "label") == "label"
