"""Voices drawn by a row's id, said by eSpeak NG or by a Piper voice."""

import json
import re
from collections import Counter

import numpy as np
import pytest

from triptych.base.errors import BadValue, InputError
from triptych.base.settings import parse
from triptych.modalities.audio import speech
from triptych.modalities.audio.read import read
from triptych.modalities.audio.speak import Speak, SpeakTool

pytest.importorskip("espeakng_loader", reason="the extra speak is not installed")


def opened(**words):
    return SpeakTool().open(parse(Speak, words, "the command line"))


def test_a_draw_depends_on_the_row_and_the_seed_alone():
    made = opened()
    drawn = {f"r{n}": made.draw(f"r{n}", "text", {}) for n in range(400)}
    assert all(made.draw(row, "another text", {"x": 1}) == drawn[row] for row in reversed(drawn))
    assert opened(seed=1).draw("r1", "text", {}) != drawn["r1"]
    assert set(drawn["r7"]) == set(made.columns())
    for name, least in (("speed", 90), ("pitch", 55), ("speaker", 40), ("language", 2)):
        assert len({one[name] for one in drawn.values()}) >= least
    assert all(120 <= one["speed"] <= 220 and 20 <= one["pitch"] <= 80 for one in drawn.values())
    assert max(Counter(one["speaker"] for one in drawn.values()).values()) < 25


def test_the_draw_is_the_same_on_every_machine():
    """Written down once: another value here would mean other voices for everybody's tables."""
    assert opened().draw("row-1", "", {}) == {"language": "en-us", "speaker": "m6", "speed": 134, "pitch": 26}


def test_more_voices_change_nobodys_pitch():
    few, more = opened(voices="en"), opened(voices="en,en-us,de,fr")
    assert all(few.draw(f"r{n}", "", {})["pitch"] == more.draw(f"r{n}", "", {})["pitch"] for n in range(50))


def test_a_text_is_heard_and_sounds_the_same_each_time():
    made = opened()
    drawn = made.draw("r1", "hello there", {})
    blob = made.render("hello there", drawn)
    assert blob == made.render("hello there", drawn) and blob.name.endswith(".flac")
    sound = read(bytes(blob))
    assert sound.rate == speech.RATE and 0.3 < sound.seconds < 3
    wav = read(bytes(opened(format="wav").render("hello there", drawn)))
    assert np.array_equal(wav.samples_N, sound.samples_N) and len(blob) < 0.8 * 2 * len(wav.samples_N)
    slow, quick = (made.render("hello there", {**drawn, "speed": speed}) for speed in (80, 300))
    assert read(bytes(slow)).seconds > 1.5 * read(bytes(quick)).seconds


@pytest.mark.parametrize("text", ["...", "—", "\u200f", "( )", "x" * 5_001])
def test_what_cannot_be_said_is_a_bad_value(text):
    made = opened()
    with pytest.raises(BadValue):
        made.render(text, made.draw("r", text, {}))


def test_the_language_of_a_row_chooses_among_the_voices():
    made = opened(voices="en-us,en,de+f2,fr", language="lang")
    assert made.needs() == ("lang",)
    assert {made.draw(f"r{n}", "", {"lang": "en"})["language"] for n in range(60)} == {"en"}
    assert {made.draw(f"r{n}", "", {"lang": "en_GB"})["language"] for n in range(60)} == {"en", "en-us"}
    assert {made.draw(f"r{n}", "", {"lang": "DE"})["speaker"] for n in range(20)} == {"f2"}
    for cell in (None, "", "sv"):
        with pytest.raises(BadValue):
            made.draw("r", "", {"lang": cell})
    free = opened(language="lang")
    assert free.draw("r", "", {"lang": "sv"})["language"] == "sv"
    with pytest.raises(BadValue, match="does not speak 'klingon'"):
        free.draw("r", "", {"lang": "klingon"})


def test_the_language_is_found_from_the_text():
    pytest.importorskip("py3langid")
    made = opened(voices="en-us,de,fr", language="auto")
    texts = {"de": "Das Essen war wunderbar", "en-us": "The food was wonderful", "fr": "Le repas était merveilleux"}
    assert {made.draw("r", text, {})["language"] for text in texts.values()} == set(texts)
    assert made.needs() == ()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"voices": "en-uss"}, "did you mean 'en-us'"),
        ({"voices": "en+f33"}, "voice variant 'f33'"),
        ({"speakers": "Alexx"}, "did you mean 'Alex'"),
        ({"speed": "fast"}, "LOW:HIGH in whole numbers"),
        ({"speed": "300:200"}, "speed is LOW:HIGH within 80 to 450"),
        ({"pitch": "20:100"}, "pitch is LOW:HIGH within 0 to 99"),
        ({"language": "auto"}, "two or more"),
        ({"model": "x.onnx"}, "say engine piper too"),
        ({"engine": "piper"}, "needs model"),
        ({"engine": "piper", "model": "x.onnx", "pitch": "1:2"}, "pitch is for espeak"),
        ({"engine": "pipr"}, "did you mean 'piper'"),
    ],
)
def test_wrong_words_are_answered(words, says):
    with pytest.raises(InputError, match=re.escape(says)):
        opened(**words)


def test_every_language_of_the_list_speaks():
    """The list comes from eSpeak's files; the library must know each."""
    languages = speech.languages()
    assert len(languages) > 100 and {"en", "en-us", "de", "fr", "es-419"} <= set(languages)
    for language in languages:
        assert speech.said("1", language, 300, 50)
    assert speech.said("hello", "en-gb", 170, 50) == speech.said("hello", "en", 170, 50) != speech.said("hello", "en-us", 170, 50)


def voice_of_noise(folder, speakers=1):
    """A network with the inputs and outputs of a Piper voice and a few random weights, and its settings."""
    onnx = pytest.importorskip("onnx", reason="writes the network of the test")
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32) * 0.3
    inputs = [("input", TensorProto.INT64, [1, "T"]), ("input_lengths", TensorProto.INT64, [1]), ("scales", TensorProto.FLOAT, [3])]
    inputs += [("sid", TensorProto.INT64, [1])] * (speakers > 1)
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["each"]),
        helper.make_node("Reshape", ["each", "flat"], ["sound"]),
        helper.make_node("Slice", ["scales", "one", "two"], ["length"]),
        helper.make_node("Div", ["sound", "length"], ["louder"]),
        helper.make_node("Tanh", ["louder"], ["said"]),
    ]
    last = "said"
    if speakers > 1:
        nodes += [
            helper.make_node("Cast", ["sid"], ["who"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["said", "who"], ["more"]),
            helper.make_node("Sin", ["more"], ["output"]),
        ]
    else:
        nodes += [helper.make_node("Identity", [last], ["output"])]
    constants = {"table": table, "flat": np.array([1, 1, 1, -1]), "one": np.array([1]), "two": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "voice",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "N"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / "noise.onnx"
    onnx.save(model, str(path))
    letters = {letter: [3 + n] for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    about = {
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "text",
        "num_symbols": 64,
        "num_speakers": speakers,
        "speaker_id_map": {f"s{n}": n for n in range(speakers)} if speakers > 1 else {},
        "phoneme_id_map": {"_": [0], "^": [1], "$": [2], **letters},
    }
    path.with_name("noise.onnx.json").write_text(json.dumps(about))
    return path


def test_a_piper_voice_speaks(tmp_path):
    pytest.importorskip("piper", reason="the extra piper is not installed")
    made = opened(engine="piper", model=str(voice_of_noise(tmp_path)), speed="100")
    drawn = made.draw("r1", "hello", {})
    assert drawn == {"language": "en-us", "speaker": "noise", "speed": 100} and set(made.columns()) == set(drawn)
    sound = read(bytes(made.render("hello there", drawn)))
    assert sound.rate == 16_000 and len(sound.samples_N) > 256 * len("hello there")
    assert made.render("hello", drawn) == made.render("hello", drawn) != made.render("hello", {**drawn, "speed": 50})
    assert made.render("a [[b]] c", drawn) != made.render("a b c", drawn)
    for text in ("...", "x" * 5_001):
        with pytest.raises(BadValue):
            made.render(text, drawn)


def test_speakers_of_a_piper_voice_are_drawn_by_name(tmp_path):
    pytest.importorskip("piper", reason="the extra piper is not installed")
    path = str(voice_of_noise(tmp_path, speakers=3))
    made = opened(engine="piper", model=path)
    assert {made.draw(f"r{n}", "", {})["speaker"] for n in range(60)} == {"s0", "s1", "s2"}
    drawn = {"language": "en-us", "speed": 100}
    assert made.render("hello", {**drawn, "speaker": "s0"}) != made.render("hello", {**drawn, "speaker": "s2"})
    assert opened(engine="piper", model=path, speakers="s1").draw("r", "", {})["speaker"] == "s1"
    with pytest.raises(InputError, match="there is no speaker 's9'"):
        opened(engine="piper", model=path, speakers="s9")


def test_what_is_no_piper_voice_is_answered(tmp_path):
    pytest.importorskip("piper", reason="the extra piper is not installed")
    with pytest.raises(InputError, match=r"no file 'v\.onnx'"):
        opened(engine="piper", model=str(tmp_path / "v.onnx"))
    (tmp_path / "v.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"no file 'v\.onnx\.json'"):
        opened(engine="piper", model=str(tmp_path / "v.onnx"))
    (tmp_path / "v.onnx.json").write_text("{}")
    with pytest.raises(InputError, match="no Piper voice"):
        opened(engine="piper", model=str(tmp_path / "v.onnx"))
