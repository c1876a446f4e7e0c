"""Browsing: the catalogue, a hub of our own that speaks the protocol, and one that never answers."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from urllib.parse import parse_qs, urlparse

import pytest
from huggingface_hub import constants, hf_api

from triptych.base import catalogue
from triptych.base.errors import InputError
from triptych.base.runtime import matmul_speed
from triptych.modalities import rooms
from triptych.run.recipe import read
from triptych.use import models
from triptych.use.models import Wanted, browse, within

TASK = {"label": {"kind": "classify", "target": "label"}}


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(models, "_speed", lambda: (1e11, "cpu, float32"))


def ids(**words) -> list[str]:
    return [one.entry.id for one in browse(Wanted(**words)).models]


def test_conditions_narrow(offline):
    every = ids()
    assert len(every) == len(catalogue.entries()) >= 60
    both = ids(takes=("audio", "text"))
    assert "laion/clap-htsat-unfused" in both and "openai/whisper-tiny" not in both and "openai/clip-vit-base-patch32" not in both
    assert "laion/clap-htsat-unfused" in ids(takes=("audio",), tasks=("embed", "classify"))
    small = browse(Wanted(takes=("image",), size=10**7)).models
    assert small and all(one.entry.parameters <= 10**7 for one in small)
    assert all(one.entry.licence == "mit" for one in browse(Wanted(licences=("mit",))).models)
    german = ids(language="de", takes=("text",))
    assert {"google-bert/bert-base-german-cased", "FacebookAI/xlm-roberta-base"} <= set(german) and "FacebookAI/roberta-base" not in german
    assert ids(search=("emotions", "voices")) and not ids(search=("nothing", "such"))


def test_the_line_to_use_is_a_recipe(offline):
    """Every one that is called known is taken by the recipe as it is shown; none that is not has a line."""
    for one in browse(Wanted()).models:
        if not one.known:
            assert one.use == "" and one.entry.family not in models.families().get(one.takes[0], ())
            continue
        inputs = {name: {"encoder": one.entry.id} for name in one.takes}
        assert one.use == f"inputs: {json.dumps(inputs)}".replace('"', "")
        made = read({"data": {"source": "sample:digits"}, "inputs": inputs, "tasks": TASK, "approach": "head"})
        assert all(made.inputs[name].encoder.name == one.entry.id for name in one.takes)


def test_estimates_follow_size_and_speed(offline, monkeypatch):
    (one,) = browse(Wanted(search=("all-MiniLM-L6-v2",))).models
    assert one.frozen == 4 * one.entry.towers["text"].parameters and one.trained == 4 * one.frozen
    monkeypatch.setattr(models, "_speed", lambda: (2e11, "cpu, float32"))
    (again,) = browse(Wanted(search=("all-MiniLM-L6-v2",))).models
    assert again.seconds == pytest.approx(one.seconds / 2)
    half = next(m for m in browse(Wanted(takes=("audio",))).models if m.entry.id == "laion/clap-htsat-unfused")
    assert half.frozen == 4 * half.entry.towers["audio"].parameters and half.takes == ("audio",)


def test_the_speed_is_measured():
    assert matmul_speed("cpu", "float32", side=64, seconds=0.01) > 1e6


class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        asked = parse_qs(urlparse(self.path).query)
        if not self.path.startswith("/api/models"):  # the client asks for more than that
            return self.send_error(404)
        self.server.asked.append(asked)
        rows = self.server.models.get(asked["pipeline_tag"][0], [])
        body = json.dumps(rows).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return self.wfile.write(body)


def told(name: str, family: str, tag: str, total: int | None, *tags: str, downloads: int = 5) -> dict:
    safetensors = {"safetensors": {"parameters": {"F32": total}, "total": total}} if total else {}
    return {"id": name, "config": {"model_type": family}, "pipeline_tag": tag, "tags": list(tags), "downloads": downloads, **safetensors}


@pytest.fixture
def hub(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads, server.models, server.asked = True, {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(models, "PATIENCE", 60.0)  # machines are busy
    monkeypatch.setattr(models, "_speed", lambda: (1e11, "cpu, float32"))
    yield server
    server.shutdown()
    server.server_close()


def test_from_the_hub(hub):
    hub.models["sentence-similarity"] = [
        told("someone/german-mini", "bert", "sentence-similarity", 33_000_000, "license:mit", "de", downloads=7),
        told("someone/strange", "hyena", "sentence-similarity", 5_000_000, "license:mit", "de", downloads=99),
        told("someone/unsaid", "bert", "sentence-similarity", None, "license:mit"),
        told("sentence-transformers/all-MiniLM-L6-v2", "bert", "sentence-similarity", 1, "license:mit", downloads=1),
        told("someone/closed", "bert", "sentence-similarity", 33_000_000, "license:cc-by-nc-4.0"),
    ]
    wanted = Wanted(takes=("text",), tasks=("embed",), size=10**8, licences=("mit", "apache-2.0"), language="de", search=("mini",))
    found = browse(wanted)
    assert (found.source, found.why) == ("hub", "")
    assert [one.entry.id for one in found.models] == ["someone/german-mini", "sentence-transformers/all-MiniLM-L6-v2", "someone/strange"]
    mine, known, strange = found.models
    assert mine.use == "inputs: {text: {encoder: someone/german-mini}}" and mine.entry.rough and mine.entry.languages == ("de",)
    assert known.entry.parameters == 22_700_000 and not known.entry.rough, "the catalogue knows more"
    assert not strange.known and strange.use == ""
    asked = hub.asked[0]
    assert {"safetensors", "de"} <= set(asked["filter"]) and asked["search"] == ["mini"] and asked["num_parameters"] == ["max:100000000"]


def test_both_halves_are_asked_for_together(hub):
    browse(Wanted(takes=("audio", "text")))
    assert [asked["pipeline_tag"][0] for asked in hub.asked] == ["zero-shot-audio-classification"]


def test_a_hub_that_cannot_be_reached_or_never_answers(monkeypatch):
    monkeypatch.setattr(models, "_speed", lambda: (1e11, "cpu, float32"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    found = browse(Wanted(search=("whisper-tiny",)))
    assert found.source == "catalogue" and "cannot be reached" in found.why and len(found.models) == 2
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(models, "PATIENCE", 0.3)
        assert browse(Wanted(search=("whisper-tiny",))).source == "catalogue"


def test_what_takes_too_long_is_not_waited_for():
    done = threading.Event()
    assert within(0.05, lambda: done.wait(30)) == (None, "no answer within 0.05 seconds")
    done.set()
    assert within(30, lambda: time.sleep(0) or 3) == (3, None)


def test_words_that_are_not_known():
    with pytest.raises(InputError, match="did you mean 'text'"):
        catalogue.known("modality", ["txt"], list(rooms()))
