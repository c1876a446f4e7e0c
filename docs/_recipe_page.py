"""Build hook: writes the tables of recipe.md from the settings classes themselves, so that they cannot go stale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MARK = "<!-- words -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for every page; only recipe.md has the mark."""
    return markdown.replace(MARK, tables()) if MARK in markdown else markdown


def tables() -> str:
    """Markdown: a heading, the class's own sentence and a table for every place in a recipe."""
    from triptych.run.recipe import schema

    whole = schema()
    return "\n".join(line for place, part in places("", whole, whole["$defs"]) for line in section(place, part, whole["$defs"]))


def places(path: str, part: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping a recipe may hold, by its path, parents first."""
    yield path or "The recipe", part
    for name, field in part["properties"].items():
        for below, found in inside(field):
            child = defs[found["$ref"].rsplit("/", 1)[-1]]
            room = f"{path}.{name}{below}".strip(".")
            yield from places(f"{room}{which(child)}", child, defs)


def inside(field: dict[str, Any], below: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The settings classes a field may hold, with what stands between: `.NAME` in a mapping, `.N` in a list."""
    if "$ref" in field:
        yield below, field
    for choice in [*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())]:
        yield from inside(choice, below)
    if isinstance(field.get("items"), dict):
        yield from inside(field["items"], f"{below}.N")
    for named in of_names(field):
        yield from inside(named, f"{below}.NAME")


def of_names(field: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands under the names of a mapping whose names the user chooses."""
    found = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]
    return [named for named in found if isinstance(named, dict)]


def which(part: dict[str, Any]) -> str:
    """` (kind: vit)`: the word that chooses this class among its siblings."""
    tag = next((name for name in ("kind", "modality", "by") if "const" in part["properties"].get(name, {})), None)
    return f" ({tag}: {part['properties'][tag]['const']})" if tag else ""


def section(place: str, part: dict[str, Any], defs: dict[str, Any]) -> Iterator[str]:
    """One class as Markdown."""
    yield from (f"{'##' if '.' not in place else '###'} {place}", "", part.get("description", "").split("\n\n")[0], "")
    yield from ("| word | value | default | what it does |", "|---|---|---|---|")
    required = part.get("required", [])
    for name, field in part["properties"].items():
        if "const" in field:  # the word that chose this table: the heading says it
            continue
        needed = name in required and "by default" not in field.get("description", "")
        default = "needed" if needed else standard(field.get("default", ...))
        yield f"| `{name}` | {cell(said(field, defs))} | {default} | {cell(field.get('description', ''))} |"
    yield ""


def said(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """The values a field takes, in words."""
    if "$ref" in field:
        part = defs[field["$ref"].rsplit("/", 1)[-1]]
        tag = which(part).strip(" ()").partition(": ")[2]
        return f"`{tag}`" if tag else "a mapping, below"
    if "const" in field or "enum" in field:
        return " or ".join(f"`{choice}`" for choice in field.get("enum", [field.get("const")]))
    choices = [*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())]
    if choices:  # a bare word and the mapping it stands for are said once
        words = dict.fromkeys(word for choice in choices for word in said(choice, defs).split(" or "))
        return " or ".join(words)
    return plain(field, defs)


def plain(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """A number with its bounds, a list, a mapping, a word."""
    kind = field.get("type", "any value")
    if kind == "array":
        return f"list of {said(field['items'], defs)}" if field.get("items") else "list"
    if kind == "object":
        inner = of_names(field)
        return f"your names, each with {said(inner[0], defs)}" if inner else "a mapping"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`", "null": "`null`"}
    signs = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
    bounds = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return ", ".join([words.get(kind, kind), *bounds])


def standard(value: Any) -> str:
    """A default as it would be written; of a mapping its kind is enough, its own table has the rest."""
    if value is ...:
        return "see right"
    if isinstance(value, dict):
        return f"`{value['kind']}`" if "kind" in value else "its defaults" if value else "none"
    return "empty" if value in ("", []) else cell(f"`{json.dumps(value, ensure_ascii=False)}`")


def cell(text: str) -> str:
    """Text that does not break a table."""
    return " ".join(text.split()).replace("|", "\\|")
