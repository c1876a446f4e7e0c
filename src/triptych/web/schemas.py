"""What each run takes, as types that check a request and as the JSON schema that /docs shows: made from the run's own inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from triptych.modalities import rooms
from triptych.run.recipe import Recipe
from triptych.use.opened import Run
from triptych.web.limits import Limits
from triptych.web.problems import Refused

REF = "#/components/schemas/{model}"
MEDIA = {"image": "a picture", "audio": "a recording", "video": "a film"}
TINY = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEUlEQVR4nGP4TwAwjAwF/wF6V3+BjBCl3wAAAABJRU5ErkJggg=="
"""A picture of eight by eight, as an example."""
STRICT = ConfigDict(extra="forbid")


class Closed(BaseModel):
    """A body with no other words than its own."""

    model_config = STRICT


@dataclass(frozen=True)
class Shapes:
    """The bodies that one run takes."""

    predict: type[BaseModel]
    embed: type[BaseModel]


class Query(Closed):
    """One part of what is looked for."""

    input: str = Field(description="an input of the run that made the index")
    value: str = Field(description="its value: a text, or the content of a file in base64 or as a data URL")
    weight: float = Field(1.0, description="how much it counts; below 0 it leads away", allow_inf_nan=False)


class Search(Closed):
    """What is looked for in the index."""

    query: list[Query] = Field(min_length=1, max_length=16, description="parts that are added with their weights")
    limit: int = Field(10, ge=1, le=10_000, description="how many rows are wanted")
    where: str | None = Field(None, max_length=2000, description="a condition on the columns: price < 50 AND colour = 'red'")
    media: bool = Field(False, description="send pictures and recordings of the rows too, as data URLs")


class Said(Closed):
    """What somebody says of an answer. One of correction, rating, chosen with rejected, or score."""

    answer_id: str = Field(max_length=200, description="the id that came with the answer")
    task: str | None = Field(None, max_length=200, description="the task whose answer is meant")
    correction: str | float | list[str] | None = Field(None, description="the right answer")
    rating: int | None = Field(None, ge=1, le=5, description="1 to 5; thumbs are 5 and 1")
    chosen: str | None = Field(None, max_length=20_000, description="the better of two answers")
    rejected: str | None = Field(None, max_length=20_000, description="the worse of two answers")
    score: float | None = Field(None, ge=1, le=5, description="how good a voice is, 1 to 5", allow_inf_nan=False)
    rater: str = Field("", max_length=200, description="who says so: a pseudonym, or nothing")
    note: str = Field("", max_length=20_000, description="in words")


def shapes(name: str, run: Run, limits: Limits) -> Shapes:
    """The bodies that a run takes."""
    title = "".join(part.capitalize() for part in "".join(c if c.isalnum() and c.isascii() else " " for c in name).split()) or "Run"
    row: Any = _row(title, run.recipe, run.words, limits)
    tasks: Any = list[Literal[tuple(run.answered)]] | None if run.answered else None  # type: ignore[misc]
    which = (Literal[name] | None, Field(None, description="the run; by default the server's first"))
    one: Any = (row | None, Field(None, description="one row: a value for each input that there is"))
    many: Any = (list[row] | None, Field(None, min_length=1, max_length=limits.rows, description="several rows, in the place of inputs"))
    spaces: Any = (
        list[Annotated[str, Field(max_length=200)]] | None,
        Field(None, max_length=64, description="which vectors; by default all"),
    )
    asked: Any = (tasks, Field(None, description="which tasks are answered; by default all"))
    base: Any = {"run": which, "inputs": one, "rows": many}
    predict = create_model(f"Predict{title}", __config__=STRICT, __doc__=f"What {name} is asked.", **base, tasks=asked)
    embed = create_model(f"Embed{title}", __config__=STRICT, __doc__=f"Of what {name} gives vectors.", **base, spaces=spaces)
    return Shapes(predict, embed)


def _row(title: str, recipe: Recipe, words: list[str], limits: Limits) -> type[BaseModel]:
    """One row: fields called as the run's inputs are, and the columns that its questions are made of."""
    fields: dict[str, Any] = {}
    for number, (name, settings) in enumerate(recipe.inputs.items()):
        room = rooms()[settings.modality]
        if room.by_reference:
            kinds = ", ".join(sorted(room.suffixes)[:8])
            what = f"{MEDIA.get(settings.modality, 'a file')} ({kinds} ...): its content in base64 or as a data URL; a list of several"
            several = Annotated[list[str], Field(max_length=limits.files)]
            example = [TINY] if settings.modality == "image" else None
            fields[f"input_{number}"] = (str | several | None, Field(None, alias=name, description=what, examples=example))
        else:
            longest = Annotated[str, Field(max_length=limits.characters)]
            fields[f"input_{number}"] = (
                longest | list[Any] | None,
                Field(None, alias=name, description=f"a {settings.modality}, as it is"),
            )
    for number, name in enumerate(words):
        what = "words of the question; or messages, each with role and content, where the run is told whole conversations"
        fields[f"word_{number}"] = (str | list[dict[str, str]] | None, Field(None, alias=name, description=what))
    return create_model(f"Row{title}", __config__=STRICT, __doc__="A value for each input that there is; the others are absent.", **fields)


def checked(model: type[BaseModel], tree: Any) -> dict[str, Any]:
    """A body, checked: its words and their values.

    Raises:
        Refused: the first thing that is wrong with it.
    """
    try:
        return model.model_validate(tree).model_dump(by_alias=True)
    except ValidationError as problem:
        first = min(problem.errors(include_url=False, include_input=False), key=lambda one: -len(one["loc"]))
        where = ".".join(str(one) for one in first["loc"] if not str(one).startswith(("list[", "constrained-", "function-", "Row")))
        known = [field.alias or name for name, field in model.model_fields.items()] if first["type"] == "extra_forbidden" else []
        raise Refused(f"{where[:200] or 'the body'}: {first['msg']}", param=where[:200] or None, known=known) from None


def components(models: Mapping[str, type[BaseModel]] | list[type[BaseModel]]) -> dict[str, Any]:
    """Schemas of some types by their names, those that stand in them included."""
    found: dict[str, Any] = {}
    for model in models.values() if isinstance(models, Mapping) else models:
        schema = model.model_json_schema(by_alias=True, ref_template=REF)
        found.update(schema.pop("$defs", {}))
        found[model.__name__] = schema
    return found


def body(models: list[type[BaseModel]], *, form: dict[str, Any] | None = None) -> dict[str, Any]:
    """What FastAPI is told of a route's body: one of some types as JSON, and perhaps a form."""
    refs = [{"$ref": REF.format(model=model.__name__)} for model in models]
    content: dict[str, Any] = {"application/json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}}
    if form is not None:
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def form_of(run: Run) -> dict[str, Any]:
    """The form of one row: a file or a text an input."""
    properties: dict[str, Any] = {"run": {"type": "string"}, "tasks": {"type": "string", "description": "names with commas between them"}}
    for name, settings in run.recipe.inputs.items():
        by_reference = rooms()[settings.modality].by_reference
        properties[name] = {"type": "string", **({"format": "binary"} if by_reference else {})}
    return {"type": "object", "properties": properties | {name: {"type": "string"} for name in run.words}}
