"""The training rows that are nearest to a new one, in the space that a run's inputs share, or in what its fusion makes of a row.

Every training row is embedded once where the run's source can still be read, and the vectors are kept in the cache folder. Else the
test rows stand in, whose vectors lie in the run itself.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from triptych.base.errors import BadValue, TriptychError
from triptych.base.files import cache_root, in_use, written_aside
from triptych.contract.cells import Cell
from triptych.data.rows import Row
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.run.opening import open_table, read_rows
from triptych.run.progress import Voice
from triptych.use.opened import Run

FOLDER = "neighbours"
"""Of the cache folder: a Parquet file a run."""
BATCH = 64
MOST = 50_000
"""Training rows that are embedded, drawn by the hash of their ids where there are more."""


class Near(NamedTuple):
    """A row that is near."""

    id: str
    similarity: float
    """Cosine of the two vectors, -1 to 1."""
    label: str
    """What was to be learnt of the row, in words."""


@dataclass(frozen=True)
class Space:
    """Vectors of rows, of length 1; which rows they are, and where they come from."""

    name: str
    """`fused`, or the contrastive task whose space it is."""
    side: str
    """`train` or `test`."""
    note: str
    """Why it is not the training rows, or not all of them; else empty."""
    ids: list[str]
    labels: list[str]
    vectors_ND: np.ndarray

    def nearest(self, vectors: Mapping[str, Sequence[float] | None], most: int = 6) -> list[Near]:
        """The rows nearest to one whose vectors are given, as `Run.embed_rows` gives them of one row; none where it has no vector here."""
        vector_D = together(vectors, self.name)
        if vector_D is None or not len(self.ids):
            return []
        similar_N = self.vectors_ND @ vector_D
        best = np.argsort(-similar_N, kind="stable")[:most]
        return [Near(self.ids[place], float(similar_N[place]), self.labels[place]) for place in best.tolist()]


def together(vectors: Mapping[str, Sequence[float] | None], name: str) -> np.ndarray | None:
    """One vector of length 1 of a row: the mean of those its inputs have in a contrastive space, or what the fusion made of it."""
    wanted = [vectors.get("fused")] if name == "fused" else [one for key, one in vectors.items() if key.startswith(f"{name}.")]
    there = [_unit(np.asarray(one, np.float32)) for one in wanted if one is not None]
    return _unit(np.mean(there, 0)) if there else None


def _unit(vector_D: np.ndarray) -> np.ndarray:
    return np.asarray(vector_D / max(float(np.linalg.norm(vector_D)), 1e-12), np.float32)


def space_of(run: Run, voice: Voice) -> Space:
    """The run's training rows as vectors, from the cache, or embedded now; the stored test rows where that cannot be.

    Raises:
        TriptychError: neither is to be had; it says why.
    """
    path = cache_root() / FOLDER / f"{run.folder.digest()}.parquet"
    in_use(path)
    try:
        if not path.exists():
            _embed(run, path, voice)
        return _read(path)
    except (TriptychError, OSError) as problem:
        what = problem.what if isinstance(problem, TriptychError) else str(problem)
        return _stored(run, f"the training rows cannot be read again ({what}), so these are test rows of the run")


def name_of(run: Run) -> str:
    """The space in which rows are compared: that of the first contrastive task, else `fused`."""
    return next((name for name, task in run.recipe.tasks.items() if task.kind == "contrast"), "fused")


def _embed(run: Run, path: Path, voice: Voice) -> None:
    """Embed all training rows into a file of the cache."""
    import pyarrow as pa
    from pyarrow import parquet

    table = open_table(run.recipe, voice)
    train = table.at("train")
    ids = table.rows.ids()
    drawn = sorted(train, key=lambda index: hashlib.sha256(ids[index].encode("utf-8", "replace")).digest())[:MOST]
    note = f"{MOST:,} of {len(train):,} training rows, drawn by chance" if len(drawn) < len(train) else ""
    name, found = name_of(run), list[tuple[str, str, np.ndarray]]()
    chosen = table.subset(sorted(drawn))
    for row, vectors in _vectors(run, chosen, voice):
        vector_D = together(vectors, name)
        if vector_D is not None:
            found.append((row.id, label_of(run, row), vector_D))
    columns = {"id": [one[0] for one in found], "label": [one[1] for one in found]}
    vectors_ND = pa.array([one[2] for one in found], pa.list_(pa.float32()))
    made = pa.table({**columns, "vector": vectors_ND}).replace_schema_metadata({"name": name, "note": note})
    with written_aside(path) as aside:
        parquet.write_table(made, aside)


def _vectors(run: Run, table: Table, voice: Voice) -> Iterator[tuple[Row, dict[str, list[float] | None]]]:
    """Each row with its vectors, a batch at a time."""
    asked = run.recipe.columns()
    rows = iter(voice.track(table.rows, len(table.rows), "embedding the training rows"))
    while batch := list(itertools.islice(rows, BATCH)):
        cells = [{name: cell for name, column in asked.items() if (cell := row.cells.get(column)) is not None} for row in batch]
        pairs = [(row, values) for row, one in zip(batch, cells, strict=True) if (values := _values(run, one))]
        if pairs:
            columns = run.embed_rows([values for _, values in pairs])
            for place, (row, _) in enumerate(pairs):
                yield row, {column: vectors[place] for column, vectors in columns.items()}


def _values(run: Run, cells: Mapping[str, Cell]) -> dict[str, Any]:
    try:
        return run.read(cells)
    except BadValue:  # its file changed since the table was checked; there is nothing to show of it
        return {}


def label_of(run: Run, row: Row) -> str:
    """What was to be learnt of a row: the cells of its tasks' targets, each once."""
    wanted = [getattr(task, "target", None) or getattr(task, "positives", None) for task in run.recipe.tasks.values()]
    cells = {column: row.cells.get(column) for column in wanted if column}
    named = [
        (column, " | ".join(map(str, cell)) if isinstance(cell, list) else str(cell)) for column, cell in cells.items() if cell is not None
    ]
    return ", ".join(text if len(named) == 1 else f"{column}: {text}" for column, text in named)


def _read(path: Path) -> Space:
    from pyarrow import parquet

    held = parquet.read_table(path)
    about = {key.decode(): value.decode() for key, value in (held.schema.metadata or {}).items()}
    vectors = held.column("vector").combine_chunks()
    flat_ND = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1) if len(vectors) else np.zeros((0, 1), np.float32)
    return Space(about["name"], "train", about["note"], held.column("id").to_pylist(), held.column("label").to_pylist(), flat_ND)


def _stored(run: Run, note: str) -> Space:
    """The test rows whose vectors lie in the run."""
    name, gallery = name_of(run), run.gallery
    task: Any = run.recipe.tasks.get(name)
    columns = [key for column in getattr(task, "between", ()) if (key := f"{name}.{column}") in gallery]
    if not columns:
        what = "there are no rows to compare with: the training rows cannot be read, and no task of the run keeps vectors of its test rows"
        raise TriptychError(what, where=str(run.folder.path), fix="put the data back where the recipe says it is")
    rows = [{key: gallery[key][place] for key in columns} for place in range(len(gallery["id"]))]
    found = [(place, vector_D) for place, row in enumerate(rows) if (vector_D := together(row, name)) is not None]
    labels = gallery.get(f"{name}.label") or [None] * len(rows)
    ids, words = [gallery["id"][place] for place, _ in found], [str(labels[place] or "") for place, _ in found]
    return Space(name, "test", note, ids, words, np.stack([vector_D for _, vector_D in found]))


class Source:
    """The rows of a run's source, to show those that are near; opened when one is first asked for."""

    def __init__(self, run: Run) -> None:
        """Nothing is read yet."""
        self.run = run
        self._table: Table | None = None
        self._places: dict[str, int] = {}

    def table(self) -> Table:
        """All rows, as they stand.

        Raises:
            InputError: the source cannot be read.
        """
        if self._table is None:
            recipe = self.run.recipe
            columns = {recipe.columns()[name]: rooms()[settings.modality] for name, settings in recipe.inputs.items()}
            table = read_rows(recipe, columns, Voice(quiet=True))
            self._places = {row_id: place for place, row_id in enumerate(table.rows.ids())}
            self._table = table
        return self._table

    def cells(self, ids: Sequence[str]) -> list[dict[str, Cell]]:
        """The input cells of some rows, by input; empty for rows that are no longer there."""
        table, asked = self.table(), self.run.recipe.columns()
        there = [row_id for row_id in ids if row_id in self._places]
        found = dict(zip(there, table.rows.take([self._places[row_id] for row_id in there]), strict=True))
        return [
            {name: cell for name, column in asked.items() if row_id in found and (cell := found[row_id].cells.get(column)) is not None}
            for row_id in ids
        ]
