"""The words under `data:` that say where rows come from and what their columns are, done to a stream of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter

from triptych.base.errors import InputError, TriptychError, nearest
from triptych.contract.cells import Blob, Cell, Scalar, Several, Span
from triptych.contract.modality import Modality
from triptych.data.align.apply import aligned
from triptych.data.align.side import Side
from triptych.data.align.times import between, piece, whole
from triptych.data.layouts import layouts
from triptych.data.locate import locate, located
from triptych.data.rows import Reject, Row, Rows, Source
from triptych.data.samples import SAMPLE
from triptych.data.settings import SOURCE, ColumnSettings, Join, RowSettings, SourceSettings, TimeJoin
from triptych.data.sources import open_source
from triptych.data.sources.each import each_entry
from triptych.data.sources.emptied import emptied
from triptych.data.sources.hub import is_name
from triptych.data.sources.iterable import ROWS
from triptych.data.sources.joined import held, joined, mapped
from triptych.data.table import Table

YES, NO = frozenset({"true", "yes", "y", "on", "1", "1.0"}), frozenset({"false", "no", "n", "off", "0", "0.0"})


def absolute(source: str, folder: Path) -> str:
    """A source from a recipe in `folder`: a path or pattern made absolute, a sample or a name on the Hub as it stands."""
    if source.startswith((SAMPLE, ROWS)) or is_name(source):
        return source
    name, mark, inner = source.partition(":")
    if mark and name in layouts() and not (folder / source).exists():
        return f"{name}:{absolute(inner, folder)}"
    home = Path.home() / source[2:] if source.startswith("~/") else Path(source)
    return str((folder / home).resolve())


def opened(settings: RowSettings, rooms: Mapping[str, Modality], inputs: Mapping[str, Modality], given: Source | None = None) -> Source:
    """The rows that a recipe asks for, read as they are asked for.

    Columns are renamed, written and typed, sources mixed, lists taken apart, recordings cut into windows, tables joined.

    `inputs` are the columns that are read as media; a cell of theirs that names a file becomes its path. `given` takes the
    place of what stands at the source.

    Raises:
        InputError: a source cannot be read. While rows are read: no row has a column that `data.columns` asks for.
    """
    own: dict[str, Columns] = {}
    if given is not None:
        source = given
    elif isinstance(settings.source, str):
        source = open_source(Path(settings.source), rooms)
    else:
        own = {part.name: Columns(part.columns, {}, f"data.source.{part.name}.columns") for part in settings.source}
        parts = {part.name: _part(part, own[part.name], settings.empty, rooms) for part in settings.source}
        source = joined(", ".join(settings.sources), parts, settings.weights)
    source = emptied(source, settings.empty)
    columns = Columns(settings.columns, dict.fromkeys(source.columns))
    made = settings.model_dump_json(include={"source", "columns", "empty", "each"})
    if source.table is not None and not (settings.each or settings.windows or settings.join):
        return replace(held(_of_table(source.table, columns, inputs)), words=made)
    changed = _changed(source, columns) if settings.columns else source
    if source.weights:
        changed = mapped(changed, _without_another_source)
    if settings.each:
        changed = each_entry(changed, settings.each)
    changed = mapped(changed, lambda row, folder: located(row, folder, inputs))
    checks = [*own.items(), (source.name, columns)]
    known = changed.columns if settings.each else columns.order(source.columns)
    found = replace(changed, rows=lambda: _checked(changed, checks), columns=known, words=made)
    return aligned(found, settings, [_side(words, rooms, inputs) for words in settings.join], rooms)


def _part(words: SourceSettings, columns: Columns, empty: Sequence[str], rooms: Mapping[str, Modality]) -> Source:
    """One of several sources, with columns of its own."""
    source = open_source(Path(words.source), rooms)
    columns.seen.update(dict.fromkeys(source.columns))
    return _changed(emptied(source, empty), columns) if words.columns else source


def _changed(source: Source, columns: Columns) -> Source:
    """Every row as `columns` makes it. Of several sources, one without the columns that a new one is made from keeps its own."""
    if source.parts:
        parts = {name: _changed(part, replace(columns, known=frozenset(part.columns))) for name, part in source.parts.items()}
        return joined(source.name, parts, source.weights or None)
    return replace(mapped(source, columns.row), columns=columns.order(source.columns))


def _side(words: Join, rooms: Mapping[str, Modality], inputs: Mapping[str, Modality]) -> Side:
    """A table that is to be joined, read by the same rules."""
    asked = RowSettings(source=words.source, columns=words.columns, windows=words.windows if isinstance(words, TimeJoin) else None)
    wanted = {name.removeprefix(words.prefix): room for name, room in inputs.items() if name.startswith(words.prefix)}
    source = opened(asked, rooms, wanted)

    def read() -> Table:  # a recipe is checked without what reads tables
        from triptych.data.build import SILENT
        from triptych.data.sources.tabled import as_table

        return as_table(source, asked, rooms, SILENT)

    return Side(source, rooms, words.prefix, read)


def _of_table(table: Table, columns: Columns, inputs: Mapping[str, Modality]) -> Table:
    """A table stays where it is; what it is made of is looked at once, as a cell of another type costs its row."""
    if columns.settings and len(table.rows):
        columns.check(table.source)
        looked_at = chosen(table.rows, columns.read_by()) if not columns.renames() else ()
        rejects = [made for row in looked_at if isinstance(made := columns.row(row, table.folder), Reject)]
        kept = table.without(rejects)
        table = replace(kept, rows=Changed(kept.rows, columns, table.folder), columns=columns.order(table.columns))
    return locate(table, inputs)


def _checked(source: Source, checks: Sequence[tuple[str, Columns]]) -> Iterator[Row | Reject]:
    """That the words were right is known after the last row."""
    yield from source.rows()
    for where, columns in checks:
        columns.check(where)


def _without_another_source(row: Row, folder: Path) -> Row:
    if SOURCE in row.cells:
        fix = f"rename it: data.columns: {{origin: {SOURCE}}}"
        raise InputError(f"a column is called {SOURCE!r}, which says of several sources where a row is from", where=row.id, fix=fix)
    return row


@dataclass(frozen=True)
class Columns:
    """What `data.columns` says, and which columns of the source have been met."""

    settings: Mapping[str, ColumnSettings]
    seen: dict[str, None] = field(default_factory=dict)
    place: str = "data.columns"
    """Where the words stand in the recipe."""
    known: frozenset[str] | None = None
    """Of one of several sources, the columns that it is known to have."""

    def read_by(self) -> dict[str, str]:
        """{column of the source: the new one that first asks for it}."""
        asked: dict[str, str] = {}
        for new, words in self.settings.items():
            for old in words.reads(new):
                asked.setdefault(old, new)
        return asked

    def needed(self, made: Iterable[str]) -> list[str]:
        """The columns of the source that some of the columns there will be are made from."""
        asked = {name: self.settings[name] for name in made if name in self.settings}
        return list(dict.fromkeys([*Columns(asked).read_by(), *(name for name in made if name not in asked)]))

    def renamed(self) -> set[str]:
        """Columns of the source that have another name afterwards."""
        return {words.column for new, words in self.settings.items() if words.column and words.column != new}

    def renames(self) -> bool:
        """Whether columns get other names and nothing else, so that no cell can be wrong."""
        return all(words.template is None and words.type is None and words.start is None for words in self.settings.values())

    def order(self, before: list[str]) -> list[str]:
        """The columns there will be, where those of the source are known before its rows."""
        gone = self.renamed()
        kept = [name for name in before if name not in gone]
        return list(dict.fromkeys([*kept, *self.settings])) if before else []

    def row(self, row: Row, folder: Path) -> Row | Reject:
        """One row of a source in `folder`; a cell that cannot be what it should costs the row."""
        self.seen.update(dict.fromkeys(row.cells))
        made: dict[str, Cell] = {}
        for new, words in self.settings.items():
            try:
                made[new] = _made(row.cells, new, self._of(row, new, words), folder)
            except ValueError as error:
                return Reject(row.id, f"{new}: {error}")
        gone = self.renamed() | set(made)
        kept = {name: cell for name, cell in row.cells.items() if name not in gone}
        return Row(row.id, kept | {name: cell for name, cell in made.items() if cell is not None})

    def _of(self, row: Row, new: str, words: ColumnSettings) -> ColumnSettings:
        """What is said of a column; of one of several sources that has nothing to make it from, its own column of that name."""
        if self.known is None or new not in row.cells or any(old in row.cells or old in self.known for old in words.reads(new)):
            return words
        return ColumnSettings(type=words.type, separator=words.separator)

    def check(self, where: str) -> None:
        """Refuse a column that no row had."""
        for old, new in self.read_by().items():
            if self.seen and old not in self.seen:
                close = nearest(old, self.seen, 1)
                fix = f"did you mean {close[0]!r}?" if close else ""
                raise InputError(f"no row has a column {old!r}, which {self.place}.{new} asks for", where=where, known=self.seen, fix=fix)


AT_ONCE = 1024


def chosen(rows: Rows, columns: Iterable[str]) -> Iterator[Row]:
    """All rows with some of their cells."""
    wanted = list(columns)
    for start in range(0, len(rows), AT_ONCE):
        yield from rows.take(range(start, min(start + AT_ONCE, len(rows))), wanted)


@dataclass(frozen=True)
class Changed:
    """Rows of a table as `columns` make them when they are read. Implements `Rows`; none of them may be one that it refuses."""

    rows: Rows
    columns: Columns
    folder: Path = Path()
    changes: tuple[Callable[[Row], Row], ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self._made(self.rows[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._made, self.rows)

    def take(self, indices: Sequence[int], columns: Sequence[str] | None = None) -> list[Row]:
        """See `Rows`."""
        wanted = None if columns is None else self.columns.needed(columns)
        return [self._made(row) for row in self.rows.take(indices, wanted)]

    def ids(self) -> Sequence[str]:
        """See `Rows`."""
        return self.rows.ids()

    def cells(self, column: str) -> Iterator[Cell]:
        """See `Rows`."""
        words = self.columns.settings.get(column)
        if words is not None and words.template is None and words.type is None:
            return self.rows.cells(words.column or column)  # as it stands: no file is read for it
        if words is not None:
            return (self._made(row).cells.get(column) for row in chosen(self.rows, self.columns.needed([column])))
        return iter([None] * len(self)) if column in self.columns.renamed() else self.rows.cells(column)

    def subset(self, indices: Sequence[int]) -> Changed:
        """See `Rows`."""
        return replace(self, rows=self.rows.subset(indices))

    def mapped(self, change: Callable[[Row], Row]) -> Changed:
        """See `Rows`: `change` sees the columns as they are made."""
        return replace(self, changes=(*self.changes, change))

    def _made(self, row: Row) -> Row:
        made = self.columns.row(row, self.folder)
        if isinstance(made, Reject):
            raise TriptychError(f"row {row.id} has changed since it was looked at: {made.reason}")
        for change in self.changes:
            made = change(made)
        return made


def _made(cells: Mapping[str, Cell], new: str, words: ColumnSettings, folder: Path) -> Cell:
    cell = _filled(words.template, cells) if words.template is not None else cells.get(words.column or new)
    if words.start is not None and cell is not None:
        first, last = between(cells.get(words.start), cells.get(words.end or ""), ends=words.end is not None)
        return piece(whole(cell, folder), first, last)
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
    if isinstance(cell, Blob | Path | Span | Several):
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
