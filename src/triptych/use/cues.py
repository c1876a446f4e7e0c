"""Words with times as subtitles: what stands on the screen at once, and the files that players read (SubRip, WebVTT)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from triptych.run.spoken import Word

WIDTH, LINES = 42, 2
"""Characters of a line, and lines at once: as broadcasters and film services ask for (BBC, Netflix)."""
PAUSE = 0.8
"""Seconds of silence after which a new subtitle begins."""
LONGEST, SHORTEST = 7.0, 1.0
"""Seconds that a subtitle stands at most; and at least, where the next one does not follow sooner."""


class Cue(NamedTuple):
    """What stands on the screen from `start` to `end`, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def cues(words: Iterable[Word]) -> Iterator[Cue]:
    """Words in their order -> subtitles, none of which overlap."""
    waiting: list[Word] = []
    for word in (part for whole in words for part in _parts(whole)):
        if waiting and not _goes_with(waiting, word):
            yield _cue(waiting, word.start)
            waiting = []
        waiting.append(word)
    if waiting:
        yield _cue(waiting, float("inf"))


def _parts(word: Word) -> Iterator[Word]:
    """A word that is longer than a line, as whole sentences are where no spaces are written, in pieces of its time."""
    count = -(-len(word.text) // WIDTH)
    length = (word.end - word.start) / max(count, 1)
    for number in range(count):
        text = word.text[number * WIDTH : (number + 1) * WIDTH]
        yield word._replace(text=text, start=word.start + number * length, end=word.start + (number + 1) * length)


def _goes_with(waiting: list[Word], word: Word) -> bool:
    if word.start - waiting[-1].end > PAUSE or word.end - waiting[0].start > LONGEST:
        return False
    return len(textwrap.wrap(" ".join([*(one.text for one in waiting), word.text]), WIDTH)) <= LINES


def _cue(words: list[Word], following: float) -> Cue:
    start = words[0].start
    end = max(words[-1].end, start + SHORTEST)
    return Cue(start, max(min(end, following), start + 0.001), _lines([word.text for word in words]))


def _lines(words: list[str]) -> tuple[str, ...]:
    """One line, or two that are as long as each other as may be."""
    whole = " ".join(words)
    if len(whole) <= WIDTH:
        return (whole,)
    halves = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(1, len(words))]
    fitting = [pair for pair in halves if max(map(len, pair)) <= WIDTH]
    return min(fitting, key=lambda pair: abs(len(pair[0]) - len(pair[1]))) if fitting else tuple(textwrap.wrap(whole, WIDTH))


def srt(shown: Iterable[Cue]) -> Iterator[str]:
    """The file as SubRip has it, a piece a subtitle."""
    for number, cue in enumerate(shown, start=1):
        yield f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n\n"


def vtt(shown: Iterable[Cue]) -> Iterator[str]:
    """The file as WebVTT has it, a piece a subtitle."""
    yield "WEBVTT\n\n"
    for cue in shown:
        text = "\n".join(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
        yield f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{text}\n\n"


def _time(seconds: float, mark: str) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{rest:03d}"


WRITERS = {".srt": srt, ".vtt": vtt}
