"""Settings: typed words a recipe may say, and how a wrong one is answered.

Nothing here imports torch, so a recipe is checked in a fraction of a second.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.json_schema import GenerateJsonSchema

from triptych.base.errors import InputError
from triptych.base.explain import explained
from triptych.base.hub import is_folder
from triptych.base.plain import flat, override, read_yaml, write_yaml
from triptych.base.small import is_small

__all__ = ["SchemaWriter", "Settings", "base_or_word", "flat", "override", "parse", "read_yaml", "spelled_out", "word", "write_yaml"]


S = TypeVar("S", bound=BaseModel)


class Settings(BaseModel):
    """Base of all settings: unknown fields are refused, values never change after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def word(value: Any) -> Any:
    """Let `encoder: vit` stand for `encoder: {kind: vit}`; used as a validator that runs before pydantic's own."""
    return {"kind": value} if isinstance(value, str) else value


def base_or_word(value: Any) -> Any:
    """The same for an encoder; a word with a slash, `small:KIND`, or a folder's stands for `{kind: pretrained, name: WORD}`."""
    made = word(value)
    kind = made.get("kind") if isinstance(made, dict) else None
    if isinstance(kind, str) and ("/" in kind or is_small(kind) or is_folder(kind)):
        # more may have been said of it: --set inputs.text.encoder.pool=mean
        return {"name": kind, **made, "kind": "pretrained"}
    return made


def spelled_out(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain JSON values with every default visible."""
    return settings.model_dump(mode="json")


def parse(model: type[S], tree: Any, source: str) -> S:
    """Read settings of type `model` from plain values.

    Raises:
        InputError: the first thing that is wrong: where it stands, the known words and the nearest one.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise explained(error, model, tree, source) from None
    except InputError as problem:  # raised by a validator that knows the words but not the file
        where = f"{source}: {problem.where}" if problem.where else source
        raise type(problem)(problem.what, where=where, known=problem.known, fix=problem.fix) from None


class SchemaWriter(GenerateJsonSchema):
    """What an editor should accept: a bare word for its kind, and an input whose name says its modality."""

    def tagged_union_schema(self, schema: Any) -> dict[str, Any]:
        """Any of the members, for an input `image: {}` fits all of them; without OpenAPI's `discriminator`, which editors ignore."""
        made = super().tagged_union_schema(schema)
        return {"anyOf": made["oneOf"]} if "oneOf" in made else made

    def function_before_schema(self, schema: Any) -> dict[str, Any]:
        """A field that takes a short word lists the words."""
        made = super().function_before_schema(schema)
        function = schema["function"]["function"]
        if words := getattr(function, "words", None):
            return _listed(made, words)
        if function not in (word, base_or_word):
            return made
        kinds: dict[str, Any] = {"enum": sorted(set(schema["schema"]["choices"]) - {"pretrained"}), "type": "string"}
        names = [{"pattern": "/|^small:", "type": "string"}] if function is base_or_word else []
        return {"anyOf": [kinds, *names, *made.get("anyOf", [made])]}


def _listed(made: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """A list of settings, of bare words that stand for them, and of mappings from a word to the rest of its settings."""
    short = [{"enum": words, "type": "string"}, {"type": "object", "propertyNames": {"enum": words}, "minProperties": 1}]
    return {**made, "items": {"anyOf": [*short, made["items"]]}}
