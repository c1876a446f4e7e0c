"""Vectors of many rows into one Parquet file, batch by batch, so that memory stays flat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.files import written_aside
from triptych.base.freed import keep_freed_memory
from triptych.data.locate import locate
from triptych.data.rejects import write_rejects
from triptych.data.samples import SAMPLE
from triptych.data.sources.tabled import read_source
from triptych.data.table import Reject, Table
from triptych.modalities import rooms
from triptych.run.progress import Voice
from triptych.use.opened import Run

BATCH = 64


def embed_source(run: Run, source: Path, out: Path, voice: Voice) -> dict[str, Any]:
    """Embed every row of a folder or table into `out`: `id`, `fused`, and one column an input of a contrastive task.

    A row that cannot be read is left out, with its reason in `<out>.rejects.csv`.

    Returns:
        `rows`, `kept`, `rejected`, `out`, `columns`, with rows = kept + rejected.

    Raises:
        InputError: nothing in the source fits an input of the run, no row could be read, or something stands at `out`.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} is there already", fix="name another file with --out, or remove that one")
    import pyarrow as pa
    from pyarrow import parquet

    keep_freed_memory()
    table, columns = _fitting(run, source, voice)
    rejects = list(table.rejects)
    kept, names, writer = 0, ["id"], None
    with written_aside(out) as aside:
        for ids, vectors in _batches(run, table, columns, rejects, voice):
            batch = pa.table({"id": pa.array(ids, pa.string()), **{n: pa.array(v, pa.list_(pa.float32())) for n, v in vectors.items()}})
            writer = writer or parquet.ParquetWriter(aside, batch.schema)
            writer.write_table(batch)
            kept, names = kept + len(ids), batch.column_names
        if writer is None:
            reasons = "; ".join(f"{reject.id}: {reject.reason}" for reject in rejects[:3])
            raise InputError(f"no row could be embedded ({reasons})", where=str(source))
        writer.close()
    write_rejects(out.with_name(out.name + ".rejects.csv"), rejects)
    return {"rows": kept + len(rejects), "kept": kept, "rejected": len(rejects), "out": str(out), "columns": names}


def _fitting(run: Run, source: Path, voice: Voice) -> tuple[Table, dict[str, str]]:
    return fitting(run, read_source(source, rooms(), voice), source)


def fitting(run: Run, table: Table, source: Path, among: Collection[str] | None = None) -> tuple[Table, dict[str, str]]:
    """The located rows of a source, and which of its columns is which input: by name, in a folder and a sample by modality.

    `among` says of which inputs, by default all.

    Raises:
        InputError: nothing in it is one of them, or a file could be any of several.
    """
    asked = {name: column for name, column in run.recipe.named().items() if among is None or name in among}
    columns = {name: asked[name] for name in asked if asked[name] in table.columns}
    if source.is_dir() or source.as_posix().startswith(SAMPLE):
        kinds = {name: run.recipe.inputs[name].modality for name in asked}
        columns = {name: kind for name, kind in kinds.items() if kind in table.columns} | {
            name: column for name, column in columns.items() if kinds[name] not in table.columns
        }
        for (modality, found), count in Counter((kinds[name], column) for name, column in columns.items()).items():
            if count > 1:
                which = ", ".join(name for name, column in columns.items() if (kinds[name], column) == (modality, found))
                raise InputError(
                    f"a {modality} file could be any of {which}", where=str(source), fix="give a CSV file that names them in columns"
                )
    if not columns:
        raise InputError("nothing in it is an input of this run", where=str(source), known=[f"{n} (column {c})" for n, c in asked.items()])
    return locate(table, {column: run.inputs[name][0] for name, column in columns.items()}), columns


def _batches(
    run: Run, table: Table, columns: dict[str, str], rejects: list[Reject], voice: Voice
) -> Iterator[tuple[list[str], dict[str, list[list[float] | None]]]]:
    ids: list[str] = []
    values: list[dict[str, Any]] = []
    for row in voice.track(table.rows, len(table.rows), "embedding"):
        cells = {name: cell for name, column in columns.items() if (cell := row.cells.get(column)) is not None}
        try:
            read = run.read(cells)
        except BadValue as problem:
            rejects.append(Reject(row.id, problem.what + (f" ({problem.where})" if problem.where else "")))
            continue
        if not read:
            rejects.append(Reject(row.id, "no input at all"))
            continue
        ids.append(row.id)
        values.append(read)
        if len(ids) == BATCH:
            yield ids, run.embed_rows(values)
            ids, values = [], []
    if ids:
        yield ids, run.embed_rows(values)
