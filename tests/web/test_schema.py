"""Whatever the schema lets through, and much that it does not, is answered: never with a 500."""

from __future__ import annotations

import base64
import gc
import io
import json
import random
import warnings

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance
from tests.web.conftest import living
from tests.web.test_limits import sound

from triptych.web.app import create_app
from triptych.web.limits import Limits
from triptych.web.service import Service

EXAMPLES = 6
"""For each route."""


@pytest.fixture(scope="module")
def app(talks, tiny_run):
    service = Service({"talks": talks, "tiny": tiny_run}, limits=Limits(pixels=100_000, tokens=8, rows=4))
    service.load()
    return create_app(service, page=False)


@pytest.fixture(scope="module")
def open_client(app):
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def api(talks, tiny_run):
    with living(Service({"talks": talks, "tiny": tiny_run}, limits=Limits(tokens=8, rows=4))) as url:
        yield schemathesis.openapi.from_url(f"{url}openapi.json")
    with warnings.catch_warnings():  # schemathesis leaves the connections of streamed answers to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_no_request_breaks_the_server(api):
    routes = [found.ok() for found in api.get_all_operations()]
    assert len(routes) >= 13
    for route in routes:

        @settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=route.as_strategy())
        def asked(case):
            told = case.call()
            case.validate_response(told, checks=[not_a_server_error, status_code_conformance, response_schema_conformance])

        asked()


def media() -> dict[str, bytes]:
    """A small file of each kind."""
    found = {"audio": sound(0.2)}
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        held = io.BytesIO()
        Image.effect_noise((24, 20), 40).convert("RGB").save(held, kind)
        found[kind] = held.getvalue()
    return found


FILES = media()


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(FILES)), seed=st.integers(0, 2**32), cut=st.floats(0.05, 1), name=st.text(max_size=30), wrong=st.booleans()
)
def test_damaged_files_are_answered(open_client, kind, seed, cut, name, wrong):
    """Bytes changed, cut off, sent as something else, under any name."""
    draw, content = random.Random(seed), bytearray(FILES[kind])
    for _ in range(draw.randint(0, 12)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    content = bytes(content[: max(1, int(len(content) * cut))])
    field = "audio" if (kind == "audio") != wrong else "image"
    as_json = open_client.post("/v1/predict", json={"run": "tiny", "inputs": {field: base64.b64encode(content).decode()}})
    as_form = open_client.post("/v1/predict", data={"run": "tiny"}, files={field: (name or "../a", content)})
    assert as_json.status_code in (200, 400, 413), as_json.text
    assert as_form.status_code in (200, 400, 413), as_form.text
    if as_json.status_code != 200:
        assert as_json.json()["error"]["message"]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "multipart/form-data; boundary=a", "text/plain", "", "a/b;;"])
)
@pytest.mark.parametrize("path", ["predict", "chat/completions", "audio/transcriptions"])
def test_bodies_of_anything_are_answered(open_client, path, body, kind):
    told = open_client.post(f"/v1/{path}", content=body, headers={"content-type": kind})
    assert told.status_code in (400, 413, 415), told.text


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"inputs": {"text": "\\ud800"}}',
        '{"inputs": {"text": NaN}}',
        '{"inputs": {"text": "a"}, "inputs": 5}',
        json.dumps({"inputs": {"text": "\0\u202e\ufeff\U0010ffff"}}),
        json.dumps({"inputs": {"text": "Z\u0351\u036b" * 3000}}),
        json.dumps({"run": "tiny", "inputs": {"__class__": "a"}}),
        json.dumps({"run": "x" * 100_000}),
        json.dumps({"rows": [{}]}),
        "1" * 5000,
    ],
    ids=range(10),
)
def test_crooked_json_is_answered(open_client, body):
    for run in ("predict", "embed", "search", "feedback", "chat/completions", "embeddings"):
        told = open_client.post(f"/v1/{run}", content=body, headers={"content-type": "application/json"})
        assert 200 <= told.status_code < 500, (run, told.text)
