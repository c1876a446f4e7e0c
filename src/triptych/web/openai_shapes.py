"""Routes in the shapes of OpenAI's API, where one fits: its clients talk to them without a change but for the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from triptych.web import chat, schemas, speech, vectors, voice
from triptych.web.chat import named
from triptych.web.native import Native
from triptych.web.told import told

BODIES: list[type[BaseModel]] = [chat.Chat, vectors.Embeddings, voice.Speech]


def router(native: Native, problems: Mapping[int | str, Any]) -> APIRouter:
    """The routes, with what /docs says of them."""
    routes = APIRouter(tags=["OpenAI"])
    words: dict[str, Any] = {"responses": dict(problems)}

    def model(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": "triptych"}

    async def models() -> Response:
        """The runs, by the names that `model` takes; RUN:TASK names one task of it."""
        return told({"object": "list", "data": [model(name) for name in native.service.runs]})

    async def one_model(name: str) -> Response:
        """One run."""
        named(native.service, name)
        return told(model(name))

    async def complete(request: Request) -> Response:
        return await chat.complete(native, request)

    async def embed(request: Request) -> Response:
        return await vectors.embed(native, request)

    async def transcribe(request: Request) -> Response:
        return await speech.transcribe(native, request)

    async def speak(request: Request) -> Response:
        return await voice.speak(native, request)

    def body(route: Any, answers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {"description": route.__doc__, "methods": ["POST"], "responses": {**words["responses"], **(answers or {})}}

    routes.add_api_route("/v1/models", models, methods=["GET"], **words)
    routes.add_api_route("/v1/models/{name:path}", one_model, methods=["GET"], **words)
    routes.add_api_route("/v1/chat/completions", complete, openapi_extra=schemas.body([chat.Chat]), **body(chat.complete))
    routes.add_api_route("/v1/embeddings", embed, openapi_extra=schemas.body([vectors.Embeddings]), **body(vectors.embed))
    form = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": speech.FORM}}}}
    routes.add_api_route("/v1/audio/transcriptions", transcribe, openapi_extra=form, **body(speech.transcribe))
    sound = {"200": {"description": "the recording", "content": {kind: {} for kind in voice.KINDS}}}
    extra = schemas.body([voice.Speech])
    routes.add_api_route("/v1/audio/speech", speak, openapi_extra=extra, response_class=Response, **body(voice.speak, sound))
    return routes
