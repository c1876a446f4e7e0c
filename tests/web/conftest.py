"""Small runs behind an app: one that tells classes and finds, one that writes, talks and listens."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import triptych
from triptych.web.app import create_app
from triptych.web.limits import Limits
from triptych.web.service import Service

TALKS = """
name: talks
data: {source: rows.jsonl, split: {column: side}}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  voice: {modality: audio, prepare: {rate: 8000, bins: 16, seconds: 4}, encoder: {kind: cnn, widths: [4], width: 8}}
fusion: {kind: prefix, projector: linear, width: 8, dropout: 0}
decoder: {kind: small, layers: 1, width: 32, heads: 4, dropout: 0, tokenizer: word, context: 96, vocabulary: 80}
tasks:
  see: {kind: generate, target: shade, template: "{image} {question}", longest: 6}
  pair: {kind: generate, messages: messages, longest: 8}
  heard: {kind: generate, target: said, template: "{voice}", longest: 4}
  pick: {kind: generate, target: shade, template: "{image} what is it", choices: [dark, bright]}
  text: {kind: ctc, target: said, input: voice}
stages:
  - {train: [all], epochs: 12, lr: 1.0e-2}
training: {batch_size: 8, threads: 1}
report: {rows: 1}
"""
SHADES = ("dark", "bright")


@pytest.fixture(scope="session")
def talks(tmp_path_factory, charts_in_words, write_sound):
    """A run with every kind of written answer, trained for a few seconds."""
    from tests.conftest import write_picture

    folder = tmp_path_factory.mktemp("talks")
    lines = []
    for n in range(32):
        side = ("test", "validation", *["train"] * 6)[n // 2 % 8]
        write_picture(folder / f"{n}.png", ("low", "high")[n % 2], n)
        write_sound(folder / f"{n}.wav", seconds=0.5)
        shade = SHADES[n % 2]
        row = {"image": f"{n}.png", "side": side}
        if n % 4 < 2:
            row |= {"question": "is it dark or bright", "shade": f"it is {shade} here", "voice": f"{n}.wav", "said": f"so {shade}"}
        else:
            turns = [("user", "<image> what is it"), ("assistant", f"it is {shade}"), ("user", "again"), ("assistant", shade)]
            row |= {"messages": [{"role": role, "content": content} for role, content in turns]}
        lines.append(row)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "recipe.yaml").write_text(TALKS)
    with charts_in_words():
        return triptych.train(folder / "recipe.yaml", out=folder / "run", quiet=True)


@pytest.fixture
def tiny_client(tiny_run):
    """The run `tiny` behind an app without a socket."""
    yield from client_of(Service({"tiny": tiny_run}))


def client_of(service: Service, **words):
    from fastapi.testclient import TestClient

    service.feedback_at = service.feedback_at or Path("nowhere")
    with TestClient(create_app(service, page=False, **words), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client():
    """A function: runs, limits and words of `create_app` -> a client without a socket."""
    with_them = []

    def made(runs, limits: Limits | None = None, **words):
        found = client_of(Service(runs, limits=limits or Limits()), **words)
        with_them.append(found)
        return next(found)

    yield made
    for one in with_them:
        next(one, None)


@contextmanager
def living(service: Service, **words) -> Iterator[str]:
    """The app on a free port, as `triptych serve` has it."""
    from triptych.web.serving import bound, server_of, url_of

    server, listening = server_of(create_app(service, page=False, **words), service.limits), bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield url_of(listening)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


@pytest.fixture
def live():
    """`living`."""
    return living


def data_url(path: Path, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
