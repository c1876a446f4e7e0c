"""Rows that a Python program makes: a list of dictionaries, or a function that gives them one by one."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.cells import Blob, Cell, Span
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.arrow import as_media
from triptych.data.sources.flat import all_named, flattened, id_text

ROWS = "rows:"
"""How the source of such rows begins where a recipe or a table names it."""

Rows = Iterable[Mapping[str, Any]] | Callable[[], Iterable[Mapping[str, Any]]]

SAMPLED = {"array", "sampling_rate"}
"""Fields of samples in memory, as Hugging Face's data sets give them."""


def from_rows(rows: Rows, *, name: str = "python", folder: str | Path = ".", version: str = "") -> Source:
    """Dictionaries as rows. They are gone through several times, so a stream is given as the function that starts it.

    A value may be a text, a number, a truth value, a list of them, None; a `Path` (a file by reference); `bytes`,
    `{"bytes": ..., "path": "a.wav"}` or anything with a method `save(file, format)` (a file by value, written as PNG);
    `{"array": ..., "sampling_rate": ...}` (the same, as WAV); a `Span` of one of those; a mapping, whose fields become
    columns `a.b`; an array of one dimension, which becomes a list.
    What is none of them costs its row. A field `id` names the rows where each has one of its own.

    Args:
        rows: a list of dictionaries, or a function without arguments that gives an iterator of them.
        name: what messages and the run's recipe call them.
        folder: where relative paths start.
        version: a word that changes with the rows. Without it they are hashed where that must be known.

    Raises:
        InputError: `rows` can be gone through once only, or is no iterable. Later, where it fails: from which row on.
    """
    start = _start(rows, name)
    findings: list[str] = []
    named = functools.cache(lambda: all_named((row.get("id") for row in start() if isinstance(row, Mapping)), findings, name))
    total = len(rows) if isinstance(rows, Sized) else None
    place = Path(folder)
    return Source(f"{ROWS}{name}", lambda: _rows(start, named(), place), place, findings, total, version=version)


def _start(rows: Any, name: str) -> Callable[[], Iterator[Any]]:
    fix = "give a list, or the function that makes the iterator: from_rows(make), not from_rows(make())"
    if callable(rows):

        def begun() -> Iterator[Any]:
            made = rows()
            if not isinstance(made, Iterable):
                raise InputError(f"the function gives {type(made).__name__}, not rows", where=f"{ROWS}{name}", fix="yield dictionaries")
            return iter(made)

        return begun
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise InputError(f"a {type(rows).__name__} is not rows", where=f"{ROWS}{name}", fix=fix)
    if isinstance(rows, Iterator):
        raise InputError("these rows can be gone through once only", where=f"{ROWS}{name}", fix=fix)
    return lambda: iter(rows)


def _rows(start: Callable[[], Iterator[Any]], named: bool, folder: Path) -> Iterator[Row | Reject]:
    for number, fields in enumerate(start(), start=1):
        row_id = f"row-{number}"
        if not isinstance(fields, Mapping):
            yield Reject(row_id, f"a row is a dictionary, not {type(fields).__name__}")
            continue
        row_id = id_text(fields.get("id")) if named else row_id
        try:
            yield Row(row_id, _cells(fields, folder))
        except ValueError as error:
            yield Reject(row_id, str(error))


def _cells(fields: Mapping[str, Any], folder: Path) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for name, value in fields.items():
        told = _told(value, str(name), folder)
        made = {str(name): told} if isinstance(told, Blob | Path | Span) else flattened({str(name): told}, as_media(folder))
        if twice := cells.keys() & made.keys():
            raise ValueError(f"two fields come to one column, {min(twice)!r}")
        cells |= made
    return cells


def _told(value: Any, name: str, folder: Path) -> Any:
    """A value as the readers of files give it.

    Raises:
        ValueError: it is something that no cell can hold.
    """
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, Span) and isinstance(value.source, Path):
        return Span(folder / value.source, value.start, value.end)
    if callable(getattr(value, "save", None)):
        return _saved(value, name)
    if isinstance(value, Mapping) and value.keys() >= SAMPLED and value["array"] is not None:
        return _sampled(value, name)
    if isinstance(value, Mapping):  # its fields become columns: arrays among them are lists too
        return {key: _told(held, f"{name}.{key}", folder) if hasattr(held, "tolist") else held for key, held in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of one
        if getattr(value, "ndim", 0) > 1:
            raise ValueError(f"{name}: an array of {value.ndim} dimensions is no cell; give the bytes of a file, or its path")
        return value.tolist()
    if value is None or isinstance(value, str | bytes | bool | int | float | list | tuple | Mapping | Span) or hasattr(value, "isoformat"):
        return value
    if type(value).__name__ in ("Decimal", "UUID"):
        return value
    raise ValueError(f"{name}: a {type(value).__name__} is no cell (known: text, number, list, bytes, Path, Span)")


def _sampled(value: Mapping[str, Any], name: str) -> Blob:
    """Samples (N,), (N, C) or (C, N) and their rate, as data sets hold them, as a file without loss."""
    import numpy as np
    from scipy.io import wavfile

    file = io.BytesIO()
    try:
        samples = np.asarray(value["array"])
        wavfile.write(
            file, int(value["sampling_rate"]), samples.T if samples.ndim == 2 and samples.shape[0] < samples.shape[1] else samples
        )
    except Exception as error:
        kind = f"{type(value['array']).__name__} at {value['sampling_rate']!r} samples a second"
        raise ValueError(f"{name}: a {kind} cannot be written as WAV: {error}") from error
    return Blob(file.getvalue(), f"{name}.wav")


def _saved(value: Any, name: str) -> Blob:
    """What can write itself into a file, as one without loss."""
    file = io.BytesIO()
    try:
        value.save(file, format="PNG")
    except Exception as error:  # whatever another library raises
        raise ValueError(f"{name}: this {type(value).__name__} cannot be written as PNG: {error}") from error
    return Blob(file.getvalue(), f"{name}.png")
