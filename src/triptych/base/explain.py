"""What pydantic found wrong, said to the one who wrote it: where it stands, the known words and the nearest one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from triptych.base.errors import InputError, nearest, unknown_word


def explained(error: ValidationError, model: type[BaseModel], tree: Any, source: str) -> InputError:
    """The error that says most: an unknown or missing word before a bad value, and of two at one spot the deeper one."""
    problems = error.errors(include_url=False)
    spots = [_written(p["loc"], p["type"], tree) for p in problems]
    order = sorted(range(len(problems)), key=lambda n: (problems[n]["type"] not in _NAMES, -len(spots[n])))
    first = problems[order[0]]
    spot = ".".join(str(step) for step in spots[order[0]])
    answer = _WORDS.get(first["type"], _other)(first, spot, model)
    where = answer.where or spot
    more = len({tuple(s) for s in spots if s != spots[order[0]][: len(s)]})
    fix = answer.fix + (f" ({more} more after this one)" if more else "")
    return InputError(answer.what, where=f"{source}: {where}" if where else source, known=answer.known, fix=fix.strip())


def _written(loc: tuple[int | str, ...], kind: str, tree: Any) -> list[int | str]:
    """The steps a user wrote: pydantic puts the chosen member of a union between them."""
    steps: list[int | str] = []
    for place, step in enumerate(loc):
        inside = step in tree if isinstance(tree, Mapping) else isinstance(tree, list) and isinstance(step, int) and step < len(tree)
        if inside:
            tree = tree[step]
        if inside or (place == len(loc) - 1 and kind == "missing"):
            steps.append(step)
    return steps


def _extra(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    return unknown_word("field", str(problem["loc"][-1]), _fields_at(model, problem["loc"][:-1]))


def _tag(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    """A short word is called by its field (unknown encoder), a written-out one by its own (unknown kind)."""
    known = re.findall(r"'([^']+)'", problem["ctx"]["expected_tags"])
    field = problem["ctx"]["discriminator"].strip("'")
    short = field == "kind" and set(problem["input"]) == {"kind"} and "tasks" not in problem["loc"]
    name = spot.rsplit(".", 1)[-1] if short and not spot[-1:].isdigit() else field
    said = str(problem["ctx"]["tag"])
    if short and "pretrained" in known and not nearest(said, known):
        fix = f"a model of the Hub whose name has no slash: {name}: {{kind: pretrained, name: {said}}}"
        return InputError(f"unknown {name} {said!r}", where=spot, known=known, fix=fix)
    return unknown_word(name, said, known, where=spot if short else f"{spot}.{field}")


def _untagged(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    field = problem["ctx"]["discriminator"].strip("'")
    known = sorted({tag for kind in _models(_kinds_at(model, problem["loc"])) for tag in _tags(kind)})
    name, first = spot.rsplit(".", 1)[-1], known[0] if known else "..."
    return InputError(f"{spot} does not say its {field}", known=known, fix=f"{name}: {{{field}: {first}, ...}}")


def _literal(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    known = [choice.strip("'") for choice in re.split(r", | or ", problem["ctx"]["expected"])]
    return unknown_word(spot.rsplit(".", 1)[-1], str(problem["input"]), known)


def _missing(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    return InputError(f"the field {str(problem['loc'][-1])!r} is missing", fix=f"add {problem['loc'][-1]}: ... there")


def _pattern(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    what = f"the name {problem['input']!r} is not a plain word"
    return InputError(what, fix="use letters a-z, digits, _ and - only, with a letter at its start")


def _mapping_wanted(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    name = spot.rsplit(".", 1)[-1] or "this"
    known = _fields_at(model, problem["loc"])
    return InputError(f"{name} must be a mapping of fields, not {_said(problem['input'])}", known=known)


def _other(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    message = problem["msg"].removeprefix("Value error, ").strip()
    if not message.startswith("Input should "):
        return InputError((message[:1].lower() + message[1:]) or "this value cannot be used")
    name = spot.rsplit(".", 1)[-1]
    name = f"{spot.split('.')[-2]}, item {name}," if name.isdigit() and "." in spot else name or "this"
    return InputError(f"{name} must {message.removeprefix('Input should ')}, not {_said(problem['input'])}")


def _too_short(problem: Any, spot: str, model: type[BaseModel]) -> InputError:
    least = problem["ctx"].get("min_length", 1)
    return InputError(f"{spot.rsplit('.', 1)[-1]} must have at least {least} {'entry' if least == 1 else 'entries'}")


def _said(value: Any) -> str:
    """How a wrong value is called: a mapping or list by its kind, anything else as it is written."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:80]}..."


_NAMES: dict[str, Callable[[Any, str, type[BaseModel]], InputError]] = {
    "extra_forbidden": _extra,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _untagged,
    "literal_error": _literal,
    "missing": _missing,
    "string_pattern_mismatch": _pattern,
    "invalid_key": _extra,  # YAML reads 1, null or true before a colon as no word at all
}
_WORDS = {
    **_NAMES,
    "too_short": _too_short,
    "model_type": _mapping_wanted,
    "model_attributes_type": _mapping_wanted,
    "dict_type": _mapping_wanted,
}


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the settings classes that `loc` leads to."""
    return sorted({name for kind in _models(_kinds_at(model, loc)) for name in kind.model_fields})


def _kinds_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[Any]:
    """Annotations that `loc` leads to, walking through dicts, lists and unions."""
    candidates: list[Any] = [model]
    for step in loc:
        candidates = [inner for kind in candidates for inner in _inside(kind, step)] or candidates
    return candidates


def _inside(annotation: Any, step: int | str) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if step in annotation.model_fields:
            return [annotation.model_fields[str(step)].annotation]
        return [annotation] if step in _tags(annotation) else []
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _inside(inner[0], step)
    if origin in (dict, list):
        return [inner[-1]]
    tagged = [kind for kind in _models([annotation]) if step in _tags(kind)]  # within a union, the first step is the chosen member
    return tagged or [found for member in inner if not isinstance(member, str) for found in _inside(member, step)]


def _models(annotations: Iterable[Any]) -> list[type[BaseModel]]:
    """The settings classes an annotation stands for itself, not those inside its dicts and lists."""
    found: list[type[BaseModel]] = []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        elif get_origin(annotation) not in (dict, list):
            found.extend(_models(a for a in get_args(annotation) if not isinstance(a, str)))
    return found


def _tags(model: type[BaseModel]) -> set[str]:
    return {
        str(arg) for name in ("kind", "modality") if name in model.model_fields for arg in get_args(model.model_fields[name].annotation)
    }
