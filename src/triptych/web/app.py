"""Service -> FastAPI: the routes, what guards them, and the page where it can be had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata
from typing import Any

from triptych.base.extras import need
from triptych.web.service import Service

WHY = "a run behind HTTP"
CODES = {
    400: "what was sent cannot be used",
    401: "a key is needed",
    403: "this caller may not come in",
    404: "there is no such run, task or answer",
    408: "the request came too slowly",
    413: "a limit of the server is passed",
    415: "a body of another kind",
    503: "too much to do, or something is gone: come again",
}


def create_app(
    service: Service,
    *,
    keys: Sequence[str] = (),
    page: bool = True,
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    fetched: Sequence[str] = (),
) -> Any:
    """The whole app.

    Args:
        service: the runs.
        keys: who knows one may call; without any, everybody.
        page: whether the page is mounted, where its package is installed.
        hosts: names under which the server is called; without any, every name will do.
        origins: pages of other places that may call it: CORS is closed but for them.
        fetched: hosts from which addresses in requests are fetched; none by default.

    Raises:
        InputError: a package is missing.
    """
    need("fastapi", extra="serve", why=WHY)
    need("python_multipart", extra="serve", why=WHY)
    need("prometheus_client", extra="serve", why=WHY)
    need("fastapi_offline", extra="serve", why=WHY)
    from fastapi import FastAPI

    from triptych.web import handbook, told
    from triptych.web.fetch import Fetcher
    from triptych.web.metrics import Metrics
    from triptych.web.native import Native
    from triptych.web.straight import Straight

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if not service.ready:
            service.load()
        yield
        service.close()

    metrics = Metrics()
    service.watch = metrics.batch
    for name, worker in service.workers.items():
        metrics.waits(name, partial(_waiting, worker))
    about = "A run behind HTTP. `/v1/predict` and its kin are made of the run's own inputs; the others are shaped as OpenAI's are."
    app = FastAPI(title="triptych", version=metadata.version("triptych"), description=about, lifespan=life, docs_url=None, redoc_url=None)
    handbook.show(app)
    told.listen(app)
    own = Native(service, Fetcher(fetched, service.limits) if fetched else None, metrics)
    _routes(app, own)
    made = _with_page(app, service) if page else app
    straight = Straight(made, {"/v1/predict": own.predict, "/v1/embed": own.embed})
    return _guarded(straight, service, metrics, keys, hosts, origins)


def _routes(app: Any, own: Any) -> None:
    from triptych.web import native, openai_shapes, schemas
    from triptych.web.told import Problem

    problems: dict[int | str, Any] = {code: {"description": what, "model": Problem} for code, what in CODES.items()}
    app.include_router(native.router(own, problems))
    app.include_router(openai_shapes.router(own, problems))
    bodies: list[Any] = [body for made in own.shapes.values() for body in (made.predict, made.embed)]
    extra = schemas.components([*bodies, *openai_shapes.BODIES, schemas.Search, schemas.Said])
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        found: dict[str, Any] = plain()
        found.setdefault("components", {}).setdefault("schemas", {}).update(extra)
        for path in found["paths"].values():
            for route in path.values():
                route["responses"].pop("422", None)  # FastAPI's own, which is never sent here
        return found

    app.openapi = openapi


def _waiting(worker: Any) -> int:
    return int(worker.waiting)


def _guarded(app: Any, service: Service, metrics: Any, keys: Sequence[str], hosts: Sequence[str], origins: Sequence[str]) -> Any:
    """The app behind its guard, which stands before every layer of the framework."""
    from triptych.web.guard import Guard

    if origins:
        from starlette.middleware.cors import CORSMiddleware

        app = CORSMiddleware(
            app, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["authorization", "content-type"]
        )
    return Guard(app, service.limits, metrics, keys, hosts, origins)


def _with_page(app: Any, service: Service) -> Any:
    """The app with the page at /, where it can be had."""
    try:
        from triptych.web.page import mount
    except ImportError:
        return app
    return mount(app, service)
