"""What a person says of an answer: a correction, a rating, the better of two, how good a voice is; with where it comes from."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from triptych.base.errors import BadValue, InputError, unknown_word
from triptych.base.settings import Settings, parse
from triptych.contract.cells import Blob, Cell, Several
from triptych.modalities import rooms
from triptych.run.recipe import Recipe

Kind = Literal["correction", "rating", "preference", "listening"]
KINDS: tuple[Kind, ...] = ("correction", "rating", "preference", "listening")
UP, DOWN = 5, 1
"""What a thumb is as a rating."""
CORRECTED = ("classify", "multilabel", "regress", "generate")
"""Kinds of tasks whose answers can be corrected."""
LONGEST = 20_000
"""Characters of one text."""


class Remark(Settings):
    """One remark with its provenance; the input's values stand beside it in the table."""

    id: str = Field(default_factory=lambda: uuid.uuid4().hex, min_length=1, max_length=64, description="its own")
    when: str = Field(default_factory=lambda: now(), min_length=1, max_length=40, description="UTC, ISO 8601")
    run: str = Field("", max_length=1000, description="name of the run that answered")
    digest: str = Field("", max_length=128, description="a word for that run's model")
    answer_id: str = Field("", max_length=200, description="the answer it is about, where a service gave one")
    input_hash: str = Field("", max_length=128, description="SHA-256 of what the input holds")
    task: str = Field("", max_length=200, description="the task whose answer it is about")
    kind: Kind = Field(description="correction, rating, preference or listening")
    answer: Any = Field(None, description="what the run said, as predict gives it")
    correction: Any = Field(None, description="of a correction: the right answer; a label, labels, a number or a text")
    rating: int | None = Field(None, ge=1, le=5, description="of a rating: 1 to 5; thumbs are 5 (up) and 1 (down)")
    chosen: str | None = Field(None, max_length=LONGEST, description="of a preference: the better answer")
    rejected: str | None = Field(None, max_length=LONGEST, description="of a preference: the worse answer")
    score: float | None = Field(None, ge=1, le=5, description="of a listening: how good a voice is, 1 to 5 (MOS)")
    rater: str = Field("", max_length=200, description="who says so: a pseudonym, or nothing")
    note: str = Field("", max_length=LONGEST, description="in the rater's own words")

    @field_validator("answer", "correction")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Whatever JSON can hold, and is found again as it was."""
        try:
            told = json.dumps(value, allow_nan=False)
            told.encode()
        except (TypeError, ValueError) as error:
            raise ValueError("it is no plain value") from error
        if len(told) > 50 * LONGEST:
            raise ValueError("it is too long")
        return json.loads(told)

    @field_validator("id", "when", "run", "answer_id", "task", "chosen", "rejected", "rater", "note")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        """Texts that UTF-8 can hold."""
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise ValueError("it is no text that UTF-8 can hold") from error
        return value

    @model_validator(mode="after")
    def _whole(self) -> Remark:
        needed = {"correction": ("correction",), "rating": ("rating",), "preference": ("chosen", "rejected"), "listening": ("score",)}
        if lacking := [name for name in needed[self.kind] if getattr(self, name) is None]:
            raise ValueError(f"a {self.kind} needs {' and '.join(lacking)}")
        if strange := [name for name in SAID if getattr(self, name) is not None and name not in needed[self.kind]]:
            raise ValueError(f"a {self.kind} has no {strange[0]}")
        if self.kind == "preference" and self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same answer")
        return self


SAID = ("correction", "rating", "chosen", "rejected", "score")
"""What a remark says, by its kind."""


def now() -> str:
    """The time as remarks say it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kind_of(words: Mapping[str, Any]) -> Kind:
    """The kind that a remark's words make.

    Raises:
        InputError: they say nothing, or two things.
    """
    kinds: dict[str, Kind] = {"correction": "correction", "rating": "rating", "chosen": "preference", "rejected": "preference"}
    kinds["score"] = "listening"
    found = list(dict.fromkeys(kinds[name] for name in SAID if words.get(name) is not None))
    if len(found) != 1:
        what = f"it says {' and '.join(found)} in one" if found else "nothing is said of the answer"
        raise InputError(what, known=["correction", "rating", "chosen and rejected", "score"], fix="say one of them")
    return found[0]


def remark_of(words: Mapping[str, Any], recipe: Recipe) -> Remark:
    """A remark from plain words, checked against the run that it is about; `kind` may be left out.

    Raises:
        InputError: an unknown word or task, or a correction that is no answer of the task.
    """
    told = {name: value for name, value in words.items() if value is not None}
    remark = parse(Remark, {"kind": kind_of(told), **told}, "feedback")
    if remark.task and remark.task not in recipe.tasks:
        raise unknown_word("task", remark.task, recipe.tasks)
    if remark.kind in ("correction", "preference"):
        name = remark.task or _only_task(remark.kind, recipe)
        remark = remark.model_copy(update={"task": name})
    if remark.kind == "correction":
        return remark.model_copy(update={"correction": corrected(remark.correction, remark.task, recipe.tasks[remark.task])})
    if remark.kind == "preference" and recipe.tasks[remark.task].kind not in ("generate", "prefer"):
        what = f"{remark.task} is not answered in writing, so no answer of it is better than another"
        raise InputError(what, known=_written(recipe), fix="correct the answer instead")
    return remark


def cells_of(recipe: Recipe, row: Mapping[str, Any]) -> dict[str, Cell]:
    """What a user gives for inputs, as cells that can be kept: texts in files are read, lists of files are several.

    Raises:
        BadValue: a file cannot be read.
    """
    found: dict[str, Cell] = {}
    for name, value in row.items():
        by_reference = name in recipe.inputs and rooms()[recipe.inputs[name].modality].by_reference
        if by_reference and isinstance(value, str):
            value = Path(value)
        if by_reference and isinstance(value, list | tuple):
            value = Several(tuple(Path(one) if isinstance(one, str) else one for one in value))
        if isinstance(value, Path) and not by_reference:
            try:
                value = value.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadValue(f"{name}: the text cannot be read: {error}", where=str(value)) from error
        found[name] = Blob(value) if type(value) is bytes else value
    return found


def _only_task(kind: str, recipe: Recipe) -> str:
    """The one task that such a remark can be about."""
    fitting = _written(recipe) if kind == "preference" else [name for name, task in recipe.tasks.items() if task.kind in CORRECTED]
    if len(fitting) != 1:
        what = f"it is not said which task the {kind} is about" if fitting else f"no task of the run takes a {kind}"
        raise InputError(what, known=fitting or [f"{name}: {task.kind}" for name, task in recipe.tasks.items()])
    return fitting[0]


def _written(recipe: Recipe) -> list[str]:
    return [name for name, task in recipe.tasks.items() if task.kind == "generate"]


def corrected(value: Any, name: str, task: Any) -> Any:
    """A correction in the form of the task: a label, a list of labels, a number, a text.

    Raises:
        InputError: it is none, or the task is of a kind that takes no corrections.
    """
    if task.kind not in CORRECTED:
        what = f"answers of {name} cannot be corrected: it is of kind {task.kind}"
        raise InputError(what, known=CORRECTED, fix="rate the answer instead")
    if task.kind == "multilabel":
        return _labels(value, name, task.separator)
    if task.kind == "regress":
        return _number(value, name)
    if isinstance(value, bool | list | dict) or value is None or not str(value).strip():
        raise InputError(f"{value!r} is no answer of {name}", fix="give the right answer as a text")
    return str(value).strip() if task.kind == "classify" else str(value)


def _labels(value: Any, name: str, separator: str) -> list[str]:
    """Labels in their order, each once; an empty list says that none is right."""
    given = value.split(separator) if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in given):
        raise InputError(f"{value!r} is no list of labels of {name}", fix=f"a{separator}b, or a list of texts")
    return sorted({str(one).strip() for one in given if str(one).strip()})


def _number(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool | list | dict) or value is None else float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{value!r} is no number, and {name} asks for one", fix="give the right number")
    return number
