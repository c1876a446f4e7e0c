"""What kind of values a column holds, found by looking through all of them, and how they lie in an Arrow table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from triptych.base.errors import BadValue
from triptych.contract.cells import Blob, Cell, Several, Span
from triptych.contract.modality import Modality
from triptych.data.rows import Row
from triptych.data.several import packed_several
from triptych.data.suspects import is_suspect

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["text", "integer", "number", "boolean", "list", "media"]
PARTS = ("", "__data", "__start", "__end")  # the fields of a media column: where it is, its bytes, the span in seconds
LARGEST_INTEGER = 2**63
ID = "id"


@dataclass(frozen=True)
class Column:
    """One column of a table on the disk. `field` is its name there, where dots and the like cannot stand."""

    name: str
    kind: Kind
    field: str
    read: bool = False
    """Whether most of its files are of a kind that is read here: one of no such kind is a mistake then, and costs its row."""

    def names(self) -> list[str]:
        """Its fields."""
        return [self.field + part for part in PARTS] if self.kind == "media" else [self.field]


@dataclass
class Seen:
    """What was seen of one column."""

    kinds: set[Kind] = field(default_factory=set)
    cells: int = 0
    values: int = 0
    """Cells, and what stands in those that are lists."""
    suspects: Counter[str] = field(default_factory=Counter)
    """Words that may stand for an empty cell."""
    plain_integers: bool = True
    plain_numbers: bool = True
    by_suffix: dict[str, int] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """Take one cell into account."""
        self.cells += 1
        self.values += len(cell) if isinstance(cell, list) else len(cell.items) if isinstance(cell, Several) else 1
        if isinstance(cell, str):
            self.kinds.add("text")
            if is_suspect(cell):
                self.suspects[cell.strip()] += 1
                return
            self.plain_integers = self.plain_integers and _plain_integer(cell)
            self.plain_numbers = self.plain_numbers and (self.plain_integers or _plain_number(cell))
            self._count(cell)
            return
        self.kinds.add(_kind_of(cell))
        for item in cell.items if isinstance(cell, Several) else cell if isinstance(cell, list) else (cell,):
            if isinstance(item, str):
                self._count(item)
            elif isinstance(item, Path | Blob | Span):
                self._count(_name(item))

    def _count(self, name: str) -> None:
        suffix = os.path.splitext(name)[1].lower()
        if len(suffix) <= 6 and (suffix in self.by_suffix or len(self.by_suffix) < 50):
            self.by_suffix[suffix] = self.by_suffix.get(suffix, 0) + 1

    def kind(self, rooms: Mapping[str, Modality]) -> Kind:
        """The narrowest kind that holds every cell."""
        if "media" in self.kinds:
            return "media"
        if self.kinds and self.kinds <= {"text", "list"} and self.read(rooms):
            return "media"
        if self.kinds == {"text"}:
            return "text" if self.suspects else "integer" if self.plain_integers else "number" if self.plain_numbers else "text"
        if len(self.kinds) == 1:
            return next(iter(self.kinds))
        return "number" if self.kinds == {"integer", "number"} else "text"

    def suspicion(self, name: str) -> str:
        """What to say of a column that would hold numbers but for some words; nothing of others."""
        numbers = self.cells - self.suspects.total()
        if not self.suspects or not numbers or self.kinds - {"text", "integer", "number"} or not self.plain_numbers:
            return ""
        words = ", ".join(f"{count:,} say {word!r}" for word, count in self.suspects.most_common(3))
        option = " ".join(f"--empty {word}" for word, _ in self.suspects.most_common(3))
        return f"{name}: {numbers:,} numbers, but {words}, so it is kept as text; {option} makes those cells empty"

    def unread(self, name: str, rooms: Mapping[str, Modality]) -> str:
        """What to say of a column of files that no room reads; nothing of others."""
        if self.kind(rooms) != "media" or self.read(rooms):
            return ""
        known = {suffix for room in rooms.values() for suffix in room.suffixes}
        strange = self.values - sum(count for suffix, count in self.by_suffix.items() if suffix in known)
        said = f"{name}: {strange:,} of {self.values:,} files are of no kind that is read here; they are kept as they are"
        return said if strange else ""

    def read(self, rooms: Mapping[str, Modality]) -> bool:
        """Most cells end like files of one room whose values are files."""
        best = max((sum(self.by_suffix.get(s, 0) for s in room.suffixes) for room in rooms.values() if room.by_reference), default=0)
        return best > self.values / 2


def _name(cell: Path | Blob | Span) -> str:
    """What a file, or the one that a piece is of, is called."""
    whole = cell.source if isinstance(cell, Span) else cell
    return whole.name if isinstance(whole, Blob) else str(whole)


def _plain_integer(cell: str) -> bool:
    """7 and -3, but not 007, +3 or 1_000: what would be written differently stays text."""
    digits = cell.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0") and abs(int(digits)) < LARGEST_INTEGER


def _plain_number(cell: str) -> bool:
    """1.5 and 2e-3, but not nan, inf, 007.5, 1_000 or more digits than a float holds."""
    try:
        number = float(cell)
    except ValueError:
        return False
    digits = cell.removeprefix("-")
    if digits[0] == "0" and digits[1:2].isdigit():
        return False
    return abs(number) < 1e300 and len(digits) <= 17 and "_" not in cell and digits[:1].isdigit()


def _kind_of(cell: Cell) -> Kind:
    if isinstance(cell, Path | Blob | Span | Several):
        return "media"
    if isinstance(cell, bool):
        return "boolean"
    if isinstance(cell, int):
        return "integer" if abs(cell) < LARGEST_INTEGER else "text"
    return "number" if isinstance(cell, float) else "list" if isinstance(cell, list) else "text"


@dataclass(frozen=True)
class Surveyed:
    """What a look through all rows found."""

    columns: list[Column]
    findings: list[str]


def survey(rows: Iterable[Row], rooms: Mapping[str, Modality]) -> Surveyed:
    """The columns of all these rows, in the order in which they first appear.

    A column `id` whose cells are the rows' ids is not kept twice; one that could not name them is a column like others.
    """
    seen: dict[str, Seen] = {}
    named = True
    for row in rows:
        for name, cell in row.cells.items():
            if cell is not None:
                seen.setdefault(name, Seen()).add(cell)
        named = named and str(row.cells.get(ID, row.id)).strip() == row.id
    if named:
        seen.pop(ID, None)
    columns = [
        Column(name, kind := found.kind(rooms), as_field(name), kind == "media" and found.read(rooms)) for name, found in seen.items()
    ]
    said = [said for name, found in seen.items() for said in (found.suspicion(name), found.unread(name, rooms)) if said]
    return Surveyed(columns, said)


def as_field(name: str) -> str:
    """A name that Lance takes: no dots, and no `__`, which sets the parts of a media column apart."""
    return "c_" + quote(name, safe=" ").replace(".", "%2E").replace("__", "%5F_")


PLAIN = {"lance-encoding:compression": "none"}
"""Of files in a table: they are compressed already, and trying it again cost a fifth of the time of reading them."""


def schema(columns: Sequence[Column], metadata: Mapping[str, str]) -> pa.Schema:
    """The Arrow schema of a table with these columns."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "list": pa.list_(pa.string())}
    parts = (pa.string(), pa.large_binary(), pa.float64(), pa.float64())
    fields = [pa.field(ID, pa.string())]
    for column in columns:
        types = parts if column.kind == "media" else (kinds[column.kind],)
        fields += [pa.field(n, t, metadata=PLAIN if t == parts[1] else None) for n, t in zip(column.names(), types, strict=True)]
    return pa.schema(fields, dict(metadata))


def encoded(cell: Cell, column: Column) -> list[Any]:
    """A cell as the values of its column's fields.

    Raises:
        BadValue: it is not of the column's kind, or holds what no table can.
    """
    if cell is None:
        return [None] * len(column.names())
    if column.kind == "media":
        return _media(cell, column)
    try:
        return [_ENCODE[column.kind](cell)]
    except (ValueError, TypeError) as error:
        what = f"column {column.name}: {str(cell)[:60]!r} is no {column.kind}"
        raise BadValue(what, fix="say its type in the recipe: data.columns") from error


def _media(cell: Cell, column: Column) -> list[Any]:
    if isinstance(cell, Several):
        name, content = packed_several([tuple(_media(item, column)) for item in cell.items])
        return [name, content, None, None]
    start = end = None
    if isinstance(cell, Span):
        start, end = cell.start, cell.end
        cell = cell.source
    if isinstance(cell, Blob):
        return [cell.name, bytes(cell), start, end]
    if not isinstance(cell, Path | str):
        raise BadValue(f"column {column.name}: a {type(cell).__name__} stands where a file should be")
    return [_whole(str(cell)), None, start, end]


def _whole(text: str) -> str:
    """Text that UTF-8 can hold.

    Raises:
        BadValue: a file name with bytes that are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValue(f"the name {text.encode('utf-8', 'backslashreplace').decode()!r} is not UTF-8", fix="rename the file") from error
    return text


def _text(cell: Cell) -> str:
    return str(cell).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _boolean(cell: Any) -> bool:
    if not isinstance(cell, bool):
        raise TypeError(cell)
    return cell


_ENCODE: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": int,
    "number": float,
    "boolean": _boolean,
    "list": lambda cell: [_text(item) for item in (cell if isinstance(cell, list) else [cell])],
}
