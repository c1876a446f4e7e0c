"""Tasks that are answered in writing, over a table: each row as a decoder is asked it, made when its batch is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from triptych.base.errors import BadValue
from triptych.contract.values import Item, Packed
from triptych.contract.writes import Script
from triptych.data.table import Table
from triptych.data.targets import Target

AT_ONCE = 2_000
"""Rows looked through at a time."""
REASONS = 5
"""Reasons that are told one by one."""
NUMBER = re.compile(r"\d[\d,]+")
"""Reasons that differ in a large number only are one; the first of them is told."""


@dataclass
class AskedRows:
    """One task over a table: what of a row it reads, and which rows can be asked."""

    name: str
    task: Any
    script: Script
    table: Table
    inputs: Mapping[str, Sequence[int]]
    """{input: how many values of it each row has}."""
    columns: list[str] = field(init=False)
    sides: Sequence[Any] = field(init=False)
    """What one row is asked: a question with its answer; of a preference, with the better answer and with the worse."""

    def __post_init__(self) -> None:
        """Raises InputError where a column is not there."""
        self.sides = self.task.sides()
        self.columns = list(dict.fromkeys(column for side in self.sides for column in self.script.columns(side, list(self.inputs))))
        for column in self.columns:
            self.table.require(column, f"task {self.name}", self.inputs)

    @property
    def question(self) -> list[str]:
        """Columns that the question is made of, without the answers."""
        answers = {side.target for side in self.sides}
        return [column for column in self.columns if column not in answers]

    def cells(self, indices: Sequence[int]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Each question with each row's cells, for a script to learn from."""
        return ((side, cells) for cells in self._cells(indices) for side in self.sides)

    def _cells(self, indices: Sequence[int]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(indices), AT_ONCE):
            for row in self.table.rows.take(indices[start : start + AT_ONCE], self.columns):
                yield {c: row.cells[c] for c in self.columns if row.cells.get(c) is not None}

    def target(self) -> Target:
        """Which rows have an answer that can be learnt; why the others have none, said as findings."""
        has, why, cut = torch.zeros(len(self.table.rows), dtype=torch.bool), Counter[str](), list[int]()
        first: dict[str, tuple[int, BadValue]] = {}
        everything = range(len(self.table.rows))
        for index, cells in zip(everything, self._cells(everything), strict=True):
            if not all(side.messages in cells for side in self.sides if side.messages):
                continue
            try:
                items = self._items(index, cells)
                learnt = all(bool(item["learnt"].any()) for item in items)
                if learnt:
                    self._check_words(index, cells)
                    cut += [index] * any(int(item["total"]) > len(item["ids"]) for item in items)
                has[index] = learnt
            except BadValue as problem:
                kind = NUMBER.sub("0", problem.what)
                why[kind] += 1
                first.setdefault(kind, (index, problem))
        return Target(torch.zeros(len(has)), has, {}, [*self._why_not(why, first), *self._losing(cut)])

    def _losing(self, cut: Sequence[int]) -> list[str]:
        """A sentence about questions of which the decoder reads only the end."""
        if not cut:
            return []
        questions = "1 question is" if len(cut) == 1 else f"{len(cut):,} questions are"
        first = self.table.rows.ids()[cut[0]]
        return [f"task {self.name}: {questions} longer than the decoder has room for; the first words are not read (the first: {first})"]

    def _check_words(self, index: int, cells: Mapping[str, Any]) -> None:
        """Raise BadValue where a row has no input and its question none of its own words: what is left was written for an input."""
        if any(counts[index] for counts in self.inputs.values()) or any(side.messages for side in self.sides):
            return
        if not any(column in cells for column in self.question):
            raise BadValue("nothing is left to ask about: the row has no input, and no words of its own in the question")

    def _why_not(self, why: Counter[str], first: Mapping[str, tuple[int, BadValue]]) -> list[str]:
        """Sentences about rows that are not used, of many reasons the most frequent and how many rows the others cost."""
        ids = self.table.rows.ids() if why else []
        told = why.most_common(REASONS if len(why) > REASONS else None)
        said = []
        for kind, count in told:
            index, problem = first[kind]
            fix = f"; {problem.fix}" if problem.fix else ""
            said.append(f"task {self.name}: {_not_used(count)}: {problem.what} (the first: {ids[index]}){fix}")
        rest = sum(why.values()) - sum(count for _, count in told)
        return said + ([f"task {self.name}: {_not_used(rest)} for {len(why) - len(told):,} other reasons"] if rest else [])

    def pack(self, indices: Sequence[int]) -> Packed:
        """Rows that have an answer, side by side; where a row has two, one after the other, and counted."""
        items = [item for index, cells in zip(indices, self._cells(indices), strict=True) for item in self._items(index, cells)]
        packed = self.script.collate(items)
        return packed if len(self.sides) == 1 else replace(packed, counts_P=torch.full((len(indices),), len(self.sides)))

    def _items(self, index: int, cells: Mapping[str, Any]) -> list[Item]:
        return [self.script.item(side, cells, self._there(index)) for side in self.sides]

    def _there(self, index: int) -> dict[str, int]:
        return {name: int(counts[index]) for name, counts in self.inputs.items() if counts[index]}


def _not_used(rows: int) -> str:
    return f"{rows:,} row{' is' if rows == 1 else 's are'} not used"
