"""What a room (text, image, audio, and the next one) must offer. The floors above know rooms by this file alone.

A room is a package `triptych/modalities/<name>/` whose `__init__.py` defines one object `MODALITY`. Nothing heavy may be
imported there: recipes are checked against a room's settings before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

from pydantic import Field

from triptych.base.settings import Settings

if TYPE_CHECKING:
    from triptych.contract.augment import Augmenter
    from triptych.contract.examined import Examined, Ratio
    from triptych.contract.part import Encoder
    from triptych.contract.values import Item, Packed, Value

Split = Literal["train", "validation", "test"]
SIDES: tuple[Split, ...] = ("train", "validation", "test")


class InputSettings(Settings):
    """One input of a recipe. A room's own class adds a `modality` literal, `prepare` and `encoder`."""

    modality: str
    column: str | None = Field(default=None, description="column of the table; by default the input's own name")
    prepare: Any
    encoder: Any
    augment: Any = Field(default=[], description="what is done to training rows, in this order, so that each is seen in many variants")

    def placed(self, path: Callable[[str], str]) -> Self:
        """The same with every path in it made absolute by `path`. Raises InputError where a file that it names is not there."""
        return self

    def examined(self) -> Any:
        """What `Modality.examine` is told of the input: its `prepare`, unless the encoder decides what is seen."""
        return self.prepare


class ToyRow(NamedTuple):
    """One row wanted of a sample: what it shows, and on which side of the split it stands.

    `traits` are what all rooms must agree on: the tempo that one plays and another writes about.
    """

    concept: str
    split: Split
    traits: tuple[tuple[str, str], ...] = ()


class ToyCell(NamedTuple):
    """One made-up value: a string for the table's cell, or the content of a file with its suffix.

    `group` names what must not be on both sides of a split: the picture, the voice, the template.
    """

    content: str | bytes
    group: str
    suffix: str = ""


class Preparation(Protocol):
    """How values become tensors for one named encoder: `modalities/*/prepare.py`.

    Everything it learns (a vocabulary, a mean) it learns in `fit` from training rows, keeps in its folder, and never
    changes afterwards: the same value always gives the same tensors.
    """

    settings: Any

    def fit(self, values: Iterable[Value]) -> None:
        """Learn what is needed from the training rows; called once, before anything is prepared."""

    def prepare(self, values: Sequence[Value]) -> list[Item]:
        """Values -> items, computed for the whole list at once where that is faster."""

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> one Packed, padded to the longest of them only."""

    def facts(self) -> dict[str, int]:
        """The sizes an encoder must know (channels, features, vocabulary ...), as keyword arguments of its class."""

    def save(self, folder: Path) -> None:
        """Write all that is needed to prepare the same way again."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises InputError where a file is missing or damaged."""


class Limit(NamedTuple):
    """A preparation sees `most` of `unit` of a value at most: what the recipe says under `prepare.<word>`, in steps of `step`.

    `learnt`: whether lengths depend on what the preparation learns in `fit`.
    """

    unit: str
    word: str
    most: float
    step: float
    learnt: bool


@runtime_checkable
class Limited(Protocol):
    """A preparation that cuts what is too long. One that does not lacks these methods."""

    def limit(self) -> Limit:
        """Where it cuts."""

    def lengths(self, values: Iterable[Value]) -> list[float]:
        """Each value's whole length in the limit's unit. Before `fit` this is as after a fit on these values alone."""


@runtime_checkable
class Paced(Protocol):
    """A preparation whose tensors have frames in the order of time. One that does not, or not always, says a pace of 0."""

    def pace(self) -> float:
        """Seconds from one frame to the next."""

    def begins(self, value: Value) -> float:
        """Seconds of a value that lie before its first frame: what is cut off, or left out."""


class Modality(Protocol):
    """A room.

    It may also have `tools` (see `contract/tools.py`); and where its values are texts, `plain(value)`: what a person would read out.
    """

    name: str
    suffixes: frozenset[str]
    """File name endings this room reads, lower case with the dot."""
    guest: frozenset[str]
    """Those of them that are first of all files of another room, and may hold such a value too: the sound of a film. Rooms of
    which one is the other's guest may read one column."""
    by_reference: bool
    """True where a table's cell is a path to a file; False where the cell is the value itself."""
    Input: type[InputSettings]
    """What a recipe may say about an input of this modality."""
    alike: float
    """Correlation of two sketches from which their values are near-duplicates."""
    mixable: bool
    """Whether the mean of two prepared items is such an item too: numbers that measure, not numbers that name."""
    ratios: tuple[Ratio, ...]
    """Measures of this room against those of another column that are hardly ever above a bound."""

    def read(self, source: Any) -> Value:
        """Path, bytes, array, span or the value itself -> value.

        Raises:
            BadValue: it says precisely what is wrong; `Absent` where the file is fine and has nothing for this room.
        """

    def holds(self, source: Path | bytes) -> bool:
        """Whether a file has something for this room, by a look at its head; asked of files whose ending several rooms read."""

    def preparation(self, settings: Any) -> Preparation:
        """The (not yet fitted) preparation of an input: what its `prepare` says, as its `encoder` wants it."""

    def encoder(self, settings: Any, facts: dict[str, int]) -> Encoder:
        """The encoder of an input, new or pretrained, for the preparation's facts."""

    def augmenter(self, settings: Any, words: frozenset[str]) -> Augmenter:
        """What an input's `augment` does; `settings` are the input's, `words` what answers are called, which no variant may change.

        Raises:
            InputError: a step needs a package or a file that is not there.
        """

    def examine(self, value: Value, settings: Any) -> Examined:
        """One look at a value that is to be prepared as an input's `examined` says; quick beside reading it."""

    def show(self, value: Value) -> str:
        """The value as a self-contained HTML fragment for reports and pages: thumbnail, player, marked snippet."""

    def seen(self, item: Item, preparation: Preparation) -> str:
        """What the network sees of a value: the prepared item as an HTML fragment with its numbers."""

    def toy(self, sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
        """Make one cell a row of a named sample, groups never shared between splits. Raises InputError for an unknown sample."""

    def recognises(self, column: str, cells: Sequence[Any]) -> bool:
        """Whether a user's column holds such values themselves. Columns of paths are known by `suffixes`; this is for the others."""

    def suggest(self, values: Sequence[Value]) -> dict[str, Any]:
        """Look at some of a user's values and propose the settings that should not be left at their defaults."""


@runtime_checkable
class Holder(Protocol):
    """A room whose values may come with values of other rooms inside, a conversation with the files it speaks of."""

    def taken_apart(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of one row, as a source has them: files that a value of this room holds in fields named after their modality.

        Raises:
            ValueError: a file in it is damaged, or there is such a field already.
        """


@runtime_checkable
class Flat(Protocol):
    """A room whose values have a width and a height, in a unit of their own, so that something can lie in a box in them."""

    def extent(self, value: Value) -> tuple[float, float]:
        """Width and height of a value as `read` gives it."""

    def shown_part(self, preparation: Any, extent: tuple[float, float]) -> tuple[float, float, float, float]:
        """Left, top, width and height of what a preparation makes of a value of that extent, in the value's unit.

        It reaches beyond the value where something is laid around it, and is smaller where edges are cut off.
        """

    def marked(self, value: Value, boxes: Mapping[str, Sequence[float]]) -> str:
        """As `show`, with boxes drawn by name: `said`, `truth`; each left, top, right and bottom in shares of the value."""


@runtime_checkable
class Streamed(Protocol):
    """A room that reads values of any length piece by piece, in bounded memory."""

    def windows(self, source: Any, seconds: float, overlap: float) -> Iterator[tuple[float, Value]]:
        """(start in seconds, value) of each window of a path, `seconds` long but for the last, which ends where the value does.

        Raises:
            BadValue: like `read`.
        """


@runtime_checkable
class Timed(Protocol):
    """A room whose values have a length in time says it here; a room that does not have the method has no such length."""

    def duration(self, source: Any) -> float:
        """Path or bytes -> seconds, from the header alone where that knows it. Raises BadValue like `read`."""
