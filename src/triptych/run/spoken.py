"""What a model says of each step of time -> words with their times, and the words of overlapping windows as one text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from triptych.contract.spelling import SPACE, Spelling
from triptych.contract.values import Output
from triptych.layers.ctc import aligned
from triptych.objective.transcripts import spelling_of
from triptych.run.measure import answer

NEAR = 0.5
"""Seconds by which one word may begin apart in two windows that both hear it."""


class Word(NamedTuple):
    """A word, when it begins and ends in seconds, and how sure the model is of its symbols (0 to 1, their mean)."""

    text: str
    start: float
    end: float
    confidence: float

    @property
    def middle(self) -> float:
        """Between begin and end."""
        return (self.start + self.end) / 2

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"word": self.text, "start": round(self.start, 3), "end": round(self.end, 3), "confidence": round(self.confidence, 4)}


def spoken(task: Any, facts: Any, output: Output, begins: Sequence[float]) -> list[list[Word]]:
    """The words of each row; `begins` are the seconds of its value that lie before its first step."""
    said_BL = answer(task, output, searching=True)
    spelling, frame = spelling_of(task, facts), float(facts["frame"])
    logs_BTC = output["logits_BTC"].float().log_softmax(2).cpu().numpy()
    rows = zip(logs_BTC, output["frames_B"].tolist(), said_BL.tolist(), begins, strict=True)
    return [_row(logs_TC[:count], [c for c in said if c > 0], spelling, frame, begin) for logs_TC, count, said, begin in rows]


def _row(logs_TC: np.ndarray, classes: list[int], spelling: Spelling, frame: float, begin: float) -> list[Word]:
    spans = aligned(logs_TC, classes)
    groups: list[list[int]] = [[]]
    for place, c in enumerate(classes):
        if spelling.unit == "words":
            groups.append([place])
        elif c == SPACE:
            groups.append([])
        else:
            groups[-1].append(place)
    words = []
    for group in filter(None, groups):
        text = spelling.text([classes[place] for place in group])
        sure = [float(np.exp(logs_TC[slice(*spans[place]), classes[place]].max())) for place in group]
        words.append(Word(text, begin + spans[group[0]][0] * frame, begin + spans[group[-1]][1] * frame, sum(sure) / len(sure)))
    return words


def joined(windows: Iterable[tuple[float, list[Word]]], overlap: float) -> Iterator[Word]:
    """The words of windows of one recording, (start of the window, its words), as one text; `overlap` seconds are in two windows.

    Where both hear a word in what they share, one goes over into the other there, as near to the middle as may be; else at the
    middle. A word that is cut off at the edge of one window is whole in the other.
    """
    first, held = True, list[Word]()
    for start, words in windows:
        if first:
            first, held = False, words
            continue
        shared = [word for word in held if word.middle >= start]
        left, right = _seam(shared, [word for word in words if word.middle < start + overlap], start + overlap / 2)
        kept = held[: len(held) - len(shared) + left]
        while kept and right < len(words) and words[right].middle < kept[-1].end:
            right += 1
        yield from kept
        held = words[right:]
    yield from held


def _seam(left: Sequence[Word], right: Sequence[Word], middle: float) -> tuple[int, int]:
    """How many words of the earlier window stay, and how many of the later one go."""
    pairs = [
        (a, b)
        for a, b in enumerate(_nearest(word, right) for word in left)
        if b is not None and _nearest(right[b], left) == a and abs(left[a].start - right[b].start) <= NEAR
    ]
    if pairs:
        return min(pairs, key=lambda pair: abs(left[pair[0]].middle - middle))
    return sum(word.middle < middle for word in left), sum(word.middle < middle for word in right)


def _nearest(word: Word, others: Sequence[Word]) -> int | None:
    """Of the words with the same text the one that is said at about the same time: a word may be said again and again."""
    return min(
        (n for n, other in enumerate(others) if other.text == word.text), key=lambda n: abs(others[n].start - word.start), default=None
    )
