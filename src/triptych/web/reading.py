"""A request's body -> values: JSON or a form, with files by their content alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile

from triptych.contract.cells import Blob
from triptych.data.several import together
from triptych.modalities import rooms
from triptych.run.recipe import Recipe
from triptych.web.limits import Limits
from triptych.web.media import Fetch, called, content
from triptych.web.problems import Refused


class OtherKind(Refused):
    """A body of a kind that is not read."""

    status = 415


async def tree_of(request: Request) -> dict[str, Any]:
    """A JSON body.

    Raises:
        Refused: it is no JSON, or no object.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind not in ("application/json", "") and not kind.endswith("+json"):
        raise OtherKind(f"a body of type {kind[:60]!r} is not read", known=["application/json", "multipart/form-data"])
    try:
        tree = from_json(await request.body(), allow_inf_nan=False)
    except ValueError as problem:
        raise Refused(f"the body is no JSON: {problem}") from None
    if not isinstance(tree, dict):
        raise Refused("the body is no JSON object")
    return tree


def is_form(request: Request) -> bool:
    """Whether a form is sent."""
    return request.headers.get("content-type", "").lower().startswith(("multipart/form-data", "application/x-www-form-urlencoded"))


@asynccontextmanager
async def form_of(request: Request, limits: Limits) -> AsyncIterator[FormData]:
    """A form. Its files lie in memory, or in files of the system without a name, until this ends; what they are called is not looked at."""
    async with request.form(max_files=limits.files, max_fields=64, max_part_size=limits.body_bytes) as form:
        yield form


async def cells_of_form(form: FormData, recipe: Recipe, words: list[str], fetch: Fetch | None) -> dict[str, Any]:
    """The row that a form gives."""
    given: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        if name in ("run", "tasks", "spaces") and name not in recipe.inputs:
            continue
        if name not in recipe.inputs and name not in words:
            raise Refused(f"{name[:80]!r} is no input of this run", param=name[:80], known=[*recipe.inputs, *words])
        given.setdefault(name, []).append(await blob_of(value) if isinstance(value, UploadFile) else value)
    return {name: cell(recipe, name, values if len(values) > 1 else values[0], fetch) for name, values in given.items()}


async def blob_of(file: UploadFile) -> Blob:
    """What a file of a form holds."""
    found = await file.read()
    if not found:
        raise Refused("an empty file was sent")
    return Blob(found, called(file.content_type))


def cells(recipe: Recipe, row: Mapping[str, Any], fetch: Fetch | None) -> dict[str, Any]:
    """A row of a JSON body, its files by their content."""
    return {name: cell(recipe, name, value, fetch) for name, value in row.items() if value is not None}


def cell(recipe: Recipe, name: str, value: Any, fetch: Fetch | None) -> Any:
    """One value: of an input that is a file its content, whatever is written there; never a name of a file on this machine."""
    if name not in recipe.inputs or not rooms()[recipe.inputs[name].modality].by_reference:
        return value
    items = [one if isinstance(one, Blob) else content(one, name, fetch) for one in (value if isinstance(value, list) else [value])]
    if not items:
        raise Refused(f"{name}: the list is empty", param=name)
    return together(items)
