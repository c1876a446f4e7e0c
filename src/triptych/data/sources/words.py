"""The words under `data:` that say where rows come from and what their columns are, done to a stream of rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter

from triptych.base.errors import InputError, nearest
from triptych.contract.cells import ADDRESS, Blob, Cell, Scalar, Span
from triptych.contract.modality import Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import SOURCE, ColumnSettings, DataSettings, named
from triptych.data.sources import open_source
from triptych.data.sources.hub import is_name
from triptych.data.sources.joined import joined, mapped

SAMPLE = "sample:"
YES, NO = frozenset({"true", "yes", "y", "on", "1", "1.0"}), frozenset({"false", "no", "n", "off", "0", "0.0"})


def absolute(source: str, folder: Path) -> str:
    """A source from a recipe in `folder`: a path or pattern made absolute, a sample or a name on the Hub as it stands."""
    if source.startswith(SAMPLE) or is_name(source):
        return source
    home = Path.home() / source[2:] if source.startswith("~/") else Path(source)
    return str((folder / home).resolve())


def opened(settings: DataSettings, rooms: Mapping[str, Modality], media: Collection[str] = ()) -> Source:
    """The rows that a recipe asks for, read as they are asked for: columns renamed, written and typed, sources mixed.

    A text in one of the columns `media` becomes a path, from the folder of the file that holds it.

    Raises:
        InputError: a source cannot be read. While rows are read: no row has a column that `data.columns` asks for.
    """
    if isinstance(settings.source, str):
        source = open_source(Path(settings.source), rooms)
    else:
        parts = {part.name: open_source(Path(part.source), rooms) for part in settings.source}
        source = joined(", ".join(settings.sources), parts, {part.name: part.weight for part in settings.source})
    columns = Columns(settings.columns, dict.fromkeys(source.columns))
    changed = mapped(source, lambda row, folder: columns.row(row)) if settings.columns else source
    if not isinstance(settings.source, str):
        changed = mapped(changed, _without_another_source)
    if media:
        changed = mapped(changed, lambda row, folder: _located(row, folder, media))
    return replace(changed, rows=lambda: _checked(changed, columns), columns=columns.order(source.columns))


def _checked(source: Source, columns: Columns) -> Iterator[Row | Reject]:
    """That the words were right is known after the last row."""
    yield from source.rows()
    columns.check(source.name)


def _without_another_source(row: Row, folder: Path) -> Row:
    if SOURCE in row.cells:
        fix = f"rename it: data.columns: {{origin: {SOURCE}}}"
        raise InputError(f"a column is called {SOURCE!r}, which says of several sources where a row is from", where=row.id, fix=fix)
    return row


def _located(row: Row, folder: Path, media: Collection[str]) -> Row:
    texts = {name: cell for name in media if isinstance(cell := row.cells.get(name), str) and not ADDRESS.match(cell)}
    return Row(row.id, {**row.cells, **{name: folder / text for name, text in texts.items()}})


@dataclass(frozen=True)
class Columns:
    """What `data.columns` says, and which columns of the source have been met."""

    settings: Mapping[str, ColumnSettings]
    seen: dict[str, None] = field(default_factory=dict)

    def read_by(self) -> dict[str, str]:
        """{column of the source: the new one that first asks for it}."""
        asked: dict[str, str] = {}
        for new, words in self.settings.items():
            for old in named(words.template) if words.template is not None else [words.column or new]:
                asked.setdefault(old, new)
        return asked

    def renamed(self) -> set[str]:
        """Columns of the source that have another name afterwards."""
        return {words.column for new, words in self.settings.items() if words.column and words.column != new}

    def order(self, before: list[str]) -> list[str]:
        """The columns there will be, where those of the source are known before its rows."""
        gone = self.renamed()
        kept = [name for name in before if name not in gone]
        return list(dict.fromkeys([*kept, *self.settings])) if before else []

    def row(self, row: Row) -> Row | Reject:
        """One row; a cell that cannot be what it should costs the row."""
        self.seen.update(dict.fromkeys(row.cells))
        made: dict[str, Cell] = {}
        for new, words in self.settings.items():
            try:
                made[new] = _made(row.cells, new, words)
            except ValueError as error:
                return Reject(row.id, f"{new}: {error}")
        gone = self.renamed() | set(made)
        kept = {name: cell for name, cell in row.cells.items() if name not in gone}
        return Row(row.id, kept | {name: cell for name, cell in made.items() if cell is not None})

    def check(self, where: str) -> None:
        """Refuse a column that no row had."""
        for old, new in self.read_by().items():
            if self.seen and old not in self.seen:
                close = nearest(old, self.seen, 1)
                fix = f"did you mean {close[0]!r}?" if close else ""
                raise InputError(f"no row has a column {old!r}, which data.columns.{new} asks for", where=where, known=self.seen, fix=fix)


def _made(cells: Mapping[str, Cell], new: str, words: ColumnSettings) -> Cell:
    cell = _filled(words.template, cells) if words.template is not None else cells.get(words.column or new)
    return cell if cell is None or words.type is None else TYPES[words.type](cell, words.separator)


def _filled(template: str, cells: Mapping[str, Cell]) -> str | None:
    """The text, or none where a cell is empty.

    Raises:
        ValueError: a cell is a file.
    """
    written = []
    for text, name, _, _ in Formatter().parse(template):
        written.append(text)
        if name:
            if (cell := cells.get(name)) is None:
                return None
            written.append(_text(cell, ", "))
    return "".join(written)


def _text(cell: Cell, separator: str) -> str:
    if isinstance(cell, list):
        return separator.join(str(item) for item in cell)
    return str(_scalar(cell, "text"))


def _scalar(cell: Cell, kind: str) -> Scalar:
    if isinstance(cell, Blob | Path | Span):
        raise ValueError(f"a file is no {kind}")
    if cell is None or isinstance(cell, list):
        raise ValueError(f"a list is no {kind}")
    return cell


def _number(cell: Cell, separator: str) -> float | int:
    scalar = _scalar(cell, "number")
    if isinstance(scalar, int | float) and not isinstance(scalar, bool):
        return scalar
    try:
        number = math.nan if isinstance(scalar, bool) or "_" in scalar else float(scalar)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{scalar!r} is no number")
    return number


def _integer(cell: Cell, separator: str) -> int:
    scalar = _scalar(cell, "integer")
    if isinstance(scalar, str) and scalar.strip().lstrip("+-").isdecimal() and len(scalar) < 1000:
        return int(scalar)  # exact, where a float is not
    number = _number(scalar, separator)
    if not math.isfinite(number) or number != int(number):
        raise ValueError(f"{scalar!r} is no integer")
    return int(number)


def _boolean(cell: Cell, separator: str) -> bool:
    scalar = _scalar(cell, "truth value")
    word = str(scalar).strip().lower()
    if word not in YES | NO:
        raise ValueError(f"{scalar!r} is neither true nor false (known: true, false, yes, no, on, off, 1, 0)")
    return word in YES


def _list(cell: Cell, separator: str) -> list[Scalar]:
    if isinstance(cell, list):
        return cell
    scalar = _scalar(cell, "list")
    if not isinstance(scalar, str):
        return [scalar]
    return [item for part in scalar.split(separator) if (item := part.strip())]


TYPES = {"text": _text, "number": _number, "integer": _integer, "boolean": _boolean, "list": _list}
