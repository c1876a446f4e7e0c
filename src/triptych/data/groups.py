"""What came from one source (a speaker, a song, a writer) and stands on both sides of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from triptych.base.plain import is_number
from triptych.contract.examined import Finding
from triptych.data.named import named_group, own_name
from triptych.data.sheet import Sheet, listed

FEW = 3.0
"""Rows a value on average, up to which a column without a telling name is taken for a source of rows ..."""
LEAST = 2.0
"""... and from which: below it, values hardly come again."""


def groups(sheet: Sheet) -> Iterator[Finding]:
    """Columns whose values stand on both the training side and a judged one, and should not."""
    for column in sheet.table.columns:
        if column == sheet.asked.group:
            yield from _torn(sheet, column, "given")
        elif column not in sheet.asked.used and column != "id":
            kind = "named" if named_group(own_name(column, sheet.table.columns)) else "repeated" if _comes_again(sheet, column) else ""
            if kind:
                yield from _torn(sheet, column, kind)


def _comes_again(sheet: Sheet, column: str) -> bool:
    """Words that come again two or three times each: as little as a class or a category does."""
    cells = [cell for cell in sheet.words(column) if cell is not None]
    different = set(cells)
    return len(different) >= 10 and LEAST <= len(cells) / len(different) <= FEW and not all(is_number(cell) for cell in different)


def _torn(sheet: Sheet, column: str, kind: str) -> Iterator[Finding]:
    train: set[str] = set()
    judged: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(sheet.words(column)):
        if cell is not None and sheet.sides_N[row] == 0:
            train.add(cell)
        elif cell is not None:
            judged[cell].append(row)
    both = sorted(train & set(judged))
    if not both or len(train | set(judged)) < 2:
        return
    rows = sorted(row for value in both for row in judged[value])
    text = f"{len(both)} of {len(train | set(judged))} values of {column} are on both sides of the split: {listed(both)}"
    if kind == "given":
        fix = f"data.split.{'column' if sheet.asked.split else 'test_where'} tears them apart: mend it, or leave it to data.split.group"
        yield sheet.finding("error", "group", text, fix, rows)
        return
    fix = f"to know the score for new ones, set data.split.group: {column}" + (
        " in place of data.split.column" if sheet.asked.split else ""
    )
    yield sheet.finding("warning" if kind == "named" else "note", "group", text, fix, rows)
