"""The API's own routes: /v1/predict and its kin."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from triptych.contract.cells import Blob
from triptych.modalities import rooms
from triptych.web.service import Service


def router(service: Service) -> APIRouter:
    """Routes over a service."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @routes.post("/v1/predict")
    async def predict(request: Request) -> JSONResponse:
        asked: dict[str, Any] = await request.json()
        name = service.run(asked.get("run"))
        inputs = service.runs[name].recipe.inputs
        row = {
            key: Blob(base64.b64decode(value), key) if key in inputs and rooms()[inputs[key].modality].by_reference else value
            for key, value in asked.get("inputs", {}).items()
        }
        return JSONResponse((await service.predict(name, row, asked.get("tasks"))).as_dict())

    return routes
