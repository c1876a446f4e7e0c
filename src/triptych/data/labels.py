"""Classes: too few rows, none on a side, names that are another's misspelling, copies that are called differently."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from triptych.contract.examined import Finding
from triptych.contract.modality import SIDES
from triptych.data.copies import Copies
from triptych.data.sheet import Sheet, listed
from triptych.data.suspects import is_suspect

FEWEST = 5
"""Training rows below which a class is hardly learnt."""
UNEVEN = 20
"""Times as many rows of the largest class as of the smallest from which it is worth saying."""
BESIDE = 10
"""Times as frequent as its misspelling a name must be."""
LONG = 8
"""Letters from which two may be wrong instead of one; below 4 none may: cat and car are two classes."""
MOST_NAMES = 5_000
SHOWN = 5


def labels(sheet: Sheet) -> Iterator[Finding]:
    """All that is odd about the classes of every target."""
    for column, separator in sheet.asked.classes.items():
        rows: dict[str, list[int]] = defaultdict(list)
        for row, cell in enumerate(sheet.words(column)):
            for label in _split(cell, separator):
                rows[label].append(row)
        yield from _suspects(sheet, column, rows)
        if len(rows) > 1:
            yield from _balance(sheet, column, rows)
            yield from _misspelt(sheet, column, rows)


def _suspects(sheet: Sheet, column: str, rows: dict[str, list[int]]) -> Iterator[Finding]:
    """Classes called like nothing. None and - may well be answers; - beside + is one."""
    words = sorted((word for word in rows if is_suspect(word) and (word != "-" or "+" not in rows)), key=lambda word: -len(rows[word]))
    if words:
        kind = "are classes" if len(words) > 1 else "is a class"
        text = f"{column}: {listed(repr(word) for word in words)} {kind}, and may mean an empty cell"
        fix = f"if so, data.empty: {json.dumps(words)} makes such cells empty, in every column"
        likely = any(word.lower() not in {"none", "nil", "-"} for word in words)
        yield sheet.finding(
            "warning" if likely else "note", "word for nothing", text, fix, sorted(row for word in words for row in rows[word])
        )


def _split(cell: str | None, separator: str | None) -> list[str]:
    if cell is None:
        return []
    return [part.strip() for part in cell.split(separator) if part.strip()] if separator else [cell]


def _balance(sheet: Sheet, column: str, rows: dict[str, list[int]]) -> Iterator[Finding]:
    train = {label: sum(sheet.sides_N[row] == 0 for row in places) for label, places in rows.items()}
    rare = sorted((label for label, count in train.items() if 0 < count < FEWEST), key=lambda label: (train[label], label))
    if rare:
        text = f"{column}: {len(rare)} of {len(rows)} classes have fewer than {FEWEST} training rows: {listed(rare)}"
        fix = "find more rows, or join classes"
        yield sheet.finding("warning", "rare class", text, fix, sorted(row for label in rare for row in rows[label]))
    else:
        most, least = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
        if train[least] and train[most] >= UNEVEN * train[least]:
            text = f"{column}: {train[most]} training rows of {most}, {train[least]} of {least}; accuracy will say little of the rare ones"
            yield sheet.finding("note", "uneven classes", text, "read macro F1, and each class in the confusion matrix", rows[least])
    for number, side in enumerate(SIDES[1:], start=1):
        there = {label for label, places in rows.items() if any(sheet.sides_N[row] == number for row in places)}
        gone = sorted(label for label in rows if label not in there and train[label])
        if there and gone:
            text = f"{column}: no {side} row of {listed(gone)}"
            yield sheet.finding(
                "warning", "absent class", text, "the score says nothing of them; a larger share, or no split column, deals some"
            )


def _misspelt(sheet: Sheet, column: str, rows: dict[str, list[int]]) -> Iterator[Finding]:
    """Names equal but for case, spaces and signs; and rare names one or two letters from a frequent one."""
    pairs = [*_same_but_for_case(rows), *_a_letter_apart(rows)]
    for odd, usual in pairs[:SHOWN]:
        counts = [f"{len(rows[name])} row{'s' * (len(rows[name]) != 1)}" for name in (odd, usual)]
        text = f"{column}: {odd!r} ({counts[0]}) looks like {usual!r} ({counts[1]})"
        yield sheet.finding("warning", "label typo", text, "write them alike if they are one class", rows[odd])
    if len(pairs) > SHOWN:
        left = [odd for odd, _ in pairs[SHOWN:]]
        text = f"{column}: {len(left)} more names look like others: {listed(left)}"
        yield sheet.finding(
            "warning", "label typo", text, "write them alike if they are one class", (row for odd in left for row in rows[odd])
        )


def _same_but_for_case(rows: dict[str, list[int]]) -> list[tuple[str, str]]:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in rows:
        # `+1` is not `-1`, nor 1.0 10: signs and points count beside a digit.
        plain = re.sub(r"[\W_]+", "", label.casefold()) if not any(map(str.isdigit, label)) else " ".join(label.casefold().split())
        alike[plain or label].append(label)
    return [
        (odd, max(names, key=lambda name: (len(rows[name]), name)))
        for names in alike.values()
        if len(names) > 1
        for odd in _others(names, rows)
    ]


def _others(names: list[str], rows: dict[str, list[int]]) -> list[str]:
    return sorted(names, key=lambda name: (len(rows[name]), name))[:-1]


def _a_letter_apart(rows: dict[str, list[int]]) -> list[tuple[str, str]]:
    """By the names that are left when one letter (two, in long names) is deleted from each (Garbe's SymSpell, 2012)."""
    shorter: dict[str, set[str]] = defaultdict(set)
    for label in sorted(rows)[:MOST_NAMES]:
        plain = label.casefold()
        if len(plain) >= 4 and not any(map(str.isdigit, plain)):
            for gone in range(min(2 if len(plain) >= LONG else 1, 2) + 1):
                for places in combinations(range(len(plain)), gone) if len(plain) <= 40 else ():
                    shorter["".join(letter for place, letter in enumerate(plain) if place not in places)].add(label)
    found = {}
    for names in shorter.values():
        usual = max(names, key=lambda name: (len(rows[name]), name))
        for odd in names - {usual}:
            if (
                len(rows[usual]) >= BESIDE * len(rows[odd])
                and odd.casefold() != usual.casefold()
                and _close(odd.casefold(), usual.casefold())
            ):
                found[odd] = usual
    return sorted(found.items())


def _close(odd: str, usual: str) -> bool:
    """Whether an edit distance of one (two, in long names) leads from one to the other."""
    before = list(range(len(usual) + 1))
    for row, letter in enumerate(odd, start=1):
        now = [row]
        for place, other in enumerate(usual, start=1):
            now.append(min(before[place] + 1, now[-1] + 1, before[place - 1] + (letter != other)))
        before = now
    return before[-1] <= (2 if min(len(odd), len(usual)) >= LONG else 1)


def conflicts(sheet: Sheet, held: Copies) -> Iterator[Finding]:
    """Copies of one value that are called differently: one of the names is wrong."""
    if held.vocabulary:
        return
    for column, separator in sheet.asked.classes.items():
        words = sheet.words(column)
        names = [words[row] for row in held.rows_V]
        known_V = np.array([name is not None for name in names])
        if separator or not known_V.any():
            continue
        name_V = sheet.numbered(column, held.rows_V.tolist())
        part = Copies(held.column, held.rows_V[known_V], held.copy_V[known_V], False)
        torn_V = part.of_several(name_V[known_V])
        if torn_V.any():
            called = Counter(str(words[row]) for row in part.rows_V[torn_V])
            text = f"{held.column}: copies or near-copies of one value are called differently in {column}: {listed(sorted(called))}"
            order = np.argsort(part.copy_V[torn_V], kind="stable")
            yield sheet.finding("warning", "label conflict", text, "look at them: one of the names is wrong", part.rows_V[torn_V][order])
