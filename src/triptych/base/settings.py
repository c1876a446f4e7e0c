"""Settings: typed words a recipe may say, and how a wrong one is answered.

Nothing here imports torch, so a recipe is checked in a fraction of a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from triptych.base.errors import InputError, unknown_word

__all__ = ["Settings", "override", "parse", "spelled_out", "word"]


S = TypeVar("S", bound=BaseModel)


class Settings(BaseModel):
    """Base of all settings: unknown fields are refused, values never change after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def word(value: Any) -> Any:
    """Let `encoder: vit` stand for `encoder: {kind: vit}`; used as a validator that runs before pydantic's own."""
    return {"kind": value} if isinstance(value, str) else value


def spelled_out(settings: BaseModel) -> dict[str, Any]:
    """Settings as plain JSON values with every default visible."""
    return settings.model_dump(mode="json")


def override(tree: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b.0.c=value` words to a recipe's tree and return the changed copy; values are read as YAML.

    Raises:
        InputError: no '=', an empty name, a list index that does not exist, or a value that is not YAML.
    """
    changed: Any = _copied(tree)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not all(path.split(".")):
            raise InputError(f"cannot read the setting {assignment!r}", fix="--set a.b.0.c=value, for example --set stages.0.lr=3e-4")
        _put(changed, path.split("."), _value(text, assignment), assignment)
    return changed


def _value(text: str, assignment: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(
            f"the value in {assignment!r} is not YAML: {str(error).splitlines()[0]}", fix="quote it: --set 'name=\"a: b\"'"
        ) from error
    # YAML 1.1 reads 3e-4 as a word, for want of a dot; everybody who types it means a number.
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value) else value


def _copied(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, list) else tree


def _put(tree: Any, keys: list[str], value: Any, assignment: str) -> None:
    for depth, key in enumerate(keys):
        here, last = ".".join(keys[:depth]) or "the recipe", depth == len(keys) - 1
        if isinstance(tree, list):
            if not key.isdigit() or int(key) >= len(tree):
                raise InputError(f"{here} has no item {key!r}", where=f"--set {assignment}", known=range(len(tree)))
            index: Any = int(key)
        else:
            index = key
        if last:
            tree[index] = value
            return
        if isinstance(tree, dict) and not isinstance(tree.get(index), dict | list):
            # A short word is opened up: fusion: gated, then --set fusion.width=64, keeps the word as its kind.
            tree[index] = {"kind": tree[index]} if isinstance(tree.get(index), str) else {}
        tree = tree[index]
        if not isinstance(tree, dict | list):
            raise InputError(
                f"{'.'.join(keys[: depth + 1])} holds one value, it has no field {keys[depth + 1]!r}", where=f"--set {assignment}"
            )


def parse(model: type[S], tree: Any, source: str) -> S:
    """Read settings of type `model` from plain values.

    Raises:
        InputError: the first thing that is wrong: where it stands, the known words and the nearest one.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise _explained(error, model, tree, source) from None
    except InputError as problem:  # raised by a validator that knows the words but not the file
        where = f"{source}: {problem.where}" if problem.where else source
        raise type(problem)(problem.what, where=where, known=problem.known, fix=problem.fix) from None


def _explained(error: ValidationError, model: type[BaseModel], tree: Any, source: str) -> InputError:
    problems = error.errors(include_url=False)
    first = next((p for p in problems if p["type"] in _WORDS), problems[0])
    spot = ".".join(str(step) for step in _plain(first["loc"], tree))
    answer = _WORDS.get(first["type"], _other)(first, spot, model)
    answer.where = f"{source}: {spot}" if spot else source
    more = len(problems) - 1
    fix = answer.fix + (f" ({more} more after this one)" if more else "")
    return InputError(answer.what, where=answer.where, known=answer.known, fix=fix.strip())


def _plain(loc: tuple[int | str, ...], tree: Any) -> list[int | str]:
    """The steps a user wrote: pydantic puts the chosen member of a union between them."""
    steps: list[int | str] = []
    for place, step in enumerate(loc):
        inside = step in tree if isinstance(tree, Mapping) else isinstance(tree, list) and isinstance(step, int) and step < len(tree)
        if inside:
            tree = tree[step]
        if inside or (place == len(loc) - 1 and isinstance(tree, Mapping | list)):
            steps.append(step)
    return steps


def _extra(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    known = _fields_at(model, problem["loc"][:-1])
    return unknown_word("field", str(problem["loc"][-1]), known)


def _tag(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    known = re.findall(r"'([^']+)'", problem["ctx"]["expected_tags"])
    return unknown_word(spot.rsplit(".", 1)[-1] or "kind", str(problem["ctx"]["tag"]), known)


def _untagged(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    field = problem["ctx"]["discriminator"].strip("'")
    candidates = _models([_annotation_at(model, problem["loc"])])
    known = sorted({tag for kind in candidates for tag in _tags(kind)})
    name, first = spot.rsplit(".", 1)[-1], known[0] if known else "..."
    return InputError(f"{spot} does not say its {field}", known=known, fix=f"{name}: {{{field}: {first}, ...}}")


def _literal(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    known = [choice.strip("'") for choice in re.split(r", | or ", problem["ctx"]["expected"])]
    return unknown_word(spot.rsplit(".", 1)[-1], str(problem["input"]), known)


def _missing(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    return InputError(f"the field {str(problem['loc'][-1])!r} is missing", fix=f"add {problem['loc'][-1]}: ... there")


def _other(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], Mapping | list) else f", not {problem['input']!r}"
    return InputError(message[0].lower() + message[1:] + given)


_WORDS: dict[str, Callable[[Any, str, type[BaseModel]], InputError]] = {
    "extra_forbidden": _extra,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _untagged,
    "literal_error": _literal,
    "missing": _missing,
}


def _annotation_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> Any:
    """The annotation of the last named field on the way `loc`."""
    for place in range(len(loc) - 1, -1, -1):
        for kind in _models(_kinds_at(model, loc[:place])):
            if loc[place] in kind.model_fields:
                return kind.model_fields[str(loc[place])].annotation
    return model


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the settings classes that `loc` leads to."""
    return sorted({name for kind in _models(_kinds_at(model, loc)) for name in kind.model_fields})


def _kinds_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[Any]:
    """Annotations that `loc` leads to, walking through dicts, lists and unions."""
    candidates: list[Any] = [model]
    for step in loc:
        following: list[Any] = []
        for kind in _models(candidates):
            if step in kind.model_fields:
                following.append(kind.model_fields[str(step)].annotation)
        tagged = [kind for kind in _models(candidates) if step in _tags(kind)]
        candidates = tagged or following or candidates
    return candidates


def _models(annotations: Iterable[Any]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            found.extend(_models(a for a in get_args(annotation) if not isinstance(a, str)))
    return found


def _tags(model: type[BaseModel]) -> set[str]:
    return {
        str(arg) for name in ("kind", "modality") if name in model.model_fields for arg in get_args(model.model_fields[name].annotation)
    }
