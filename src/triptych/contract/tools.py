"""What a room can do with a column besides being an input: each tool is a verb under `triptych data`. Imports nothing heavy.

A room that has any lists them as `tools`. The command line makes the verb: its options are the fields of `Options`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from triptych.base.settings import Settings
from triptych.contract.cells import Blob, Cell, Scalar

if TYPE_CHECKING:
    from triptych.contract.values import Value


class Learner(Protocol):
    """Learns something from one column of any source: `triptych data NAME SOURCE --column COLUMN --out FILE`."""

    kind: Literal["learner"]
    name: str
    about: str
    """The verb's help."""
    out: str
    """The file it writes where nothing else is said."""
    Options: type[Settings]

    def learn(self, values: Iterable[Value], options: Any, out: Path) -> dict[str, Any]:
        """Learn from values as they come, and write `out` whole or not at all.

        Returns:
            What is to be said of it, as JSON takes it; `text` is a line for people, `recipe` how a recipe uses the file.
        """


class Rendering(Protocol):
    """A renderer with its options. It goes to other processes as it is, so it holds nothing that cannot be pickled."""

    def columns(self) -> Mapping[str, str]:
        """{what is drawn for a row: kind of column it is kept in}."""

    def needs(self) -> tuple[str, ...]:
        """Other columns of the table that a row's draw depends on."""

    def draw(self, row_id: str, text: str, cells: Mapping[str, Cell]) -> dict[str, Scalar]:
        """What is drawn for one row, from its own id, text and needed columns: never from its place or its neighbours.

        Raises:
            BadValue: nothing can be drawn for this row.
        """

    def render(self, text: str, drawn: Mapping[str, Scalar]) -> Blob:
        """The text in this room's form; its name is a file's, with the right ending.

        Raises:
            BadValue: this text cannot be rendered.
        """


class Renderer(Protocol):
    """Makes a column of this room's values out of a column of texts: `triptych data NAME TABLE --column COLUMN --as NEW`."""

    kind: Literal["renderer"]
    name: str
    about: str
    reads: str
    """The room whose values it takes; they come as their plain text."""
    out: str
    """The new column where nothing else is said."""
    Options: type[Settings]

    def open(self, options: Any) -> Rendering:
        """Check what can be checked before the first row.

        Raises:
            InputError: an option names what is not there, or a package is missing.
        """


Tool = Learner | Renderer
