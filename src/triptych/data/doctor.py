"""The data doctor: what is odd in a table, how bad that is and what to do, from one pass over its values.

Every check is quiet on data that is as it should be. It knows no modality: rooms say what is wrong with one value
(`examine.py`), this floor compares values, rows, columns and sides of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from triptych.contract.examined import Finding, Ratio, worst_first
from triptych.data.copies import Copies, copies, shared
from triptych.data.facts import MOST_SKETCHES, ColumnFacts, Facts
from triptych.data.groups import groups
from triptych.data.labels import conflicts, labels
from triptych.data.sheet import Asked, Sheet, listed
from triptych.data.table import Table

ENOUGH = 20
"""Values from which the usual can be told from the odd."""
FAR = 5.0
"""Robust deviations from the median (Iglewicz and Hoaglin 1993 say 3.5, for data of a bell's shape) ..."""
TIMES = 4.0
"""... and so many times longer or shorter than the median is odd."""
RARE, USUAL = 0.02, 0.9
"""Shares of a column's values: a trait as rare as this, beside one as common as that, is a surprise."""
EXCEPTIONS = 0.2
"""Share of rows above a ratio's bound up to which they are exceptions; more, and the columns do not say the same thing."""


def diagnose(table: Table, facts: Facts, asked: Asked) -> list[Finding]:
    """All findings of a divided table, worst first. `facts` are those of its rows, in their order."""
    if facts.kept != len(table.rows):
        raise AssertionError(f"facts of {facts.kept} rows are not those of {len(table.rows)}")
    sheet = Sheet(table, facts, asked)
    found: list[Finding] = []
    for column, seen in facts:
        held = Copies.of(column, seen, sheet)
        found += [*_faults(sheet, column, seen), *copies(sheet, held), *conflicts(sheet, held)]
        found += [*_outliers(sheet, column, seen), *_surprises(sheet, column, seen), *_unsketched(column, seen)]
    found += [*_ratios(sheet), *groups(sheet), *labels(sheet), *shared(sheet), *_columns(sheet)]
    return worst_first(found)


def _faults(sheet: Sheet, column: str, seen: ColumnFacts) -> Iterator[Finding]:
    """What the room found in single values."""
    for fault, rows in sorted(seen.faults.items(), key=lambda pair: -len(pair[1])):
        severity = fault.severity if len(rows) >= fault.common * len(seen.rows) else "note"
        yield sheet.finding(severity, fault.code, f"{column}: {fault.text}", fault.fix, rows)


def _outliers(sheet: Sheet, column: str, seen: ColumnFacts) -> Iterator[Finding]:
    """Values far longer or shorter than the others, by the logarithm of each measure; one finding a column and direction."""
    for high in (True, False):
        odd: dict[int, str] = {}
        for name, numbers in seen.measures.items():
            values_N = np.array(numbers)
            if len(values_N) != len(seen.rows) or len(values_N) < ENOUGH or values_N.min() <= 0:
                continue
            logs_N = np.log(values_N)
            middle = float(np.median(logs_N))
            bound = max(FAR * 1.4826 * float(np.median(np.abs(logs_N - middle))), np.log(TIMES))
            far_N = logs_N > middle + bound if high else logs_N < middle - bound
            for place in np.flatnonzero(far_N):
                odd.setdefault(
                    seen.rows[place],
                    f"{values_N[place]:,.4g} {name}, where half have {'less' if high else 'more'} than {np.exp(middle):,.4g}",
                )
        if odd and len(odd) <= RARE * max(len(seen.rows), ENOUGH / RARE / 4):
            what = "long or large" if high else "short or small"
            text = f"{column}: unusually {what}, such as {next(iter(odd.values()))}"
            yield sheet.finding(
                "note", "long" if high else "short", text, "look at them: they may be broken, or another kind of thing", sorted(odd)
            )


def _surprises(sheet: Sheet, column: str, seen: ColumnFacts) -> Iterator[Finding]:
    """Values that lack what nearly all others of the column share."""
    for name, by_trait in seen.traits.items():
        count = sum(map(len, by_trait.values()))
        usual, rows = max(by_trait.items(), key=lambda pair: len(pair[1]))
        if count < ENOUGH or len(rows) < USUAL * count:
            continue
        for trait, odd in by_trait.items():
            if trait != usual and len(odd) <= max(1, RARE * count):
                text = f"{column}: the {name} is {trait}, where {len(rows) / count:.0%} have {usual}"
                yield sheet.finding("note", name, text, "check that these rows belong here", odd)


def _unsketched(column: str, seen: ColumnFacts) -> Iterator[Finding]:
    if seen.unsketched:
        text = f"{column}: near-duplicates were looked for among the first {MOST_SKETCHES:,} values only; equal ones among all"
        yield Finding("note", "unsketched", text, rows=seen.unsketched)


def _ratios(sheet: Sheet) -> Iterator[Finding]:
    """Rows in which a measure of one column is out of proportion to that of another, where the two go together in the others.

    Answers in words are no input, and nobody has looked at them: they are measured here.
    """
    for column, seen in sheet.facts:
        for ratio in seen.room.ratios:
            if ratio.of in seen.measures:
                yield from _disproportions(sheet, ratio, column, seen.rows, seen.measures[ratio.of])
    for column, ratios in sheet.asked.written.items():
        if column not in sheet.facts.columns:
            sizes = {row: len(words.strip()) for row, words in enumerate(sheet.words(column)) if words is not None}
            for ratio in ratios:
                yield from _disproportions(sheet, ratio, column, list(sizes), list(sizes.values()))


def _disproportions(sheet: Sheet, ratio: Ratio, column: str, rows: Sequence[int], sizes: Sequence[float]) -> Iterator[Finding]:
    """Of `sizes` in some rows of a column to what each other column measures."""
    for other, beside in sheet.facts:
        if other == column or ratio.per not in beside.measures:
            continue
        rows_R, ours, theirs = np.intersect1d(np.array(rows), np.array(beside.rows), assume_unique=True, return_indices=True)
        above_R = _above(ratio, np.array(sizes, float)[ours], np.array(beside.measures[ratio.per])[theirs])
        if above_R.any():
            text = f"{column} against {other}: {ratio.text}"
            yield sheet.finding("warning", f"{ratio.of} per {ratio.per}", text, ratio.fix, rows_R[above_R])


def _above(ratio: Ratio, of_R: np.ndarray, per_R: np.ndarray) -> np.ndarray:
    """Only where they are exceptions, and the two measures rise together elsewhere: a title says nothing of a song's length."""
    above_R = of_R > ratio.most * np.maximum(per_R, 1e-9)
    usual_R = ~above_R & (of_R > 0) & (per_R > 0)
    none_R = np.zeros_like(above_R)
    if len(of_R) < ENOUGH or not above_R.any() or above_R.mean() > EXCEPTIONS or of_R[usual_R].std() == 0 or per_R[usual_R].std() == 0:
        return none_R
    return above_R if float(np.corrcoef(np.log(of_R[usual_R]), np.log(per_R[usual_R]))[0, 1]) > 0.3 else none_R


def _columns(sheet: Sheet) -> Iterator[Finding]:
    """Columns that say the same in every row, and those the recipe leaves aside."""
    constant, unused = [], []
    for column in sheet.table.columns:
        if column == "id" or column == sheet.asked.split:
            continue
        values = {cell for cell in sheet.words(column) if cell is not None}
        if len(values) <= 1 and len(sheet.ids) > 1:
            constant.append(column)
        elif column not in sheet.asked.used:
            unused.append(column)
    if constant:
        yield Finding("note", "constant column", f"the same in every row, or empty: {listed(constant)}", "nothing can be learnt from them")
    if unused:
        yield Finding("note", "unused column", f"not used by the recipe: {listed(unused)}")
