"""Service -> FastAPI: the routes, what guards them, and the page where it can be had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from triptych.web.service import Service


def create_app(service: Service, *, keys: Sequence[str] = (), page: bool = True, hosts: Sequence[str] = ()) -> Any:
    """The whole app. `keys`: who may call, all where there are none; `hosts`: names under which it is called."""
    from fastapi import FastAPI

    from triptych.web.native import router

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        if not service.ready:
            service.load()
        yield
        service.close()

    app = FastAPI(title="triptych", lifespan=life)
    app.include_router(router(service))
    if page and (mount := _page()) is not None:
        app = mount(app, service, keys)
    return app


def _page() -> Any:
    try:
        from triptych.web.page import mount
    except ImportError:
        return None
    return mount
