"""The API's own routes: /v1/predict and its kin, and what those who watch over a server ask."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from triptych.contract.cells import Blob, Several
from triptych.use.catalogue import Hit, Part
from triptych.web import schemas
from triptych.web.media import Fetch
from triptych.web.metrics import Metrics
from triptych.web.problems import Busy, Refused, Unknown
from triptych.web.reading import cell, cells, cells_of_form, form_of, is_form, tree_of
from triptych.web.service import Service, Unpacking
from triptych.web.told import told

SHOWN = 2 * 2**20
"""Bytes of a file that is sent with a hit; of a larger one the name alone."""


@dataclass(frozen=True)
class Asked:
    """What a request asks of a run. `single`: one row was sent by itself; `cells` makes a row's cells of what was sent."""

    run: str
    rows: list[dict[str, Any]]
    words: dict[str, Any]
    single: bool
    cells: Unpacking = dict


class Native:
    """What the routes do; FastAPI is told of them in `router`."""

    def __init__(self, service: Service, fetch: Fetch | None, metrics: Metrics) -> None:
        """Shapes are made once."""
        self.service, self.fetch, self.metrics = service, fetch, metrics
        self.shapes = {name: schemas.shapes(name, run, service.limits) for name, run in service.runs.items()}

    async def health(self) -> Response:
        """Whether the server is up."""
        return told({"status": "ok"})

    async def ready(self) -> Response:
        """Whether its runs are loaded."""
        if not self.service.ready:
            raise Busy("the runs are being loaded", fix="come again in a moment")
        return told({"status": "ready", "runs": list(self.service.runs)})

    async def counted(self) -> Response:
        """Figures for Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def runs(self) -> Response:
        """The runs: what each takes and answers, and its scores."""
        return told({"runs": list(self.service.about.values()), "index": self._index()})

    async def predict(self, request: Request) -> Response:
        """What a run says of one row, or of several: every task with its confidence. Inputs that are left out are absent."""
        asked = await self._asked(request, "predict")
        found = await self.service.predict_rows(asked.run, asked.rows, asked.words.get("tasks"), asked.cells)
        answers = [one.as_dict() for one in found]
        return told(answers[0] if asked.single else {"run": asked.run, "answers": answers})

    async def embed(self, request: Request) -> Response:
        """Vectors of one row, or of several: `fused`, and `TASK.INPUT` where a task brings inputs into one space."""
        asked = await self._asked(request, "embed")
        vectors, spaces = await self.service.embed(asked.run, asked.rows, asked.cells), asked.words.get("spaces")
        for space in spaces or ():
            if space not in vectors[0]:
                raise Unknown(f"there are no vectors {space[:80]!r} in this run", param="spaces", known=list(vectors[0]))
        found = [{space: row[space] for space in spaces or row} for row in vectors]
        return told({"run": asked.run, "vectors": found[0]} if asked.single else {"run": asked.run, "rows": found})

    async def search(self, request: Request) -> Response:
        """Rows of the index that are nearest to what is asked: texts, pictures and recordings, added with weights."""
        asked = schemas.checked(schemas.Search, await tree_of(request))
        finder = self.service.finder
        if finder is None:
            raise Unknown("this server has no index to search", fix="triptych serve RUN --index FOLDER")
        recipe = self.service.runs[finder].recipe
        parts = [Part(one["input"], await self._value(recipe, one["input"], one["value"]), one["weight"]) for one in asked["query"]]
        hits = await self.service.search(parts, asked["limit"], asked["where"])
        return told({"hits": [await self.service.decoding(_hit, hit, asked["media"]) for hit in hits]})

    async def feedback(self, request: Request) -> Response:
        """Say what is right, how good an answer is, or which of two is better. It is kept for the run's next version."""
        said = schemas.checked(schemas.Said, await tree_of(request))
        words = {name: value for name, value in said.items() if value not in (None, "")}
        answer = words.pop("answer_id", "")
        return told({"id": await self.service.remark(answer, **words)}, 201)

    async def _value(self, recipe: Any, name: str, value: str) -> Any:
        return await self.service.decoding(cell, recipe, name, value, self.fetch)

    async def _asked(self, request: Request, kind: str) -> Asked:
        """What a body asks; the files of its rows are unpacked later, where they are read."""
        if is_form(request):
            return await self._of_form(request)
        tree = await tree_of(request)
        given = tree.get("run")
        if given is not None and not isinstance(given, str):
            raise Refused("run: it is a name", param="run")
        name = self.service.run(given)
        asked = schemas.checked(getattr(self.shapes[name], kind), tree)
        if (asked["inputs"] is None) == (asked["rows"] is None):
            raise Refused("a body has inputs (one row) or rows (several)", fix='{"inputs": {...}}')
        recipe, rows = self.service.runs[name].recipe, asked["rows"] or [asked["inputs"]]
        return Asked(name, rows, asked, asked["rows"] is None, lambda row: cells(recipe, row, self.fetch))

    async def _of_form(self, request: Request) -> Asked:
        async with form_of(request, self.service.limits) as form:
            given = form.get("run")
            name = self.service.run(given if isinstance(given, str) and given else None)
            run = self.service.runs[name]
            row = await cells_of_form(form, run.recipe, run.words, self.fetch)
            words = {
                key: [part.strip() for text in form.getlist(key) if isinstance(text, str) for part in text.split(",")]
                for key in ("tasks", "spaces")
                if key in form and key not in run.recipe.inputs
            }
        return Asked(name, [row], words, True)

    def _index(self) -> dict[str, Any] | None:
        catalogue = self.service.catalogue
        if catalogue is None:
            return None
        return {"run": self.service.finder, "columns": catalogue.columns, "inputs": list(catalogue.space.inputs)}


def _hit(hit: Hit, media: bool) -> dict[str, Any]:
    """A hit in plain values. Where its files lie on this machine is not told, only what they are called."""
    return {"id": hit.id, "similarity": hit.similarity, "row": {name: _cell(value, media) for name, value in hit.row.items()}}


def _cell(value: Any, media: bool) -> Any:
    if isinstance(value, Several):
        return [_cell(one, media) for one in value.items]
    name = getattr(value, "name", None)
    if isinstance(value, Blob):
        return _data(bytes(value), value.name) if media and len(value) <= SHOWN else {"file": value.name}
    if isinstance(name, str):  # a path
        try:
            small = media and value.stat().st_size <= SHOWN
            return _data(value.read_bytes(), name) if small else {"file": name}
        except OSError:
            return {"file": name}
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


def _data(content: bytes, name: str) -> dict[str, str]:
    import mimetypes

    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"file": name, "data": f"data:{kind};base64,{base64.b64encode(content).decode()}"}


def router(native: Native, problems: Mapping[int | str, Any]) -> APIRouter:
    """The routes, with what /docs says of them."""
    routes, runs, made = APIRouter(tags=["triptych"]), native.service.runs, native.shapes
    form = schemas.form_of(next(iter(runs.values())))
    words: dict[str, Any] = {"responses": dict(problems)}
    routes.add_api_route("/health", native.health, methods=["GET"])
    routes.add_api_route("/ready", native.ready, methods=["GET"], **words)
    routes.add_api_route("/metrics", native.counted, methods=["GET"], response_class=PlainTextResponse, **words)
    routes.add_api_route("/v1/runs", native.runs, methods=["GET"], **words)
    predict = schemas.body([one.predict for one in made.values()], form=form)
    routes.add_api_route("/v1/predict", native.predict, methods=["POST"], openapi_extra=predict, **words)
    embed = schemas.body([one.embed for one in made.values()], form=form)
    routes.add_api_route("/v1/embed", native.embed, methods=["POST"], openapi_extra=embed, **words)
    routes.add_api_route("/v1/search", native.search, methods=["POST"], openapi_extra=schemas.body([schemas.Search]), **words)
    said = schemas.body([schemas.Said])
    routes.add_api_route("/v1/feedback", native.feedback, methods=["POST"], status_code=201, openapi_extra=said, **words)
    return routes
