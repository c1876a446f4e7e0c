"""OpenAI's own client, against a server on a port."""

from __future__ import annotations

import base64
import io
import time

import httpx
import numpy as np
import openai
import pytest
import soundfile
from tests.web.conftest import data_url, living

from triptych.use.catalogue import space_of
from triptych.use.spaces import row_vectors
from triptych.use.voiced import spoken
from triptych.web.limits import Limits
from triptych.web.schemas import TINY
from triptych.web.service import Service

PIXEL = TINY
"""A picture of eight by eight."""


@pytest.fixture(scope="module")
def served(talks, tiny_run):
    service = Service({"talks": talks, "tiny": tiny_run}, limits=Limits(tokens=64))
    with living(service, keys=["0123456789abcdef"]) as url:
        yield service, url


@pytest.fixture(scope="module")
def asked(served):
    with openai.OpenAI(base_url=f"{served[1]}v1", api_key="0123456789abcdef", max_retries=0) as client:
        yield client


@pytest.fixture
def picture(talks):
    return talks.folder.path.parent / "1.png"


def user(text: str = "", *urls: str, sound: bytes | None = None) -> dict:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    parts += [{"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "wav"}}] if sound else []
    return {"role": "user", "content": [*parts, *([{"type": "text", "text": text}] if text else [])]}


def test_models_are_the_runs_and_the_wrong_key_is_refused(asked, served):
    assert [model.id for model in asked.models.list()] == ["talks", "tiny"]
    assert asked.models.retrieve("talks").owned_by == "triptych"
    with openai.OpenAI(base_url=f"{served[1]}v1", api_key="wrong", max_retries=0) as other, pytest.raises(openai.AuthenticationError):
        other.models.list()
    with pytest.raises(openai.NotFoundError, match="known: talks, tiny"):
        asked.models.retrieve("gpt")


def test_a_question_about_a_picture_is_answered_as_the_library_does_streamed_and_not(asked, talks, picture):
    question = "is it dark or bright"
    expected = talks.predict(image=picture, question=question)["see"]["said"]
    assert expected
    words = {"model": "talks", "messages": [user(question, data_url(picture))]}
    whole = asked.chat.completions.create(**words)
    assert whole.choices[0].message.content == expected and whole.choices[0].finish_reason == "stop"
    assert whole.usage.prompt_tokens > 5 and whole.usage.completion_tokens >= len(expected.split())
    chunks = list(asked.chat.completions.create(**words, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected
    assert chunks[-1].usage == whole.usage and chunks[-2].choices[0].finish_reason == "stop"


def test_a_sound_is_heard_and_a_task_is_named(asked, talks):
    sound = (talks.folder.path.parent / "1.wav").read_bytes()
    found = asked.chat.completions.create(model="talks:heard", messages=[user(sound=sound)])
    assert found.choices[0].message.content == talks.predict(voice=sound)["heard"]["said"]
    chosen = asked.chat.completions.create(model="talks:pick", messages=[user("", data_url(talks.folder.path.parent / "0.png"))])
    assert chosen.choices[0].message.content in ("dark", "bright")


def test_a_whole_conversation_is_told(asked, talks, picture):
    said = [
        {"role": "user", "content": "<image> what is it"},
        {"role": "assistant", "content": "it is bright"},
        {"role": "user", "content": "again"},
    ]
    expected = talks.predict(image=picture, messages=said)["pair"]["said"]
    first = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": data_url(picture)}}, {"type": "text", "text": "what is it"}],
    }
    found = asked.chat.completions.create(model="talks:pair", messages=[first, *said[1:]])
    assert found.choices[0].message.content == expected


def test_lengths_stops_and_boldness_are_the_decoders(asked, picture):
    words = {"model": "talks", "messages": [user("is it dark or bright", data_url(picture))]}
    short = asked.chat.completions.create(**words, max_tokens=2).choices[0]
    assert len(short.message.content.split()) <= 2 and short.finish_reason == "length"
    full = asked.chat.completions.create(**words).choices[0].message.content
    last = full.split()[-1]
    assert asked.chat.completions.create(**words, stop=[last]).choices[0].message.content == full.split(last)[0].strip()
    drawn = {asked.chat.completions.create(**words, temperature=2.0, seed=n % 8).choices[0].message.content for n in range(16)}
    assert 1 < len(drawn) <= 8


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ({"n": 2}, 400, "'n'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "'tools'"),
        ({"logprobs": True}, 400, "'logprobs'"),
        ({"response_format": {"type": "json_object"}}, 400, "'response_format'"),
        ({"max_tokens": 65}, 413, "65 pieces"),
        ({"temperature": 3}, 400, "temperature"),
        ({"model": "tiny"}, 400, "answered in writing"),
        ({"model": "talks:nothing"}, 400, "unknown task"),
        ({"model": "talks:pick", "messages": [user("", PIXEL)], "temperature": 1.0}, 400, "choices"),
        ({"model": "talks:pick"}, 400, "no place for words"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, 400, "last message"),
        ({"messages": [user("a", "http://127.0.0.1/a.png")]}, 400, "fetches none"),
        ({"messages": [user("a", "data:image/png;base64,bm90aGluZw==")]}, 400, "not a picture"),
        ({"messages": [user("a", "data:image/png,abc")]}, 400, "base64"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "a"}}]}]}, 400, "messages"),
        ({"messages": [{"role": "tool", "content": "a", "tool_call_id": "b"}]}, 400, "role"),
    ],
)
def test_what_cannot_be_done_is_said(asked, picture, words, status, says):
    with pytest.raises(openai.APIStatusError, match=says) as caught:
        asked.chat.completions.create(**{"model": "talks", "messages": [user("is it dark", data_url(picture))], **words})
    assert caught.value.status_code == status and caught.value.body["type"]


def test_who_leaves_in_the_middle_stops_the_writing(served, talks, monkeypatch):
    service, url = served
    steps, ended = [], []

    def endless(self, *asked):
        try:
            while True:
                time.sleep(0.01)
                steps.append(1)
                yield "word " * len(steps)
        finally:
            ended.append(1)

    monkeypatch.setattr(type(talks), "writing", lambda self, *asked: (1, endless(self)))
    body = {"model": "talks", "stream": True, "messages": [{"role": "user", "content": "a"}]}
    for stream in (True, False):
        ended.clear()
        with httpx.Client(headers={"authorization": "Bearer 0123456789abcdef"}, timeout=5) as client:
            _leave(client, f"{url}v1/chat/completions", {**body, "stream": stream})
        until = time.monotonic() + 20
        while not ended and time.monotonic() < until:
            time.sleep(0.02)
        assert ended, f"stream={stream}"


def _leave(client, url, body):
    if not body["stream"]:
        with pytest.raises(httpx.ReadTimeout):
            client.post(url, json=body, timeout=0.5)
        return
    with client.stream("POST", url, json=body) as told:
        assert next(told.iter_lines()).startswith("data: ")


def test_embeddings_are_those_of_the_index(asked, tiny_run, tiny_table):
    texts = ["a deep dark tone", "a bright sharp whistle"]
    space = space_of(tiny_run)
    expected = row_vectors(tiny_run, space, [{"text": text} for text in texts])
    as_bytes = asked.embeddings.create(model="tiny", input=texts)
    as_floats = asked.embeddings.create(model="tiny", input=texts, encoding_format="float", dimensions=8)
    for found in (as_bytes, as_floats):
        assert np.allclose([one.embedding for one in found.data], expected, atol=1e-5)
    preparation = tiny_run.inputs["text"][1]
    assert as_bytes.usage.prompt_tokens == as_floats.usage.total_tokens == sum(preparation.lengths(texts)) > 2
    path = tiny_table.parent / "pictures/3.png"
    assert asked.embeddings.create(model="tiny", input=data_url(path)).usage.prompt_tokens == 0  # a picture is not read in tokens
    seen = asked.embeddings.create(model="tiny", input=data_url(path)).data[0].embedding
    assert np.allclose(seen, row_vectors(tiny_run, space, [{"image": path}])[0], atol=1e-5)
    fused = asked.embeddings.create(model="tiny:fused", input=texts[0]).data[0].embedding
    assert np.allclose(fused, row_vectors(tiny_run, space_of(tiny_run, "fused"), [{"text": texts[0]}])[0], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"input": [1, 2]}, "tokens"),
        ({"dimensions": 4}, "8 dimensions"),
        ({"input": []}, "nothing"),
        ({"input": ["data:video/mp4;base64,aaaa"]}, "video"),
    ],
)
def test_embeddings_that_cannot_be_had(asked, words, says):
    with pytest.raises(openai.BadRequestError, match=says):
        asked.embeddings.create(**{"model": "tiny", "input": "a", **words})


def test_a_recording_is_written_down_in_every_form(asked, talks):
    path = talks.folder.path.parent / "1.wav"
    said = talks.predict(voice=path)["text"]
    words = {"model": "talks:text", "file": path}
    assert asked.audio.transcriptions.create(**words).text == said["said"]
    assert asked.audio.transcriptions.create(**words, response_format="text").strip() == said["said"]
    timed = asked.audio.transcriptions.create(**words, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert [(word.word, word.start) for word in timed.words or []] == [(word["word"], word["start"]) for word in said["words"]]
    assert timed.duration == pytest.approx(0.5, abs=0.01) and timed.text == said["said"]
    assert timed.segments and all(one.end <= timed.duration for one in timed.segments)
    assert asked.audio.transcriptions.create(**words, response_format="vtt").startswith("WEBVTT")
    heard = asked.audio.transcriptions.create(model="talks:heard", file=path, response_format="srt")
    assert " ".join(heard.split("\n")[2:-2]) == talks.predict(voice=path)["heard"]["said"]
    for words, says in (
        ({"model": "tiny", "file": path}, "writes down"),
        ({"model": "talks", "file": ("../a.wav", b"none")}, "not a sound"),
    ):
        with pytest.raises(openai.BadRequestError, match=says):
            asked.audio.transcriptions.create(**words)


def test_a_text_is_said_in_every_form(asked, tmp_path):
    pytest.importorskip("espeakng_loader")
    words = {"model": "tiny", "input": "seven", "voice": "alloy"}
    wav = asked.audio.speech.create(**words, response_format="wav").content
    assert wav == spoken("seven")  # as `predict --speak` says it
    wave, rate = soundfile.read(io.BytesIO(wav))
    for kind in ("mp3", "flac", "opus"):
        found, its = soundfile.read(io.BytesIO(asked.audio.speech.create(**words, response_format=kind).content))
        assert abs(len(found) / its - len(wave) / rate) < 0.1 and abs(found).max() > 0.1
    raw = np.frombuffer(asked.audio.speech.create(**words, response_format="pcm").content, "<i2")
    assert abs(len(raw) / 24_000 - len(wave) / rate) < 0.01
    quick = asked.audio.speech.create(**words, response_format="wav", speed=2.0).content
    assert len(quick) < 0.8 * len(wav)
    for strange in ({"voice": "xx"}, {"voice": "/etc/passwd.onnx"}, {"input": "..."}, {"response_format": "aac"}, {"speed": 9}):
        with pytest.raises(openai.BadRequestError):
            asked.audio.speech.create(**{**words, **strange})
    with pytest.raises(openai.NotFoundError):
        asked.audio.speech.create(**{**words, "model": "none"})
