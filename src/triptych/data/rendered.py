"""A column of texts of a table on the disk rendered by another room, as new columns of a new version of it.

Each piece of the table gets its new values in a file that no version speaks of yet, and a line in a journal; the last step makes
all of them visible. A work that was killed leaves the old version whole, and goes on after its last piece.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, TriptychError
from triptych.base.files import written_aside
from triptych.contract.cells import Blob, Cell, Scalar
from triptych.contract.modality import Modality
from triptych.contract.tools import Rendering
from triptych.data.chunk import Done
from triptych.data.columns import ID, Column, as_field, encoded, schema
from triptych.data.journal import Journal, alone, sweep
from triptych.data.rejects import write_rejects
from triptych.data.rows import Reject
from triptych.data.stored import META, About, open_dataset, read_about, root_of

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

AT_ONCE = 32  # rows whose new values are in memory together
TEXTS = ("text", "integer", "number")


@dataclass(frozen=True)
class Task:
    """What is to be made of which column. `files`: a folder for the values, which then lie beside the table, not in it."""

    table: Path
    column: str
    into: str
    rendering: Rendering
    reader: Modality
    """The room that reads the texts."""
    files: Path | None = None
    workers: int = 1
    replace: bool = False


@dataclass(frozen=True)
class Rendered:
    """What came of it: `rows` = `made` + `empty` + `refused`. `rejects` is the file that says why rows were refused."""

    rows: int
    made: int
    empty: int
    refused: int
    version: int
    columns: list[str]
    rejects: Path | None
    reasons: list[Reject]


@dataclass(frozen=True)
class One:
    """One row's work: its id, its text, the columns that the draw needs."""

    id: str
    cell: Cell
    needed: dict[str, Cell]


def render_column(task: Task, voice: Any) -> Rendered:
    """Render the texts of `task.column` into the column `task.into`, with what was drawn for each row in columns beside it.

    Raises:
        InputError: there is no such table or column, the new one is there already, or no text at all can be rendered.
    """
    aside = task.table.with_name(task.table.name + ".build")
    dataset = open_dataset(task.table)
    told = read_about(dataset, task.table)
    _check(task, told)
    with alone(aside, task.table):
        columns = _columns(task, dataset.version)
        journal = _journal(aside / f"{as_field(task.into)}.jsonl", task, dataset, columns)
        sweep(dataset, task.table, journal.files() | Journal(aside / "journal.jsonl").files())
        done, shape = _pieces(task, dataset, told, columns, journal, voice)
        counted = _counted(task, dataset, done)
        if counted.made and counted.rejects:
            write_rejects(counted.rejects, counted.reasons)
        version = _publish(task, dataset, told, columns, done, shape) if counted.made else dataset.version
        journal.path.unlink()
        if not (aside / "journal.jsonl").exists():  # that of a build that was killed, and may go on
            (aside / "lock").unlink()
            aside.rmdir()
    if not counted.made:
        raise _nothing(task, counted)
    return replace(counted, version=version)


def _check(task: Task, told: About) -> None:
    """Refuse what cannot be done, before anything is."""
    there = {column.name: column for column in told.columns}
    for name, why in ((task.column, "--column"), *((name, "an option") for name in task.rendering.needs())):
        if name not in there:
            raise InputError(f"no column {name!r}, which {why} asks for", where=str(task.table), known=there)
    if there[task.column].kind not in TEXTS:
        what = f"the column {task.column!r} holds no texts: its kind is {there[task.column].kind}"
        raise InputError(what, where=str(task.table), known=[name for name, column in there.items() if column.kind in TEXTS])
    new = [task.into, *(f"{task.into}.{part}" for part in task.rendering.columns())]
    if ID in new or {task.column, *task.rendering.needs()} & set(new):
        raise InputError(f"the new column cannot be called {task.into!r}: that is what it is made from", fix="--as OTHER_NAME")
    if not task.replace and (taken := [name for name in new if name in there]):
        fix = "--as OTHER_NAME, or --replace to put a new one in its place (older versions of the table keep it)"
        raise InputError(f"the table has a column {taken[0]!r} already", where=str(task.table), fix=fix)


def _columns(task: Task, version: int) -> list[Column]:
    """The new columns, under field names that no older column has."""
    kinds = {task.into: "media", **{f"{task.into}.{part}": kind for part, kind in task.rendering.columns().items()}}
    return [Column(name, kind, f"{as_field(name)} v{version}") for name, kind in kinds.items()]  # type: ignore[arg-type]


def _journal(path: Path, task: Task, dataset: lance.LanceDataset, columns: Sequence[Column]) -> Journal:
    """That of the same work, if it was stopped; else a new one."""
    journal = Journal(path)
    files = str(task.files.absolute()) if task.files else None
    head = {"version": dataset.version, "column": task.column, "rendering": repr(task.rendering), "files": files}
    head["columns"] = [asdict(column) for column in columns]
    pieces = {file.name for file in (task.table / "data").iterdir()}
    if journal.head != head or not journal.files() <= pieces:
        journal.begin(head)
    else:
        journal.mend()
    return journal


def _pieces(
    task: Task, dataset: lance.LanceDataset, told: About, columns: list[Column], journal: Journal, voice: Any
) -> tuple[list[Done], Any]:
    """Render what is not yet rendered, piece by piece; also the schema that Lance says the table then has."""
    # The last piece is made again: the schema of the whole comes with a piece, and no journal can hold it.
    fragments = dataset.get_fragments()
    done = journal.done[: len(fragments) - 1]
    if done:
        voice.say(f"going on after {sum(piece.taken for piece in done):,} rows")
    shape: Any = None

    def rows() -> Iterator[None]:
        nonlocal shape
        with _mapper(task.workers) as mapped:
            for fragment in fragments[len(done) :]:
                piece = _Piece(task, told, columns, mapped)
                try:
                    made, shape = fragment.merge_columns(piece.udf(), columns=piece.fields(), batch_size=AT_ONCE)
                except Exception:  # what went wrong in `_batch` comes back as an error of Lance
                    if piece.problem is not None:
                        raise piece.problem from None
                    raise
                done.append(Done(piece.taken, piece.made, piece.refused, json.dumps(made.to_json())))
                journal.add(done[-1])
                yield from (None for _ in range(piece.taken))

    left = dataset.count_rows() - sum(piece.taken for piece in done)
    for _ in voice.track(rows(), left, f"making {task.into}"):
        pass
    return done, shape


class _Piece:
    """One fragment of the table on its way."""

    def __init__(self, task: Task, told: About, columns: list[Column], mapped: Callable[..., Iterator[Any]]) -> None:
        self.task, self.columns, self.mapped = task, columns, mapped
        self.there = {column.name: column.field for column in told.columns}
        self.root = root_of(told, task.table)
        self.shape = schema(columns, {}).remove(0)
        self.taken = self.made = 0
        self.refused: list[list[str]] = []
        self.problem: BaseException | None = None

    def fields(self) -> list[str]:
        """What is read of the table."""
        return [ID, *dict.fromkeys(self.there[name] for name in (self.task.column, *self.task.rendering.needs()))]

    def udf(self) -> Any:
        """As Lance calls it, batch by batch in the order of the rows."""
        import lance

        return lance.batch_udf(output_schema=self.shape)(self._batch)

    def _batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            return self._rendered(batch)
        except BaseException as problem:
            self.problem = problem  # Lance makes an error of its own out of it
            raise

    def _rendered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        cells = {name: batch.column(field).to_pylist() for name, field in self.there.items() if field in batch.schema.names}
        ids, texts = batch.column(ID).to_pylist(), cells[self.task.column]
        ones = [
            One(row, text, {name: cells[name][at] for name in self.task.rendering.needs()})
            for at, (row, text) in enumerate(zip(ids, texts, strict=True))
        ]
        rows: list[list[Any]] = []
        work = partial(_one, rendering=self.task.rendering, reader=self.task.reader)
        for one, found in zip(ones, self.mapped(work, ones), strict=True):
            rows.append(self._row(one, found))
        self.taken += len(rows)
        arrays = [pa.array(list(values), kind) for values, kind in zip(zip(*rows, strict=True), self.shape.types, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.shape)

    def _row(self, one: One, found: tuple[Blob, dict[str, Scalar]] | str | None) -> list[Any]:
        """The values of the new fields."""
        if not isinstance(found, tuple):
            self.refused += [[one.id, found]] if found else []
            return [None for column in self.columns for _ in column.names()]
        self.made += 1
        blob, drawn = found
        values: list[Any] = []
        for column in self.columns:
            part = column.name.removeprefix(f"{self.task.into}.")
            values += encoded(self._placed(one.id, blob) if column.kind == "media" else drawn[part], column)
        return values

    def _placed(self, row_id: str, blob: Blob) -> Cell:
        """The value itself, or its file beside the table."""
        name = blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest() + Path(blob.name).suffix
        if self.task.files is None:
            return Blob(blob, name)
        path = self.task.files.resolve() / name
        with written_aside(path) as aside:
            aside.write_bytes(blob)
        return Path(os.path.relpath(path, self.root)) if path.is_relative_to(self.root) else path


def _one(one: One, rendering: Rendering, reader: Modality) -> tuple[Blob, dict[str, Scalar]] | str | None:
    """The value and what was drawn for it; why there is none; or nothing where there is no text. Runs in a worker too."""
    if one.cell is None or not str(one.cell).strip():
        return None
    try:
        text = _plain(reader.read(one.cell), reader)
        if not text.strip():
            return "nothing is left of it without markup and control characters"
        drawn = rendering.draw(one.id, text, one.needed)
        return rendering.render(text, drawn), drawn
    except BadValue as problem:
        return problem.what


def _plain(value: Any, reader: Modality) -> str:
    change: Callable[[Any], str] = getattr(reader, "plain", str)
    return change(value)


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`map`, in this process or in several. Lance keeps threads, so processes are spawned and never forked."""
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=4)


def _counted(task: Task, dataset: lance.LanceDataset, done: Sequence[Done]) -> Rendered:
    rows, made = dataset.count_rows(), sum(piece.kept for piece in done)
    reasons = [Reject(*reject) for piece in done for reject in piece.rejects]
    if sum(piece.taken for piece in done) != rows:
        raise TriptychError(f"the table has {rows} rows and {sum(piece.taken for piece in done)} were taken", where=str(task.table))
    beside = task.table.with_name(f"{task.table.name}.{as_field(task.into).removeprefix('c_')}.csv")
    beside.unlink(missing_ok=True)
    names = [task.into, *(f"{task.into}.{part}" for part in task.rendering.columns())]
    return Rendered(rows, made, rows - made - len(reasons), len(reasons), 0, names, beside if reasons else None, reasons)


def _publish(task: Task, dataset: lance.LanceDataset, told: About, columns: Sequence[Column], done: Sequence[Done], shape: Any) -> int:
    """Make all pieces visible, then name the columns; the second step makes them the ones that are read."""
    import lance
    from lance.fragment import FragmentMetadata

    fragments = [FragmentMetadata.from_json(piece.fragment) for piece in done if piece.fragment]
    message = f"{task.into} from {task.column}, {sum(piece.kept for piece in done)} rows"
    operation = lance.LanceOperation.Merge(fragments, shape)
    dataset = lance.LanceDataset.commit(str(task.table), operation, read_version=dataset.version, commit_message=message)
    new = {column.name for column in columns}
    packed = replace(told, columns=[*(old for old in told.columns if old.name not in new), *columns]).packed()
    dataset.update_schema_metadata({META: packed[META]})
    if older := [field for old in told.columns if old.name in new for field in old.names()]:
        dataset.drop_columns(older)
    return int(dataset.version)


def _nothing(task: Task, counted: Rendered) -> InputError:
    reasons = "".join(f"\n    {reject.id}: {reject.reason}" for reject in counted.reasons[:10])
    what = f"none of the {counted.rows:,} rows can be rendered: {counted.empty:,} are empty, {counted.refused:,} cannot be{reasons}"
    return InputError(what, where=str(task.table), fix="check the column and the options")


def summary(found: Rendered) -> Mapping[str, Any]:
    """As JSON takes it."""
    told = asdict(found)
    return {**told, "rejects": str(found.rejects) if found.rejects else None, "reasons": told["reasons"][:20]}
