"""The verbs on an index: built from a source, added to, taken from. Two at once in one index: the second is refused."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.base.files import held_alone
from triptych.data import stored
from triptych.data.columns import ID, Column, survey
from triptych.data.journal import Journal
from triptych.data.rejects import read_rejects, write_rejects
from triptych.data.rows import Reject
from triptych.data.settings import RowSettings
from triptych.data.sources import open_source
from triptych.data.sources.stamps import stamp
from triptych.data.sources.tabled import as_table
from triptych.data.stored import Stored
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.use import nearby
from triptych.use.catalogue import Catalogue
from triptych.use.embed import fitting
from triptych.use.filling import THERE, Filled, Filling, fill, rejected_of, short_id, staged
from triptych.use.shelved import ASIDE, ENTRIES, LOCK, REJECTS, Kept, write_about
from triptych.use.spaces import Space, space_of

if TYPE_CHECKING:
    import lance

    from triptych.run.progress import Voice
    from triptych.use.opened import Run

MOST_REJECTED = 0.2
COMPACT_FROM = 0.1
"""Share of the rows of a piece that are gone from which it is written anew without them."""
OLD = timedelta(minutes=10)
"""How long files of older versions stay for those who read them now."""
WAIT = "wait for it, or stop it"


def build_catalogue(
    run: Run,
    source: str | Path,
    out: Path,
    voice: Voice,
    *,
    space: str | None = None,
    by: Sequence[str] = (),
    copied: bool = False,
    max_rejected: float = MOST_REJECTED,
) -> Filled:
    """Build an index at `out`, or go on with the build that was killed there.

    Args:
        run: makes the vectors.
        source: whatever can be read as rows; columns are inputs by name, in a folder by modality.
        out: a new folder.
        voice: tells the user.
        space: which of the run's spaces; see `space_of`.
        by: those inputs of the space that the rows' vectors are made of; by default all that the source has.
        copied: the content of files goes into the index, not their paths.
        max_rejected: share of the rows that may be unusable.

    Raises:
        InputError: something stands at `out`, nothing in the source fits the space, or too many rows cannot be used.
    """
    if out.exists():
        fix = f"triptych search add {out} SOURCE adds to it; else name another folder with --out, or remove that one"
        raise InputError(f"{str(out)!r} is there already", fix=fix)
    aside = out.with_name(out.name + ".build")
    folder = aside / "index"
    with held_alone(aside / LOCK, "build of this index", WAIT):
        chosen = space_of(run, space)
        table, inputs, word = _opened(run, chosen, by, source, voice)
        about = stored.about(_columns(table), table.folder, out.absolute() / ENTRIES)
        journal = Journal(aside / "journal.jsonl")
        entries = folder / ENTRIES
        work = Filling(run, chosen, inputs, table, about, entries, entries, Path(about.root), copied, journal, voice)
        model = chosen.digest(run)
        fill(work, {"source": str(source), "changed": word, "model": model, "by": sorted(inputs), "copied": copied})
        rejects = rejected_of(work)
        try:
            _refuse_many(rejects, len(table.rows) + len(table.rejects), max_rejected, out, table.source)
        except InputError:
            shutil.rmtree(aside)
            raise
        made = staged(work)
        write_rejects(folder / REJECTS, rejects)
        near = nearby.prepared(made, {}, voice)
        width = int(journal.head["width"])
        write_about(folder, _kept(run, chosen, inputs, out, model, width, copied, near))
        folder.rename(out)
        shutil.rmtree(aside)
    return _filled(work, rejects, out)


def add(
    catalogue: Catalogue, run: Run, source: str | Path, voice: Voice, *, replaced: bool = False, max_rejected: float = MOST_REJECTED
) -> Filled:
    """Add rows; one whose id is there is refused, or takes the other's place where `replaced` says so.

    Raises:
        InputError: another model's vectors, another work on the index, nothing that fits, or too many rows cannot be used; then the index
            is as it was.
    """
    path = catalogue.path
    with _changing(catalogue):
        catalogue.check(run)
        kept, home = catalogue.about, path / ENTRIES
        table, inputs, word = _opened(run, catalogue.space, kept.by, source, voice)
        about = stored.read_about(catalogue.dataset, home)
        aside = path / ASIDE
        journal = Journal(aside / "journal.jsonl")
        there = set() if replaced else {short_id(row_id) for row_id in _ids(catalogue.dataset)}
        work = Filling(
            *(run, catalogue.space, inputs, table, about, aside / ENTRIES, home, catalogue.rows.root, kept.copied, journal, voice, there)
        )
        fill(
            work, {"source": str(source), "changed": word, "model": kept.model, "replaced": replaced, "version": catalogue.dataset.version}
        )
        rejects = rejected_of(work)
        try:
            _refuse_many(rejects, len(table.rows) + len(table.rejects), max_rejected, path, table.source)
        except InputError:
            shutil.rmtree(aside)
            raise
        told = _merged(catalogue.dataset, staged(work), replaced)
        before = read_rejects(path / REJECTS) if (path / REJECTS).exists() else []
        write_rejects(path / REJECTS, list(dict.fromkeys([*before, *rejects])))
        shutil.rmtree(aside)
        _tend(catalogue, voice)
    return replace(_filled(work, rejects, path), replaced=int(told["num_updated_rows"]))


def remove(catalogue: Catalogue, ids: Sequence[str], voice: Voice) -> int:
    """Remove rows by their ids; returns how many.

    Raises:
        InputError: an id is not there; then none is removed. Or another work is under way on the index.
    """
    with _changing(catalogue):
        wanted = list(dict.fromkeys(ids))
        unknown = sorted(set(wanted) - set(_ids(catalogue.dataset)))
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            what = f"there is no row {', '.join(map(repr, unknown[:5]))}{more} in the index; none was removed"
            raise InputError(
                what, where=str(catalogue.path), fix=f"""triptych search remove {catalogue.path} --where "..." takes a condition"""
            )
        if wanted:
            said = ", ".join("'" + row_id.replace("'", "''") + "'" for row_id in wanted)
            catalogue.dataset.delete(f"{ID} IN ({said})")
            _tend(catalogue, voice)
    return len(wanted)


@contextmanager
def _changing(catalogue: Catalogue) -> Iterator[None]:
    """The index, open as it is now, for one who changes it alone."""
    with held_alone(catalogue.path / LOCK, "change of this index", WAIT):
        catalogue.refresh()
        yield


def _ids(dataset: lance.LanceDataset) -> Iterator[str]:
    for batch in dataset.to_batches(columns=[ID]):
        yield from batch.column(0).to_pylist()


def _opened(run: Run, space: Space, by: Sequence[str], source: str | Path, voice: Voice) -> tuple[Table, dict[str, str], str]:
    """The source's rows, which of its columns is which input, and a word that changes with it."""
    for name in by:
        if name not in space.inputs:
            what = f"{name!r} is no input of the space {space.name}"
            raise InputError(what, where="--by", known=space.inputs)
    path = Path(source)
    found = open_source(path, rooms())
    word = stamp(found)
    table = as_table(found, RowSettings(source=str(path)), rooms(), voice)
    if not len(table.rows) and not table.rejects:
        raise InputError("there are no rows in it", where=str(source))
    located, inputs = fitting(run, table, path, by or space.inputs)
    return located, inputs, word


def _columns(table: Table) -> list[Column]:
    rows = table.rows
    return list(rows.columns.values()) if isinstance(rows, Stored) else survey(rows, rooms()).columns


def _refuse_many(rejects: Sequence[Reject], rows: int, most: float, out: Path, source: str) -> None:
    """Raises InputError where nothing can be used, or too little; the reasons are kept beside."""
    beside = out.with_name(f"{out.name}.refused.csv")
    if len(rejects) <= most * rows + 1e-9 and len(rejects) < rows:
        beside.unlink(missing_ok=True)
        return
    write_rejects(beside, rejects)
    reasons = "".join(f"\n    {one.id}: {one.reason}" for one in rejects[:10])
    share = -(-100 * len(rejects) // max(rows, 1)) / 100
    fix = f"mend the rows, or allow more with --max-rejected {share}" if len(rejects) < rows else "check that it is what you meant to read"
    if all(one.reason == THERE for one in rejects):
        fix = "--replace puts them in the place of those that are there"
    raise InputError(f"{len(rejects):,} of {rows:,} rows cannot be used, all listed in {beside}:{reasons}", where=source, fix=fix)


def _merged(dataset: lance.LanceDataset, new: lance.LanceDataset, replaced: bool) -> Mapping[str, Any]:
    """Take all new rows in, in one step."""
    merge = dataset.merge_insert(ID).when_not_matched_insert_all()
    if replaced:
        merge = merge.when_matched_update_all()
    told: Mapping[str, Any] = merge.execute(new.scanner().to_reader())
    return told


def _tend(catalogue: Catalogue, voice: Voice) -> None:
    """After a change: pieces with many holes anew, the vector index renewed, old files away, `about.json` as things are."""
    dataset = stored.open_dataset(catalogue.path / ENTRIES)
    dataset.optimize.compact_files(materialize_deletions_threshold=COMPACT_FROM)
    near = nearby.prepared(dataset, catalogue.about.near, voice)
    dataset.cleanup_old_versions(older_than=OLD)
    write_about(catalogue.path, replace(catalogue.about, near=near))
    catalogue.refresh()


def _kept(run: Run, space: Space, inputs: Mapping[str, str], out: Path, model: str, width: int, copied: bool, near: dict[str, Any]) -> Kept:
    where = run.folder.path.resolve()
    beside = os.path.relpath(where, out.absolute().resolve())
    versions = {name: version(package) for name, package in (("triptych", "triptych"), ("lance", "pylance"))}
    made = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return Kept(str(where), beside, model, space.name, space.inputs, tuple(inputs), width, copied, made, versions, near)


def _filled(work: Filling, rejects: Sequence[Reject], path: Path) -> Filled:
    kept = sum(done.kept for done in work.journal.done)
    return Filled(kept + len(rejects), kept, len(rejects), path / REJECTS if rejects else None, list(work.table.findings))
