"""Texts that are to be heard, as classes: the symbols are those of the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.spelling import PAD, Spelling, normalised
from triptych.data.table import Cell, Table

MOST_SYMBOLS = {"characters": 20_000, "words": 5_000}
"""A head has a row of weights for each: of more words than that, most are hardly ever said."""
Read = tuple[Tensor, Tensor, dict[str, Any], list[str]]
"""Values, which rows have one, facts, findings: the fields of a `Target`."""


def learn_transcripts(name: str, task: Any, table: Table, columns: Mapping[str, str]) -> Read:
    """The texts of all rows in the symbols of the training rows that have text and input.

    Raises:
        InputError: no training row has both, or there are more symbols than a head should have.
    """
    cells = table.column(task.target, f"task {name}")
    texts, there = _texts(cells, task), table.has(columns[task.input])
    train = [texts[row] for row in table.at("train") if there[row] and texts[row]]
    if not train:
        what = f"task {name}: no training row has both {task.input!r} and a {task.target!r} with something to say"
        raise InputError(what, where=table.source)
    spelling = Spelling.of(train, task.symbols)
    if len(spelling.symbols) > (most := MOST_SYMBOLS[task.symbols]):
        what = f"task {name}: the training rows have {len(spelling.symbols):,} different {task.symbols}, and {most:,} are the most"
        fix = "spell texts in characters" if task.symbols == "words" else f"check that column {task.target!r} holds what is said"
        raise InputError(what, where=table.source, fix=fix)
    return _read(name, task, table, cells, columns, spelling)


def known_transcripts(name: str, task: Any, table: Table, columns: Mapping[str, str], facts: Mapping[str, Any]) -> Read:
    """The same in the symbols that a trained head knows."""
    cells = table.column(task.target, f"task {name}")
    return _read(name, task, table, cells, columns, Spelling(tuple(facts["symbols"]), task.symbols))


def _texts(cells: Sequence[Cell], task: Any) -> list[str]:
    return ["" if cell is None else normalised(str(cell), task.normalise) for cell in cells]


def _read(name: str, task: Any, table: Table, cells: Sequence[Cell], columns: Mapping[str, str], spelling: Spelling) -> Read:
    texts, there = _texts(cells, task), table.has(columns[task.input])
    has = [here and bool(text) for here, text in zip(there, texts, strict=True)]
    classes = spelling.classes(texts)
    length = max((len(row) for row, used in zip(classes, has, strict=True) if used), default=1)
    kind = torch.int16 if len(spelling.symbols) < 2**15 - 2 else torch.int32  # a byte or two a symbol: all texts lie in memory
    values_NL = torch.full((len(texts), length), PAD, dtype=kind)
    for place, (row, used) in enumerate(zip(classes, has, strict=True)):
        if used:
            values_NL[place, : len(row)] = torch.tensor(row, dtype=kind)
    told = [*_unused(name, task, cells, texts, there), *_strange(name, spelling, texts, has)]
    return values_NL, torch.tensor(has), {"symbols": list(spelling.symbols)}, told


def _unused(name: str, task: Any, cells: Sequence[Cell], texts: Sequence[str], there: Sequence[bool]) -> list[str]:
    """Rows whose text cannot be used, with the reason."""
    silent = [str(cell) for cell, text in zip(cells, texts, strict=True) if cell is not None and not text]
    alone = sum(bool(text) and not here for text, here in zip(texts, there, strict=True))
    found = []
    if silent:
        shown = ", ".join(repr(cell) for cell in silent[:3])
        found.append(f"task {name}: nothing is left of {_many(len(silent), 'text')} once normalised ({shown}); not used for it")
    if alone:
        found.append(f"task {name}: {_many(alone, 'row')} with a text and no {task.input}; not used for it")
    return found


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _strange(name: str, spelling: Spelling, texts: Sequence[str], has: Sequence[bool]) -> list[str]:
    """Symbols that no training row has: a model cannot say them."""
    counted = Counter(symbol for text, used in zip(texts, has, strict=True) if used for symbol in spelling.strange(text))
    if not counted:
        return []
    shown = ", ".join(repr(symbol) for symbol, _ in counted.most_common(5))
    return [
        f"task {name}: {_many(len(counted), spelling.unit.removesuffix('s'))} of no training row ({shown}); "
        f"the model cannot say {'it' if len(counted) == 1 else 'them'}, which counts as an error where expected"
    ]
