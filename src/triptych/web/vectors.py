"""/v1/embeddings: texts, and by a small addition pictures and recordings too -> vectors of length one."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from triptych.contract.modality import Limited
from triptych.use.opened import Run
from triptych.use.spaces import FUSED, Space, space_of
from triptych.web.chat import named
from triptych.web.media import DATA
from triptych.web.native import Native
from triptych.web.problems import Refused
from triptych.web.reading import cells, tree_of
from triptych.web.schemas import Closed, checked
from triptych.web.told import told


class Embeddings(Closed):
    """A body of /v1/embeddings."""

    model: str = Field(max_length=300, description="a run, or RUN:SPACE, where it has several")
    input: str | list[str | dict[str, Any]] | list[int] | list[list[int]] = Field(
        description="texts; or data URLs of pictures and recordings; or {INPUT: value, ...} for rows of several. Tokens are not read",
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="must be as wide as the vectors are: they are not cut")
    user: str | None = None


async def embed(native: Native, request: Request) -> Response:
    """Vectors of texts, pictures or recordings, each of length one, in the space in which a run compares them."""
    asked = checked(Embeddings, await tree_of(request))
    name, wanted = named(native.service, asked["model"])
    run = native.service.runs[name]
    space = space_of(run, wanted)
    given = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    if not given:
        raise Refused("there is nothing to embed", param="input")
    rows = [_row(run, space, one) for one in given]
    found = await native.service.embed(name, rows, lambda row: cells(run.recipe, row, native.fetch))
    vectors = [_vector(one, space) for one in found]
    if asked["dimensions"] not in (None, len(vectors[0])):
        raise Refused(f"the vectors have {len(vectors[0])} dimensions, and are not cut", param="dimensions", fix="leave it out")
    as_words = asked["encoding_format"] == "base64"
    tokens = await native.service.decoding(_tokens, run, rows)
    data = [
        {
            "object": "embedding",
            "index": n,
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if as_words else vector.tolist(),
        }
        for n, vector in enumerate(vectors)
    ]
    return told({"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


def _tokens(run: Run, rows: list[dict[str, Any]]) -> int:
    """What the run reads of texts, in pieces of its own tokenizers; pictures and recordings have none."""
    found = 0
    for name, (room, preparation) in run.inputs.items():
        if isinstance(preparation, Limited) and preparation.limit().unit == "tokens":
            values = [room.read(row[name]) for row in rows if row.get(name)]
            found += sum(int(min(length, preparation.limit().most)) for length in preparation.lengths(values)) if values else 0
    return found


def _row(run: Run, space: Space, given: Any) -> dict[str, Any]:
    """One row of what was given."""
    if isinstance(given, int | list):
        raise Refused("tokens are not read: every run has its own", param="input", fix="send texts")
    row = given if isinstance(given, dict) else {_input(run, space, given): given}
    for name, value in row.items():
        if name not in space.inputs:
            raise Refused(f"{name[:80]!r} has no place among what is compared", param="input", known=list(space.inputs))
        if not isinstance(value, str):
            raise Refused(f"{name}: a text, or a file in base64", param="input")
    if not row:
        raise Refused("a row with nothing in it", param="input")
    return row


def _input(run: Run, space: Space, text: str) -> str:
    """The input that a text is for: that of texts, or of what a data URL says it is."""
    found = DATA.match(text[:300])
    modality = (found["type"] or "").partition("/")[0] if found else "text"
    name = next((name for name in space.inputs if run.recipe.inputs[name].modality == modality), None)
    if name is None:
        known = [f"{name} ({run.recipe.inputs[name].modality})" for name in space.inputs]
        raise Refused(f"this run has no vectors of {modality[:40] or 'such a file'}", param="input", known=known)
    return name


def _vector(found: dict[str, list[float] | None], space: Space) -> np.ndarray:
    """As the index has it: the mean of what a row has in the space, of length one."""
    columns = [FUSED] if space.name == FUSED else [f"{space.name}.{name}" for name in space.inputs]
    units = [_unit(np.asarray(vector, np.float32)) for column in columns if (vector := found[column]) is not None]
    return _unit(np.sum(units, axis=0))


def _unit(vector_D: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector_D))
    return vector_D / length if length > 0 else vector_D
