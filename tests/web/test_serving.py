"""`triptych serve` as a program, and what becomes of a run that is taken away under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import httpx
import pytest

import triptych
from triptych.base.errors import InputError
from triptych.use.feedback import feedback_of
from triptych.use.indexing import build_catalogue
from triptych.web.service import Service, open_runs
from triptych.web.serving import bound

COMMAND = [sys.executable, "-c", "from triptych.cli.main import run; run()", "serve"]


def started(run, *words: str, **environment: str) -> subprocess.Popen:
    """The program on a free port; it says where it is in one line of JSON."""
    command = [*COMMAND, str(run.folder.path), "--port", "0", "--no-page", "--json", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})


@pytest.mark.slow
def test_it_says_where_it_is_answers_and_ends_at_ctrl_c(tiny_run, tmp_path, monkeypatch, capsys):
    from triptych.cli.main import run

    with started(tiny_run, "--limit", "rows=2", "--feedback", str(tmp_path), TRIPTYCH_KEYS="0123456789abcdef") as program:
        told = json.loads(program.stdout.readline())
        assert told["runs"] == ["tiny"] and told["keys"] == 1 and told["url"].startswith("http://127.0.0.1:")
        words = {"json": {"inputs": {"text": "a bright tone"}}, "headers": {"authorization": "Bearer 0123456789abcdef"}}
        assert httpx.get(f"{told['url']}v1/runs").status_code == 401
        found = httpx.post(f"{told['url']}v1/predict", **words).json()
        assert found["tasks"]["label"]["said"] == tiny_run.predict(text="a bright tone")["label"]["said"]
        said = {"answer_id": found["id"], "task": "label", "correction": "low"}
        assert httpx.post(f"{told['url']}v1/feedback", json=said, headers=words["headers"]).status_code == 201
        port = told["url"].split(":")[-1].strip("/")
        monkeypatch.setattr(sys, "argv", ["triptych", "serve", str(tiny_run.folder.path), "--port", port])
        with pytest.raises(SystemExit) as leaving:
            run()
        taken = capsys.readouterr().err
        assert leaving.value.code == 2 and "cannot be had" in taken and "--port" in taken
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
    assert program.returncode == 0 and "Traceback" not in err and out == ""
    assert "POST /v1/predict 200" in err and "bright" not in err
    assert [kept.remark.correction for kept in feedback_of(tiny_run.folder, tmp_path / "tiny.lance").remarks()] == ["low"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "there is no run"),
        (["RUN", "--host", "0.0.0.0"], "TRIPTYCH_KEYS"),
        (["RUN", "--limit", "rows"], "changes no bound"),
        (["RUN", "--limit", "rows=none"], "rows"),
        (["RUN", "--index", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(tiny_run, monkeypatch, capsys, words, says):
    from triptych.cli.main import run

    monkeypatch.setattr(
        sys, "argv", ["triptych", "serve", *(str(tiny_run.folder.path) if word == "RUN" else word for word in words), "--port", "0"]
    )
    with pytest.raises(SystemExit) as leaving:
        run()
    assert leaving.value.code == 2 and says in capsys.readouterr().err


def test_the_bounds_are_listed(tiny_run, monkeypatch, capsys):
    from triptych.cli.main import run
    from triptych.web.limits import Limits

    monkeypatch.setattr(sys, "argv", ["triptych", "serve", str(tiny_run.folder.path), "--limits", "--limit", "pixels=77"])
    with pytest.raises(SystemExit):
        run()
    shown = capsys.readouterr().out
    assert all(name in shown for name in Limits.model_fields) and "77" in shown and "TRIPTYCH_PIXELS" in shown


def test_small_answers_are_sent_at_once(live, tiny_run, monkeypatch):
    """Without TCP_NODELAY on what is accepted, the second part of each answer waits 40 ms for the first one's receipt."""
    from triptych.web.patience import Patient

    seen, made = [], Patient.connection_made

    def connected(self, transport):
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(self, transport)

    monkeypatch.setattr(Patient, "connection_made", connected)
    with live(Service({"tiny": tiny_run})) as url:
        assert httpx.get(f"{url}health").status_code == 200
    assert seen and all(seen)


def test_a_taken_port_is_said():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="cannot be had"):
            bound("127.0.0.1", other.getsockname()[1])


def test_a_run_that_is_deleted_is_answered_for_from_memory(client, tiny_run, tiny_table, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder.path, folder)
    some = client(open_runs([folder]))
    before = some.post("/v1/predict", json={"inputs": {"text": "a deep tone"}}).json()
    shutil.rmtree(folder)
    after = some.post("/v1/predict", json={"inputs": {"text": "a deep tone"}})
    assert after.status_code == 200 and after.json()["tasks"] == before["tasks"]
    for path in ("/v1/runs", "/v1/models", "/ready"):
        assert some.get(path).status_code == 200
    assert some.post("/v1/embeddings", json={"model": "run", "input": "a"}).status_code == 200


def test_runs_of_one_name_are_told_apart(tiny_run, tmp_path):
    shutil.copytree(tiny_run.folder.path, tmp_path / "tiny")
    assert list(open_runs([tiny_run.folder.path, tmp_path / "tiny"])) == ["tiny", "tiny-2"]


def test_remarks_are_kept_and_unknown_answers_are_not_found(client, tiny_run, tmp_path):
    service = Service({"tiny": tiny_run}, feedback_at=tmp_path)
    from tests.web.conftest import client_of

    with_it = client_of(service)
    some = next(with_it)
    answer = some.post("/v1/predict", json={"inputs": {"text": "a tone"}}).json()
    assert some.post("/v1/feedback", json={"answer_id": answer["id"], "rating": 5, "task": "label", "note": "näher"}).status_code == 201
    for words, status in (
        ({"answer_id": "guessed", "rating": 5}, 404),
        ({"answer_id": answer["id"]}, 400),
        ({"answer_id": answer["id"], "rating": 9}, 400),
        ({"answer_id": answer["id"], "task": "match", "correction": "x"}, 400),
        ({"answer_id": answer["id"], "task": "nothing", "rating": 1}, 400),
        ({"rating": 5}, 400),
    ):
        assert some.post("/v1/feedback", json=words).status_code == status, words
    kept = list(feedback_of(tiny_run.folder, tmp_path / "tiny.lance").remarks())
    assert [(one.remark.rating, one.remark.answer_id, one.cells["text"]) for one in kept] == [(5, answer["id"], "a tone")]
    assert kept[0].remark.answer["said"] == answer["tasks"]["label"]["said"]
    next(with_it, None)


def test_an_index_is_searched_and_one_of_another_model_is_refused(tiny_run, tiny_table, talks, tmp_path):
    from tests.web.conftest import client_of, data_url

    from triptych.run.progress import Voice
    from triptych.use.catalogue import Part, open_catalogue

    build_catalogue(tiny_run, tiny_table, tmp_path / "shop.index", Voice(quiet=True))
    catalogue = open_catalogue(tmp_path / "shop.index")
    service = Service({"talks": talks, "tiny": tiny_run}, catalogue)
    with_it = client_of(service)
    some = next(with_it)
    picture = tiny_table.parent / "pictures/1.png"
    parts = [{"input": "image", "value": data_url(picture)}, {"input": "text", "value": "a deep tone", "weight": -0.5}]
    told = some.post("/v1/search", json={"query": parts, "limit": 3, "where": "label = 'high'", "media": True})
    expected = catalogue.search(tiny_run, [Part("image", picture), Part("text", "a deep tone", -0.5)], limit=3, where="label = 'high'")
    assert [hit["id"] for hit in told.json()["hits"]] == [hit.id for hit in expected]
    row = told.json()["hits"][0]["row"]
    assert row["label"] == "high" and row["image"]["data"].startswith("data:image/png;base64,") and str(tmp_path) not in told.text
    assert str(tiny_table.parent) not in told.text
    for words in ({"where": "colour = 'red'"}, {"where": "label = "}, {"query": []}, {"query": [{"input": "x", "value": "a"}]}):
        assert some.post("/v1/search", json={"query": parts, **words}).status_code == 400, words
    assert some.post("/v1/search", json={"query": parts, "limit": 1000}).status_code == 413
    shutil.rmtree(tmp_path / "shop.index")
    assert some.post("/v1/search", json={"query": parts}).status_code == 503
    next(with_it, None)
    with pytest.raises(InputError, match="none of the runs"):
        Service({"talks": talks}, catalogue).load()
    assert triptych.__version__
