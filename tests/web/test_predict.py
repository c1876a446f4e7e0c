"""Answers over HTTP are those of the library, whoever else asks at the same time."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from triptych.contract.cells import Blob
from triptych.web.service import Service


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def rows_of(folder: Path) -> list[dict[str, object]]:
    """Rows with all inputs, some of them, and one."""
    picture, sound = folder / "pictures/1.png", folder / "sounds/2.wav"
    return [
        {"image": picture, "audio": sound, "text": "a bright sharp whistle"},
        {"image": picture, "text": "näher 猫 \U0001f600"},
        {"audio": sound},
        {"text": "a deep dark tone"},
        {"image": folder / "pictures/4.png"},
    ]


def close(found, expected) -> bool:
    """Equal to 1e-5 where they are numbers."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else found == expected


def test_answers_are_those_of_the_library_as_json_and_as_a_form(tiny_run, tiny_table, tiny_client):
    rows = rows_of(tiny_table.parent)
    sent = [{name: encoded(value) if isinstance(value, Path) else value for name, value in row.items()} for row in rows]
    several = tiny_client.post("/v1/predict", json={"rows": sent}).json()["answers"]
    for row, one, together in zip(rows, sent, several, strict=True):
        expected = tiny_run.predict(**row).tasks
        single = tiny_client.post("/v1/predict", json={"run": "tiny", "inputs": one}).json()
        files = {name: ("../../../etc/passwd\0", value.read_bytes()) for name, value in row.items() if isinstance(value, Path)}
        words = {name: value for name, value in row.items() if isinstance(value, str)}
        form = tiny_client.post("/v1/predict", files=files or None, data=words).json()
        assert close(single["tasks"], expected) and close(form["tasks"], expected) and close(together["tasks"], expected)
    assert len({one["id"] for one in several}) == len(rows)


def test_vectors_are_those_of_the_library(tiny_run, tiny_table, tiny_client):
    rows = rows_of(tiny_table.parent)
    expected = tiny_run.embed_rows(rows)
    for place, row in enumerate(rows):
        sent = {name: encoded(value) if isinstance(value, Path) else value for name, value in row.items()}
        found = tiny_client.post("/v1/embed", json={"inputs": sent}).json()["vectors"]
        assert close(found, {name: vectors[place] for name, vectors in expected.items()})
    chosen = tiny_client.post("/v1/embed", json={"inputs": {"text": "x"}, "spaces": ["match.text"]}).json()["vectors"]
    assert list(chosen) == ["match.text"]


def test_chosen_tasks_alone_are_answered(tiny_client):
    assert list(tiny_client.post("/v1/predict", json={"inputs": {"text": "x"}, "tasks": ["label"]}).json()["tasks"]) == ["label"]


def test_two_hundred_at_once_each_get_their_own_answer(tiny_run, tiny_table):
    folder = tiny_table.parent
    rows = [
        {"text": f"a {('deep', 'bright')[n % 2]} tone number {n}"}
        | ({"image": Blob((folder / f"pictures/{n % 40}.png").read_bytes(), "p.png")} if n % 3 else {})
        | ({"audio": Blob((folder / f"sounds/{n % 37}.wav").read_bytes(), "s.wav")} if n % 5 else {})
        for n in range(200)
    ]
    expected = [answer["label"]["probabilities"]["high"] for answer in tiny_run.predict_rows(rows)]
    assert len({round(one, 6) for one in expected}) > 150, "rows that cannot be told apart prove nothing"
    sizes: list[int] = []
    service = Service({"tiny": tiny_run}, watch=lambda name, rows: sizes.append(rows))

    async def ask() -> tuple[list, list]:
        told = asyncio.gather(*(service.predict("tiny", row, ["label"]) for row in rows))
        vectors = asyncio.gather(*(service.embed("tiny", [row]) for row in rows))
        return await told, await vectors

    told, vectors = asyncio.run(ask())
    service.close()
    fused = tiny_run.embed_rows(rows)["fused"]
    for n, (one, vector) in enumerate(zip(told, vectors, strict=True)):
        assert one.tasks["label"]["probabilities"]["high"] == pytest.approx(expected[n], abs=1e-5)
        assert vector[0]["fused"] == pytest.approx(fused[n], abs=1e-5)
    assert sum(sizes) == 400 and len(sizes) < 200, "rows were computed together"


def test_the_service_tells_of_its_runs(tiny_client):
    told = tiny_client.get("/v1/runs").json()
    assert told["index"] is None
    run = told["runs"][0]
    assert run["id"] == "tiny" and run["inputs"]["audio"] == {"modality": "audio"} and run["tasks"]["label"]["kind"] == "classify"
    assert any(score["name"] == "label.accuracy" for score in run["scores"])
    schema = tiny_client.get("/openapi.json").json()["components"]["schemas"]
    assert (
        list(schema["RowTiny"]["properties"]) == ["image", "audio", "text"]
        and "base64" in schema["RowTiny"]["properties"]["image"]["description"]
    )
