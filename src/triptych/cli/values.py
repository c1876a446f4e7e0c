"""Options named after a run's inputs: `--image a.png --image b.png`, `--text "a seven"`, `--messages '[...]'`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError, unknown_word
from triptych.run.recipe import Recipe

JSON = ".json"
ADDRESS = "://"


def separated(words: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Plain words, and `--name value` or `--name=value` pairs with all values of a name; after a bare `--` all words are plain.

    Raises:
        InputError: an option has no value.
    """
    plain: list[str] = []
    named: dict[str, list[str]] = {}
    queue = iter(words)
    for word in queue:
        if word == "--":
            plain.extend(queue)
        elif word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals:
                value = next(queue, "")
                if not value:
                    raise InputError(f"the option --{name} needs a value")
            named.setdefault(name, []).append(value)
        else:
            plain.append(word)
    return plain, named


def named_values(named: Mapping[str, Sequence[str]], recipe: Recipe) -> dict[str, Any]:
    """The pairs as one row: one value a name, several where an input's values are files, a conversation with the files it names.

    Raises:
        InputError: the run has no such input; a name has more values than it can have; a conversation is no JSON.
    """
    from triptych.run.writing import asked_words, tasks_of

    words = asked_words(recipe)
    talks = {side.messages for task in tasks_of(recipe).values() for side in task.sides()}
    row: dict[str, Any] = {}
    for name, values in ((_meant(word, recipe, words), values) for word, values in named.items()):
        if name in row:
            raise InputError(f"{name} is given by two names", fix=f"give it as --{name} alone")
        if name in recipe.inputs and _takes_files(recipe.inputs[name].modality):
            found = [file_or_value(value, recipe.inputs[name].modality) for value in values]
            row[name] = found if len(found) > 1 else found[0]
            continue
        if len(values) > 1:
            raise InputError(f"--{name} is given twice", fix="one row takes one text of a name; ask twice, or join them")
        if name in talks:
            row = {**_conversation(name, values[0], recipe), **row}
        else:
            row[name] = values[0] if name in words else file_or_value(values[0], recipe.inputs[name].modality)
    return row


def _meant(word: str, recipe: Recipe, words: Sequence[str]) -> str:
    """The input or typed column of an option: by its name, or by that of its modality where there is only one.

    Raises:
        InputError: there is none, or several.
    """
    if word in recipe.inputs or word in words:
        return word
    alike = [name for name, settings in recipe.inputs.items() if settings.modality == word]
    typed = [] if alike or word != getattr(recipe.decoder, "modality", None) else words
    if len(alike) + len(typed) == 1:
        return (alike or list(typed))[0]
    known = [f"--{name}" for name in [*recipe.inputs, *words]]
    if len(alike) + len(typed) > 1:
        raise InputError(f"--{word} could be any of several", known=[f"--{name}" for name in alike or typed])
    raise unknown_word("option", f"--{word}", [*known, "--json"])


def _takes_files(modality: str) -> bool:
    from triptych.modalities import rooms

    return rooms()[modality].by_reference


def file_or_value(value: str, modality: str) -> str | Path:
    """`--text letter.txt` means the file where there is one; `--text "a seven"` is the text."""
    from triptych.modalities import rooms

    path = Path(value)
    return path if path.suffix.lower() in rooms()[modality].suffixes and path.is_file() else value


def _conversation(name: str, value: str, recipe: Recipe) -> dict[str, Any]:
    """A conversation as JSON or a file of it, and the files that it names, as a row of JSON lines would be read."""
    from triptych.data.sources.flat import holders, taken_apart
    from triptych.modalities import rooms

    path = Path(value)
    file = path.suffix.lower() == JSON
    where, root = (str(path), path.parent) if file else (f"--{name}", Path())
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig") if file else value)
        fields = taken_apart(told if isinstance(told, dict) else {name: told}, holders(rooms()))
    except FileNotFoundError as error:
        raise InputError("the file does not exist", where=where) from error
    except (ValueError, RecursionError) as error:
        fix = """--messages '[{"role": "user", "content": "..."}]', or a .json file that holds such a list"""
        raise InputError(f"this is no conversation: {error}", where=where, fix=fix) from error
    columns = {column: input_ for input_, column in recipe.columns().items()}
    row = {columns[field]: _placed(held, root) for field, held in fields.items() if field in columns and held is not None}
    if strange := [field for field in rooms() if field in fields and field not in columns]:
        raise BadValue(f"the conversation holds {strange[0]}, and no input of the run reads that", where=where, known=columns)
    return {**row, name: {key: held for key, held in fields.items() if key not in columns} if isinstance(told, dict) else fields[name]}


def _placed(held: Any, root: Path) -> Any:
    """Paths in a file are relative to it."""
    from triptych.contract.cells import Several

    if isinstance(held, Several):
        return Several(tuple(_placed(item, root) for item in held.items))
    if isinstance(held, list):
        return [_placed(item, root) for item in held]
    return root / held if isinstance(held, str) and ADDRESS not in held else held
