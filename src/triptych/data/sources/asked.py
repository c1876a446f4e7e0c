"""Sources and columns as they are said on a command line: `a.csv`, `calls=calls/*.jsonl`, `caption=It is {label}`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from triptych.base.errors import InputError
from triptych.base.settings import parse, read_yaml
from triptych.contract.modality import Modality
from triptych.data.samples import SAMPLE, make_sample, rooms_with
from triptych.data.settings import ColumnSettings, RowSettings

NAMED = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)=(?P<source>.+)", re.DOTALL)
EXAMPLES = {
    "--each": "{column: boxes, into: {phrase: 4, box: [0, 1, 2, 3]}}",
    "--windows": "{column: NAME, seconds: 10}",
    "--join": "{source: people.csv, on: speaker}",
}
FIX = "give each a name: calls=calls.csv letters=letters.jsonl"


def asked(
    sources: Sequence[str],
    columns: Sequence[str],
    rooms: Mapping[str, Modality],
    windows: Any = None,
    joins: Sequence[Any] = (),
    empty: Sequence[str] = (),
    each: Any = None,
) -> RowSettings:
    """The words of a recipe's `data:` for one source as it stands, or for several called `name=source`.

    `windows`, `joins` and `each` are those of a recipe, as text or as plain values.

    Raises:
        InputError: several sources without names, or words that a recipe would not take either.
    """
    tree = {**_with_columns(_sources(sources), columns_of(columns)), "empty": list(empty)}
    tree["each"] = _mapping("--each", each) if isinstance(each, str) and "{" in each else each
    tree |= {"windows": _mapping("--windows", windows), "join": [_mapping("--join", join) for join in joins]}
    settings = parse(RowSettings, tree, "the command line")
    return settings.with_sources(lambda source: _here(source, rooms))


def as_words(tree: Mapping[str, Any], rooms: Mapping[str, Modality]) -> RowSettings:
    """The same from a Python program, as a recipe has them.

    Raises:
        InputError: a word that says nothing of rows, or one that a recipe would not take either.
    """
    return parse(RowSettings, dict(tree), "the words for the table").with_sources(lambda source: _here(source, rooms))


def columns_of(words: Sequence[str]) -> dict[str, Any]:
    """Columns as they are said on a command line, as a recipe has them."""
    return dict(_column(said) for said in words)


def key_of(words: Sequence[str]) -> str | dict[str, str] | None:
    """`--on speaker`, `--on ours=theirs`, or several of them: the word `on` of a join."""
    pairs = [word.partition("=") for word in words]
    if len(pairs) == 1 and not pairs[0][1]:
        return pairs[0][0]
    return {ours.strip(): (theirs if found else ours).strip() for ours, found, theirs in pairs} or None


def _mapping(option: str, said: Any) -> Any:
    """`{column: recording, seconds: 10}` as YAML."""
    if not isinstance(said, str):
        return said
    example = EXAMPLES[option]
    try:
        tree = read_yaml(said)
    except yaml.YAMLError as error:
        raise InputError(
            f"cannot read {option} {said!r}: {getattr(error, 'problem', None) or error}", fix=f"{option} '{example}'"
        ) from None
    if not isinstance(tree, dict):
        raise InputError(f"{option} must be a mapping, not {said!r}", fix=f"{option} '{example}'")
    return tree


def _sources(words: Sequence[str]) -> Any:
    found = [None if Path(word).exists() else NAMED.fullmatch(word) for word in words]
    if len(words) == 1 and not found[0]:
        return words[0]
    for word, match in zip(words, found, strict=True):
        if match is None:
            raise InputError(f"{word!r} is one of several sources and has no name", fix=FIX)
    return [match.groupdict() for match in found if match]


def _with_columns(source: Any, columns: dict[str, Any]) -> dict[str, Any]:
    """`calls/text=said` is a column of the source called calls alone."""
    if isinstance(source, str):
        return {"source": source, "columns": columns}
    for part in source:
        mine = [new for new in columns if new.startswith(f"{part['name']}/")]
        part["columns"] = {new.partition("/")[2]: columns.pop(new) for new in mine}
    return {"source": source, "columns": columns}


def _column(words: str) -> tuple[str, Any]:
    """`new=old`, `new=It is {old}`, or `new={type: number}` as a recipe writes it."""
    new, found, said = words.partition("=")
    if not found or not new.strip() or not said.strip():
        raise InputError(f"cannot read the column {words!r}", fix='write new=old, "caption=It is {label}" or "price={type: number}"')
    return new.strip(), _settings(said.strip())


def _settings(said: str) -> Any:
    try:
        tree = read_yaml(said)
    except Exception:  # a text with braces is often no YAML
        return said
    is_settings = isinstance(tree, dict) and tree.keys() <= ColumnSettings.model_fields.keys() and None not in tree.values()
    return tree if is_settings else said


def _here(source: str, rooms: Mapping[str, Modality]) -> str:
    """A sample is made; a shell does not write `~/` out behind a name."""
    if source.startswith(SAMPLE):
        name = source.removeprefix(SAMPLE)
        return str(make_sample(name, rooms_with(name, rooms)))
    return str(Path.home() / source[2:]) if source.startswith("~/") else source
