"""Rows into an index: read, embedded, and written aside in pieces; a journal says which are done, so a killed work goes on.

A new index takes its place in one step. What is added to one becomes visible in one step too, and so does what is removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, TriptychError
from triptych.base.freed import keep_freed_memory
from triptych.contract.cells import Cell
from triptych.data.chunk import Chunk, Done, as_fields
from triptych.data.columns import Column, schema
from triptych.data.journal import Journal, sweep
from triptych.data.place import placed_cell
from triptych.data.rows import Reject, Row
from triptych.data.stored import About, import_lance
from triptych.data.table import Table
from triptych.use.nearby import VECTOR
from triptych.use.spaces import Space, row_vectors

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from triptych.run.progress import Voice
    from triptych.use.opened import Run

PIECE = 512
"""Rows that are written at once."""
THERE = "its id is there already"
BATCH = 64
"""Rows that go through the model at once."""


@dataclass(frozen=True)
class Filling:
    """One work: which rows of `table` go where, and how they are embedded."""

    run: Run
    space: Space
    inputs: Mapping[str, str]
    """{input of the space: column of the table}."""
    table: Table
    about: About
    staged: Path
    """The Lance data set that is written, aside."""
    home: Path
    """The one that it becomes, or becomes a part of."""
    root: Path
    """The folder that relative paths in the index start in."""
    copied: bool
    journal: Journal
    voice: Voice
    taken: set[int] = field(default_factory=set)
    """Ids, in short, that no other row may have."""

    def shape(self) -> pa.Schema:
        """The Arrow schema of the entries: the source's columns and a vector."""
        import pyarrow as pa

        width = int(self.journal.head["width"])
        made = schema(self.about.columns, self.about.packed())
        return made.append(pa.field(VECTOR, pa.list_(pa.float32(), width)))


def fill(work: Filling, head: Mapping[str, Any]) -> None:
    """Write all pieces that are not written yet. `head` says what the work is: only the same one goes on."""
    import_lance()
    keep_freed_memory()
    known = {name: work.journal.head.get(name) for name in head}
    if work.journal.head and known == dict(head):
        work.journal.mend()
        work.voice.say(f"going on with what was stopped after {_taken(work):,} rows")
    else:
        work.journal.begin({**head, "width": _width(work)})
    sweep(None, work.staged, work.journal.files())
    entries = list(work.table.rejects)
    rows = _unique(work)
    everything = _pieces(iter(entries), rows)
    done = _taken(work)
    left = work.voice.track(_skipping(everything, done), len(work.table.rows) + len(entries) - done, "embedding")
    while some := list(islice(left, PIECE)):
        work.journal.add(_written(work, some))


def _taken(work: Filling) -> int:
    return sum(done.taken for done in work.journal.done)


def _width(work: Filling) -> int:
    """Numbers of a vector: of the first row that can be embedded.

    Raises:
        InputError: there is none.
    """
    refused: list[str] = [f"{one.id}: {one.reason}" for one in work.table.rejects[:3]]
    for row in work.table.rows:
        read = _read(work, row)
        if not isinstance(read, Reject):
            return int(row_vectors(work.run, work.space, [read]).shape[1])
        refused.append(f"{read.id}: {read.reason}")
        if len(refused) > 200:
            break
    raise InputError(f"no row could be embedded ({'; '.join(refused[:3])})", where=work.table.source)


def _pieces(rejects: Iterator[Reject], rows: Iterator[Row | Reject]) -> Iterator[Row | Reject]:
    yield from rejects
    yield from rows


def _skipping(entries: Iterator[Row | Reject], count: int) -> Iterator[Row | Reject]:
    """Without those that are done; they are gone through, since ids are told apart by what came before."""
    return islice(entries, count, None)


def _unique(work: Filling) -> Iterator[Row | Reject]:
    """A row whose id was there before is refused: what is removed and replaced goes by ids."""
    seen = set(work.taken)
    for row in work.table.rows:
        short = short_id(row.id)
        yield Reject(row.id, THERE) if short in seen else row
        seen.add(short)


def short_id(text: str) -> int:
    """Eight bytes that stand for an id."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _written(work: Filling, entries: Sequence[Row | Reject]) -> Done:
    """One piece on the disk: its rows with their vectors, or why they cannot be used."""
    import pyarrow as pa
    from lance.fragment import write_fragments

    rejects, fields, vectors = _embedded(work, entries)
    fragment = None
    if fields:
        shape = work.shape()
        arrays = [pa.array(list(values), kind) for values, kind in zip(zip(*fields, strict=True), shape.types[:-1], strict=True)]
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), shape.types[-1].list_size))
        table = pa.Table.from_arrays(arrays, schema=shape)
        (piece,) = write_fragments(table, str(work.staged), schema=shape, mode="overwrite")
        fragment = json.dumps(piece.to_json())
    return Done(len(entries), len(fields), [[one.id, one.reason] for one in rejects], fragment)


def _embedded(work: Filling, entries: Sequence[Row | Reject]) -> tuple[list[Reject], list[list[Any]], Any]:
    """Rejects, the fields of the rows that are kept, and their vectors (N, D)."""
    import numpy as np

    chunk = Chunk([], _unread(work.about), str(work.home), str(work.root), work.copied, True, {})
    rejects: list[Reject] = []
    kept: list[tuple[str, list[Any]]] = []
    vectors: list[Any] = []
    waiting: list[tuple[str, list[Any], dict[str, Any]]] = []

    def embed() -> None:
        found_ND = row_vectors(work.run, work.space, [values for _, _, values in waiting])
        for (row_id, fields, _), vector_D in zip(waiting, found_ND, strict=True):
            if vector_D.any():
                kept.append((row_id, fields))
                vectors.append(vector_D)
            else:
                rejects.append(Reject(row_id, "its vector points nowhere"))
        waiting.clear()

    for entry in entries:
        read = _read(work, entry) if isinstance(entry, Row) else entry
        fields = as_fields(_placed(entry, work), chunk) if isinstance(entry, Row) and not isinstance(read, Reject) else read
        if isinstance(read, Reject) or isinstance(fields, Reject):
            rejects.append(read if isinstance(read, Reject) else fields)  # type: ignore[arg-type]
            continue
        waiting.append((entry.id, fields, read))  # type: ignore[arg-type]
        if len(waiting) == BATCH:
            embed()
    if waiting:
        embed()
    return rejects, [fields for _, fields in kept], np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def _unread(about: About) -> About:
    """The columns as ones whose files need not be read: those that are embedded were, and the others are kept as they are."""
    columns = [Column(column.name, column.kind, column.field) for column in about.columns]
    return About(columns, about.root, about.relative_root)


def _read(work: Filling, row: Row) -> dict[str, Any] | Reject:
    """The row's values by input; or why it has none."""
    cells = {name: cell for name, column in work.inputs.items() if (cell := row.cells.get(column)) is not None}
    try:
        read = work.run.read(cells)
    except BadValue as problem:
        return Reject(row.id, problem.what + (f" ({problem.where})" if problem.where else ""))
    return read or Reject(row.id, "no input at all")


def _placed(row: Row, work: Filling) -> Row:
    """With whole paths: the table's folder need not be the one that the index counts from."""
    media = {column.name for column in work.about.columns if column.kind == "media"}
    cells: dict[str, Cell] = {n: placed_cell(c, work.table.folder) if n in media else c for n, c in row.cells.items()}
    return Row(row.id, cells)


@dataclass(frozen=True)
class Filled:
    """What came of it: `rows` = `kept` + `rejected`; of those kept `replaced` were there before."""

    rows: int
    kept: int
    rejected: int
    rejects: Path | None
    findings: list[str]
    replaced: int = 0


def rejected_of(work: Filling) -> list[Reject]:
    """All rejects of a work that is done.

    Raises:
        TriptychError: rows are lost.
    """
    done = work.journal.done
    rejects = [Reject(*one) for piece in done for one in piece.rejects]
    rows, kept = sum(piece.taken for piece in done), sum(piece.kept for piece in done)
    if rows != kept + len(rejects) or rows != len(work.table.rows) + len(work.table.rejects):
        raise TriptychError(f"{rows} rows went in, {kept} were kept and {len(rejects)} rejected: some are lost", where=str(work.home))
    return rejects


def staged(work: Filling) -> lance.LanceDataset:
    """The pieces as one data set."""
    import lance
    from lance.fragment import FragmentMetadata

    fragments = [FragmentMetadata.from_json(done.fragment) for done in work.journal.done if done.fragment]
    operation = lance.LanceOperation.Overwrite(work.shape(), fragments)
    return lance.LanceDataset.commit(str(work.staged), operation)
