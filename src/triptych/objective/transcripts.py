"""How far a transcription is from what was said: words, characters and whole rows that are wrong.

Rows are classes of `contract/spelling.py`, padded with -1. Edit distances know nothing of what a class is called, so classes stand
for themselves as characters; only where symbols are words does the error in characters need to know how they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.contract.spelling import SPACE, Spelling, Unit
from triptych.objective.intervals import Statistics

FIRST = 0xF0000
"""A plane of Unicode in which nothing has a meaning, such as to be a space."""


def joined(several: Sequence[Tensor], fill: int = -1) -> Tensor:
    """Rows of batches one below the other; sequences of different lengths are padded to the longest."""
    widths = {made.shape[1] for made in several if made.ndim == 2}
    if len(widths) < 2:
        return torch.cat(list(several))
    return torch.cat([torch.nn.functional.pad(made, (0, max(widths) - made.shape[1]), value=fill) for made in several])


def as_texts(rows_NL: Tensor, unit: Unit) -> list[str]:
    """Rows of classes as texts with the same words and as many characters, each class one that stands for it."""
    told = []
    for row in rows_NL.tolist():
        letters = [" " if unit == "characters" and c == SPACE else chr(FIRST + c) for c in row if c > 0]
        told.append(" ".join(("".join(letters) if unit == "characters" else " ".join(letters)).split()))
    return told


def distances(name: str, said: Sequence[str], expected: Sequence[str]) -> list[tuple[int, int]]:
    """(errors, length) of each row: insertions, deletions and substitutions of words (`wer`) or characters (`cer`)."""
    import jiwer

    found = []
    compare = jiwer.process_words if name == "wer" else jiwer.process_characters
    for one, other in zip(said, expected, strict=True):
        if not other:  # all that is said is too much
            found.append((len(one.split()) if name == "wer" else len(one), 0))
            continue
        told = compare(other, one)
        found.append((told.substitutions + told.deletions + told.insertions, told.hits + told.substitutions + told.deletions))
    return found


def rate_of(pairs: Sequence[tuple[int, int]]) -> Statistics:
    """Errors of all rows by the length of all rows: not a number where nothing was expected."""
    return Statistics(torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2), lambda sums: sums[..., 0] / sums[..., 1])


def wer_of(said_NL: Tensor, expected_NL: Tensor, unit: Unit) -> Statistics:
    """The word error rate as sums over rows."""
    return rate_of(distances("wer", as_texts(said_NL, unit), as_texts(expected_NL, unit)))


def transcript_scores(said_NL: Tensor, expected_NL: Tensor, spelling: Spelling) -> dict[str, float]:
    """`wer`, `cer`, and the share of rows that are right as a whole (`exact`)."""
    said, expected = ([spelling.text(row) for row in rows_NL.tolist()] for rows_NL in (said_NL, expected_NL))
    rates = {name: rate_of(distances(name, said, expected)).value for name in ("wer", "cer")}
    return {**rates, "exact": sum(a == b for a, b in zip(said, expected, strict=True)) / max(len(said), 1)}


def spelling_of(task: Any, facts: Any) -> Spelling:
    """What a head's, or a target's, facts say of the symbols."""
    return Spelling(tuple(facts["symbols"]), task.symbols)
