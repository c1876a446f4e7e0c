"""What a server takes of its callers at most. Every bound has a default, an option of `triptych serve` and an environment variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from triptych.base.errors import InputError
from triptych.base.settings import Settings, parse

PREFIX = "TRIPTYCH_"
"""Stands before a bound's name in the environment: `pixels` is changed by TRIPTYCH_PIXELS, and so on."""
HEAD = 32 * 1024
"""Bytes of a request's head."""


class Limits(Settings):
    """Bounds of one server. What is beyond them is answered with a 4xx or a 503 that names the bound, and is never computed."""

    body_bytes: int = Field(32 * 2**20, ge=1024, description="bytes of a request's body, however it is sent: a length, chunks, a form")
    pixels: int = Field(40_000_000, ge=1, description="pixels of a picture, and of a frame of a film, by its header")
    seconds: float = Field(600.0, gt=0, description="seconds of a recording or a film")
    channels: int = Field(8, ge=1, description="channels of a recording")
    files: int = Field(16, ge=1, description="files of one row")
    rows: int = Field(64, ge=1, description="rows of one request")
    characters: int = Field(100_000, ge=1, description="characters of a text")
    tokens: int = Field(1024, ge=1, description="pieces of a written answer")
    found: int = Field(100, ge=1, description="hits of one search")
    concurrency: int = Field(128, ge=1, description="requests that are worked on at once")
    connections: int = Field(512, ge=1, description="connections that are open at once, those of the page among them")
    queue: int = Field(512, ge=1, description="rows that wait for one run")
    time: float = Field(120.0, gt=0, description="seconds of a request, from its first byte to the last of its answer")
    slow: float = Field(30.0, gt=0, description="seconds in which a request's head, and then its body, must have come")
    batch: int = Field(32, ge=1, description="rows that go through a model together")
    wait: float = Field(0.005, ge=0, le=1, description="seconds that a row waits for others that are on their way")
    readers: int = Field(2, ge=1, description="threads that decode what is sent")
    answers: int = Field(2000, ge=0, description="answers that are remembered, for feedback on them")
    answer_bytes: int = Field(128 * 2**20, ge=0, description="bytes of what was sent with them that are remembered")

    @staticmethod
    def read(given: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Limits:
        """Options that are not None, over the environment, over the defaults.

        Raises:
            InputError: a value is no number or is out of its range; it is said where it stands.
        """
        environment = os.environ if environment is None else environment
        named = {name: environment[f"{PREFIX}{name.upper()}"] for name in Limits.model_fields if environment.get(f"{PREFIX}{name.upper()}")}
        for name, value in named.items():
            try:
                parse(Limits, {name: value}, "environment")
            except InputError as problem:
                raise InputError(problem.what, where=f"environment variable {PREFIX}{name.upper()}", fix=problem.fix) from None
        return parse(Limits, {**named, **{name: value for name, value in (given or {}).items() if value is not None}}, "limits")
