"""Variants of values: what the words under an input's `augment:` do to training rows. Imports nothing heavy.

A variant is decided by a generator of random numbers that belongs to it alone, so that the same row, variant and seed always give
the same value, in whatever batch, thread or process it is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.errors import unknown_word
from triptych.base.settings import Settings

if TYPE_CHECKING:
    import numpy as np

    from triptych.contract.values import Item, Value


class Step(Settings):
    """One thing that is done to a value. A room's own class adds a `kind` literal and how strong it is."""

    moves: ClassVar[bool] = False
    """Whether what is in a value lies elsewhere after it."""

    kind: Any
    chance: float = Field(0.5, gt=0, le=1, description="share of the variants that it is done to")


def _both(value: Any) -> Any:
    """One number stands for a range that has only it."""
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Range = Annotated[tuple[float, float], BeforeValidator(_both)]
"""[lowest, highest]; each variant draws a number between the two. One number is both."""


class Ranged(Step):
    """A step with ranges: each must go upwards."""

    @model_validator(mode="after")
    def _upwards(self) -> Ranged:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} [{value[0]:g}, {value[1]:g}] is no range: the first number must be the lower one")
        return self


def steps(*kinds: type[Step]) -> Callable[[Any], Any]:
    """Let `[flip, {noise: {snr: 10}}]` stand for `[{kind: flip}, {kind: noise, snr: 10}]`; a word that is none of `kinds` is refused."""
    known = [str(kind.model_fields["kind"].default) for kind in kinds]

    def spelled(value: Any) -> Any:
        return [one for given in (value if isinstance(value, list) else [value]) for one in _steps(given, known)]

    spelled.words = known  # type: ignore[attr-defined]  # the schema lists them
    return spelled


def _steps(given: Any, known: Sequence[str]) -> list[Any]:
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, dict):
        return [given]
    written = [given] if "kind" in given else [_named(str(name), strength) for name, strength in given.items()]
    for one in written:
        if isinstance(one, dict) and one["kind"] not in known:
            raise unknown_word("step of augment", str(one["kind"]), known)
    return written


def _named(name: str, strength: Any) -> Any:
    if not isinstance(strength, dict | None):
        raise ValueError(f"the strength of {name} is a mapping, as in {{{name}: {{chance: 0.5}}}}, not {strength!r}")
    return {"kind": name, **(strength or {})}


class Augmenter(Protocol):
    """What one input's steps do, in their order."""

    counts: Counter[str]
    """What is worth knowing afterwards, with how often it happened."""

    def values(self, values: Sequence[Value], draws: Sequence[np.random.Generator]) -> list[Value]:
        """A variant of each value, of the same kind; each takes its random numbers from its own generator."""

    def items(self, items: Sequence[Item], draws: Sequence[np.random.Generator]) -> list[Item]:
        """The same of prepared items, whose names, types and shapes stay; the items given are not changed."""


Change = Callable[[Any, Any, "np.random.Generator"], Any]
"""(value or item, step, generator) -> the changed one."""


@dataclass
class Chain:
    """An `Augmenter` of functions: each is done to a value with its step's chance."""

    on_values: Sequence[tuple[Step, Change]] = ()
    on_items: Sequence[tuple[Step, Change]] = ()
    counts: Counter[str] = field(default_factory=Counter)

    def values(self, values: Sequence[Value], draws: Sequence[np.random.Generator]) -> list[Value]:
        """See `Augmenter`."""
        return _through(self.on_values, values, draws)

    def items(self, items: Sequence[Item], draws: Sequence[np.random.Generator]) -> list[Item]:
        """See `Augmenter`."""
        return _through(self.on_items, items, draws)


def _through(changes: Sequence[tuple[Step, Change]], things: Sequence[Any], draws: Sequence[np.random.Generator]) -> list[Any]:
    made = []
    for thing, draw in zip(things, draws, strict=True):
        for step, change in changes:
            if draw.random() < step.chance:
                thing = change(thing, step, draw)
        made.append(thing)
    return made
