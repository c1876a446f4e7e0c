"""Whether a column of a user's table holds texts to read, or names, numbers and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from triptych.base.plain import is_number

HINTS = (
    *("text", "caption", "sentence", "message", "title", "description", "note", "transcript", "comment", "review"),
    *("question", "prompt", "summary", "abstract", "body", "headline", "lyrics", "tweet"),
)
"""Parts of a column's name that say it holds texts, even of one word."""
PROSE_WORDS = 3
MOST_REPEATED = 50


def recognises(column: str, cells: Sequence[Any]) -> bool:
    """Prose, several words a cell and mostly different; or a column whose name says so. Never a column of numbers."""
    if all(is_number(cell) for cell in cells):
        return False
    words = sum(len(str(cell).split()) for cell in cells) / len(cells)
    varied = len(set(map(str, cells))) > min(MOST_REPEATED, len(cells) / 2)
    return any(hint in column.lower() for hint in HINTS) or (words >= PROSE_WORDS and varied)
