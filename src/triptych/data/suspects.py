"""Words that tables write for nothing. They are asked about and never guessed: NA is Namibia, None an answer."""

from __future__ import annotations

from triptych.contract.cells import Cell

SUSPECTS = frozenset({"na", "n/a", "n.a.", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil", "-", "--", "?", r"\n"})
"""In small letters; most are what pandas takes for nothing without asking."""


def is_suspect(cell: Cell) -> bool:
    """Whether a cell may have been meant to be empty."""
    return isinstance(cell, str) and len(cell) <= 6 and cell.strip().lower() in SUSPECTS
