"""/docs and /redoc with files of this machine: FastAPI's own pages load theirs from a public address, and are blank without it."""

from __future__ import annotations

from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

FILES = "/docs-files"
"""Where a browser finds them."""


def show(app: FastAPI) -> None:
    """Add both pages to an app that was made without them."""
    held = resources.files("fastapi_offline") / "static"
    app.mount(FILES, StaticFiles(directory=str(held)), name="docs-files")

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        words: dict[str, Any] = {"openapi_url": f"{root}{app.openapi_url}", "title": f"{app.title}: what can be asked"}
        names = {"js": "swagger-ui-bundle.js", "css": "swagger-ui.css", "favicon": "favicon.png"}
        files: dict[str, Any] = {f"swagger_{kind}_url": f"{root}{FILES}/{name}" for kind, name in names.items()}
        return get_swagger_ui_html(**words, **files)

    async def redoc(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        files = {"redoc_js_url": f"{root}{FILES}/redoc.standalone.js", "redoc_favicon_url": f"{root}{FILES}/favicon.png"}
        found = get_redoc_html(openapi_url=f"{root}{app.openapi_url}", title=f"{app.title}: reference", with_google_fonts=False, **files)
        found.headers["content-security-policy"] = "img-src 'self' data: blob:"  # Redoc would fetch its maker's logo
        return found

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
