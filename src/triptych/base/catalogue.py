"""Well-known pretrained models, from a file that comes along: to browse without a network, and to guess what a typo meant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from triptych.base.errors import InputError, unknown_word

FILE = Path(__file__).with_name("catalogue.yaml")
MANY = "many"
"""Stands among the languages of a model of dozens of them, which are not listed."""
SIZES = {"K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}


class Tower(NamedTuple):
    """What an input takes of a model."""

    parameters: int
    macs: float
    """Multiplications with an addition for one ordinary row; the file says what is ordinary."""


@dataclass(frozen=True)
class Entry:
    """One model."""

    id: str
    family: str
    """`model_type` of its config."""
    tasks: tuple[str, ...]
    """What its makers trained it for: embed, classify, contrast, generate."""
    parameters: int
    """Of all of it."""
    width: int | None
    """Of the vector of a row."""
    towers: dict[str, Tower]
    """By modality."""
    licence: str
    languages: tuple[str, ...]
    good: str
    """What it is good for."""
    rough: bool = False
    """Whether the sizes of its towers are guessed from the whole."""

    def speaks(self, language: str) -> bool:
        """Whether a language is among its own, or it has dozens of them."""
        return language in self.languages or MANY in self.languages

    def says(self, words: list[str]) -> bool:
        """Whether all of these words are in what is known of it."""
        told = " ".join((self.id, self.family, self.licence, self.good, *self.tasks, *self.towers, *self.languages)).lower()
        return all(word.lower() in told for word in words)


class Pipeline(NamedTuple):
    """What the Hub calls models of a task that take these modalities."""

    tag: str
    task: str
    takes: tuple[str, ...]


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    made: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return made


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """All models of the file, in its order: of one kind, the one to try first comes early."""
    return tuple(_entry(**told) for told in _read()["models"])


def _entry(parameters: float, towers: dict[str, list[float]], tasks: list[str], languages: list[str], **rest: Any) -> Entry:
    sizes = {name: Tower(int(millions * 10**6), billions * 10**9) for name, (millions, billions) in towers.items()}
    return Entry(**rest, parameters=int(parameters * 10**6), towers=sizes, tasks=tuple(tasks), languages=tuple(languages))


def pipelines() -> list[Pipeline]:
    """The Hub's words for tasks."""
    return [Pipeline(tag, task, tuple(takes)) for tag, (task, *takes) in _read()["pipelines"].items()]


def steps() -> dict[str, int]:
    """How often a network's weights are used for one ordinary row, by modality, where nothing better is known."""
    return dict(_read()["steps"])


def names() -> list[str]:
    """All ids."""
    return [entry.id for entry in entries()]


def find(name: str) -> Entry | None:
    """The model of that id, if it is known."""
    return next((entry for entry in entries() if entry.id == name), None)


def known(kind: str, words: list[str], among: list[str]) -> list[str]:
    """The same words in small letters. Raises InputError for one that is not among those."""
    for word in words:
        if word.lower() not in among:
            raise unknown_word(kind, word, among)
    return [word.lower() for word in words]


def count(text: str) -> int:
    """500M, 1.5B or a plain number -> a number of parameters.

    Raises:
        InputError: it is none.
    """
    said = text.strip().upper()
    try:
        number = float(said[:-1]) * SIZES[said[-1]] if said[-1:] in SIZES else float(said)
        if not 0 < number < 10**15:
            raise ValueError
    except ValueError as error:
        raise InputError(f"{text!r} is no number of parameters", where="--size", fix="--size 500M, --size 1.5B") from error
    return int(number)
