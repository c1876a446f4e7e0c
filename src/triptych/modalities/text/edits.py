"""Word and character error rates by jiwer: errors and lengths of each row, summed before they are divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from triptych.modalities.text.score import Summed


def wer(said: Sequence[str], expected: Sequence[Sequence[str]]) -> Summed:
    """Words put in, left out or exchanged, and words expected. Any white space parts words."""
    return _edits("process_words", [_spaced(text) for text in said], [[_spaced(text) for text in texts] for texts in expected])


def cer(said: Sequence[str], expected: Sequence[Sequence[str]]) -> Summed:
    """Characters put in, left out or exchanged, and characters expected; spaces within a text count."""
    return _edits("process_characters", said, expected)


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _edits(process: str, said: Sequence[str], expected: Sequence[Sequence[str]]) -> Summed:
    """Of several expected texts the one with the lowest rate counts, of equals the longest."""
    import jiwer

    pairs = [(one, text) for text, texts in zip(said, expected, strict=True) for one in texts]
    counted = iter(_counted(getattr(jiwer, process), pairs))
    rows = [min((next(counted) for _ in texts), key=lambda row: (row[0] / max(row[1], 1), -row[1])) for texts in expected]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 2), _rate


def _counted(process: Any, pairs: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """(errors, length) of each pair of an expected and a written text."""
    if not pairs:
        return []
    found = process([expected for expected, _ in pairs], [said for _, said in pairs])
    return [
        (sum(_errors(piece) for piece in pieces), len(reference))
        for pieces, reference in zip(found.alignments, found.references, strict=True)
    ]


def _errors(piece: Any) -> int:
    if piece.type == "equal":
        return 0
    return max(piece.ref_end_idx - piece.ref_start_idx, piece.hyp_end_idx - piece.hyp_start_idx)


def _rate(sums: Tensor) -> Tensor:
    """Errors by length; where nothing at all is expected, the errors, as jiwer gives them."""
    return sums[..., 0] / sums[..., 1].clamp(min=1)
