"""The words of a task, `"{image} {question}"`, filled with what a row has: the turns of a conversation."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from string import Formatter
from typing import Any

from triptych.base.errors import BadValue, InputError, unknown_word
from triptych.modalities.text.messages import Slot, Turn
from triptych.modalities.text.read import read

NAMED = "{image}, {question}: an input or a column in braces"


class Template:
    """The words of one task. A name in braces is an input, whose value stands there, or a column, whose words do."""

    def __init__(self, words: str, system: str | None, inputs: Collection[str], columns: Collection[str], where: str = "template") -> None:
        """`inputs` and `columns` are the names there are; one that is both is the input.

        Raises:
            InputError: a name is neither; braces do not match; there is nothing in it.
        """
        self._question = _pieces(words, inputs, columns, where)
        self._system = _pieces(system or "", inputs, columns, "system")
        if any(kind == "input" for kind, _ in self._system):
            raise InputError("system words are words; an input stands in the template", where="system", fix="move it to the template")
        if not self._question:
            raise InputError("there is nothing in it", where=where, known=[*inputs, *columns], fix=NAMED)

    @property
    def slots(self) -> list[str]:
        """The inputs it names, in their order."""
        return list(dict.fromkeys(name for kind, name in self._question if kind == "input"))

    @property
    def columns(self) -> list[str]:
        """The columns it names, in their order."""
        return list(dict.fromkeys(name for kind, name in [*self._system, *self._question] if kind == "column"))

    def turns(self, cells: Mapping[str, Any], has: Mapping[str, int], answer: str | None = None, where: str = "") -> list[Turn]:
        """The conversation of one row: system words, question, and the answer where there is one.

        Args:
            cells: what the row has, by column; one that is not there or empty leaves its word out.
            has: {input: how many of it the row has}; each has a slot of its own, one that is not there has none.
            answer: what is to be learnt.
            where: the row, for messages about what is wrong.

        Raises:
            BadValue: nothing at all is left of the question, or a cell cannot be written.
        """
        question = _filled(self._question, cells, has, where)
        if not question:
            raise BadValue("nothing is left of the question: the row has nothing that the template names", where=where)
        system = _filled(self._system, cells, has, where)
        turns = [Turn("system", system)] if system else []
        turns.append(Turn("user", question))
        return [*turns, Turn("assistant", (answer,), learnt=True)] if answer is not None else turns


def _pieces(words: str, inputs: Collection[str], columns: Collection[str], where: str) -> list[tuple[str, str]]:
    """(text, input or column; the words or the name) of each piece in order."""
    pieces: list[tuple[str, str]] = []
    try:
        found = list(Formatter().parse(words))
    except ValueError as error:
        what = f"the braces of {words!r} do not match: {error}"
        raise InputError(what, where=where, fix="double a brace that is meant as itself: {{ or }}") from error
    for text, name, form, conversion in found:
        if text:
            pieces.append(("text", text))
        if name is None:
            continue
        if form or conversion or not name.strip():
            raise InputError(f"{words!r} has braces that hold more or less than a name", where=where, known=[*inputs, *columns], fix=NAMED)
        if name not in inputs and name not in columns:
            raise unknown_word("name", name, dict.fromkeys([*inputs, *columns]), where)
        pieces.append(("input" if name in inputs else "column", name))
    return pieces


def _filled(pieces: Sequence[tuple[str, str]], cells: Mapping[str, Any], has: Mapping[str, int], where: str) -> tuple[str | Slot, ...]:
    """Words and slots, without what the row lacks and the space beside it; no white space at either end."""
    parts: list[str | Slot] = []
    used: dict[str, int] = {}
    for kind, name in pieces:
        made = _one(kind, name, cells, has, used, where)
        if not made:  # the space before it belongs to it
            parts = [*parts[:-1], parts[-1].rstrip(" ")] if parts and isinstance(parts[-1], str) else parts
        for part in made:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
    return _stripped(parts)


def _one(kind: str, name: str, cells: Mapping[str, Any], has: Mapping[str, int], used: dict[str, int], where: str) -> list[str | Slot]:
    if kind == "text":
        return [name]
    if kind == "input":
        if name in used:  # named again: the same once more
            return [Slot(name, item) for item in range(used[name])]
        used[name] = has.get(name, 0)
        return [Slot(name, item) for item in range(used[name])]
    cell = cells.get(name)
    if cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, list) and not cell):
        return []
    try:
        return [read(", ".join(map(str, cell)) if isinstance(cell, list) else cell)]
    except BadValue as problem:
        raise BadValue(f"{name}: {problem.what}", where=where) from problem


def _stripped(parts: Sequence[str | Slot]) -> tuple[str | Slot, ...]:
    """Without white space at the ends, nor texts that are empty."""
    held = list(parts)
    while held and isinstance(held[0], str) and not held[0].strip():
        held.pop(0)
    while held and isinstance(held[-1], str) and not held[-1].strip():
        held.pop()
    if held and isinstance(held[0], str):
        held[0] = re.sub(r"^\s+", "", held[0])
    if held and isinstance(held[-1], str):
        held[-1] = re.sub(r"\s+$", "", held[-1])
    return tuple(part for part in held if part)
