"""Options named after a run's inputs: `--image a.png`, `--text "a seven"`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, unknown_word
from triptych.run.recipe import Recipe


def separated(words: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words, and `--name value` or `--name=value` pairs; after a bare `--` all words are plain.

    Raises:
        InputError: an option has no value.
    """
    plain: list[str] = []
    named: dict[str, str] = {}
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
            if name in named:
                raise InputError(f"--{name} is given twice", fix="one row takes one value an input; give several files without --" + name)
            named[name] = value
        else:
            plain.append(word)
    return plain, named


def named_values(named: dict[str, str], recipe: Recipe) -> dict[str, Any]:
    """The pairs as one row, after a check that the run has such inputs."""
    from triptych.run.writing import asked_words

    words = asked_words(recipe)
    for name in named:
        if name not in recipe.inputs and name not in words:
            raise unknown_word("option", f"--{name}", [f"--{known}" for known in [*recipe.inputs, *words]] + ["--json"])
    return {name: value if name in words else _file_or_value(value, recipe.inputs[name].modality) for name, value in named.items()}


def _file_or_value(value: str, modality: str) -> str | Path:
    """`--text letter.txt` means the file where there is one; `--text "a seven"` is the text."""
    from triptych.modalities import rooms

    path = Path(value)
    return path if path.suffix.lower() in rooms()[modality].suffixes and path.is_file() else value
