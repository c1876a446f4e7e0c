"""From any source to a table on the disk: every value is read once, what cannot be used is kept beside with its reason.

Rows are written in chunks, aside; a journal says which chunks are done. All of them become visible in one step at the end,
so a table is the old one or the new one and never a half, and a build that was killed goes on after its last chunk.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError, TriptychError
from triptych.base.files import is_full
from triptych.base.plain import one_line
from triptych.contract.cells import Blob, Several, Span
from triptych.contract.modality import Modality
from triptych.data.chunk import Chunk, Done, write_chunk
from triptych.data.columns import ID, Column, schema, survey
from triptych.data.journal import Journal, alone, sweep
from triptych.data.lacking import told as what_lacks
from triptych.data.notes import Notes
from triptych.data.place import common_folder, placed
from triptych.data.rejects import read_rejects, write_rejects
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.stamps import stamp
from triptych.data.stored import SUFFIX, About, about, is_stored, open_dataset, read_about, unpacked
from triptych.data.workers import Crew

if TYPE_CHECKING:
    import lance


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def track(self, items: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        """The items as they are."""
        yield from items


SILENT = Silent()
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Built:
    """What came of a build: `rows` = `kept` + `rejected`."""

    rows: int
    kept: int
    rejected: int
    version: int
    columns: list[Column]
    rejects: Path | None
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """How to build.

    `copied`: the content of files goes into the table, not their paths. `append`: to what is there. `workers`: processes that
    read files; 0 reads them in this process, which a file that crashes its decoder then ends. `patience`: seconds that reading
    one row may take in a worker before it is refused.
    """

    copied: bool = False
    append: bool = False
    workers: int = 1
    max_rejected: float = 0.2
    chunk_rows: int = 1000
    patience: float = 120.0


@dataclass(frozen=True)
class Work:
    """One build: what goes in, where it goes, how."""

    source: Source
    table: Path
    rooms: Mapping[str, Modality]
    plan: Plan
    voice: Any
    journal: Journal

    def before(self) -> lance.LanceDataset | None:
        """The table as it is, if there is one."""
        return open_dataset(self.table) if is_stored(self.table) else None


def build(source: Source, table: Path, rooms: Mapping[str, Modality], plan: Plan, voice: Any) -> Built:
    """Build the table at `table`, or go on with the build that was killed there.

    Args:
        source: where the rows come from.
        table: a folder called NAME.lance; an older table there is replaced by a new version, or appended to.
        rooms: the modalities, by name.
        plan: how to build.
        voice: tells the user, and wraps what takes long with a progress bar.

    Raises:
        InputError: there is nothing in the source, too many rows cannot be used, or another build is under way.
        TriptychError: the disk is full. The table is as it was, and the same build goes on when there is room.
    """
    if table.suffix != SUFFIX:
        raise InputError(f"a table is called NAME{SUFFIX}, not {table.name!r}", fix=f"{table.with_suffix(SUFFIX)}")
    if table.exists() and not table.is_dir():
        raise InputError("a file stands where the table should be", where=str(table))
    aside = table.with_name(table.name + ".build")
    with _saying_when_full(table), alone(aside, table):
        work = Work(source, table, rooms, plan, voice, Journal(aside / "journal.jsonl"))
        told = _columns(work)
        work = replace(work, source=placed(source, told, table))
        sweep(work.before(), table, work.journal.files())
        _write_chunks(work, told)
        try:
            made = _publish(work, told)
        except InputError:  # refused: there is nothing to go on with
            shutil.rmtree(aside)
            _clear_away(work)
            raise
        shutil.rmtree(aside)
        return made


@contextmanager
def _saying_when_full(table: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        before = "the table is as it was" if is_stored(table) else "there is no table yet"
        fix = f"make room there, and start the same again: {before}, and the build goes on after the rows that are written"
        raise TriptychError("the disk is full", where=str(table.absolute().parent), fix=fix) from error


def _columns(work: Work) -> About:
    """The columns of the table: those it has, of the build that goes on, or found by looking through the source."""
    journal, source, before = work.journal, work.source, work.before()
    head: dict[str, Any] = {"source": source.name, "changed": stamp(source), "append": work.plan.append, "copied": work.plan.copied}
    head["version"] = before.version if before else 0
    if before and journal.head and journal.head["build"] in _made_by(before):
        head["version"] -= 1  # it was stopped when its version was visible, and its rejects not yet
    pieces = {path.name for path in (work.table / "data").glob("*.lance")}
    if journal.head and {name: journal.head[name] for name in head} == head and journal.files() <= pieces:  # none was taken away since
        journal.mend()
        work.voice.say(f"going on with a build that was stopped after {sum(done.taken for done in journal.done):,} rows")
        return unpacked(journal.head["about"])
    if work.plan.append and before is not None:
        told, findings = read_about(before, work.table), []
    else:
        refused: list[Reject] = []
        seen = work.voice.track(source.rows(), source.total, "looking through")
        surveyed = survey(_kept(seen, refused), work.rooms)
        if not surveyed.columns:
            reasons = "".join(f"\n    {reject.id}: {reject.reason}" for reject in refused)
            raise InputError(f"there are no rows in it that can be used{':' if reasons else ''}{reasons}", where=source.name)
        told, findings = about(surveyed.columns, common_folder(source), work.table), surveyed.findings
    journal.begin({**head, "build": uuid.uuid4().hex, "about": asdict(told), "findings": findings})
    return told


def _kept(entries: Iterable[Row | Reject], refused: list[Reject]) -> Iterator[Row]:
    """The rows; a few of the others are noted."""
    for entry in entries:
        if isinstance(entry, Row):
            yield entry
        elif len(refused) < 10:
            refused.append(entry)


def _clear_away(work: Work) -> None:
    """Remove all pieces of a build that was refused, and the folder where no version is in it."""
    sweep(work.before(), work.table, set())
    if not is_stored(work.table):
        shutil.rmtree(work.table, ignore_errors=True)


def _write_chunks(work: Work, told: About) -> None:
    """Write what is not yet written, in order, with `plan.workers` processes."""
    taken = sum(done.taken for done in work.journal.done)
    entries = islice(_unique(work), taken, None)
    folder, plan = str(work.source.folder), work.plan
    task = partial(Chunk, about=told, table=str(work.table), folder=folder, copied=plan.copied, append=plan.append, rooms=work.rooms)
    left = None if work.source.total is None else work.source.total - taken
    finished = _finished((task(entries=chunk) for chunk in _chunks(entries, plan.chunk_rows)), told, plan)
    for _ in work.voice.track(_journaled(finished, work.journal), left, "building"):
        pass


def _journaled(finished: Iterable[Done], journal: Journal) -> Iterator[None]:
    """Write down every chunk that is done; a step of the bar for each row."""
    for done in finished:
        journal.add(done)
        yield from (None for _ in range(done.taken))


def _finished(work: Iterator[Chunk], told: About, plan: Plan) -> Iterator[Done]:
    """Chunks as they are written, in their order. Only files can crash what reads them: without any, one process does it all."""
    if plan.workers > 1 or (plan.workers == 1 and any(column.kind == "media" for column in told.columns)):
        yield from Crew(plan.workers, plan.patience).written(work)
    else:
        yield from map(write_chunk, work)


def _unique(work: Work) -> Iterator[Row | Reject]:
    """A row whose id was there before is refused: scores, splits and joins go by ids. Eight bytes an id are remembered."""
    before = work.before() if work.plan.append else None
    seen = {_short(row_id) for batch in (before.to_batches(columns=[ID]) if before else []) for row_id in batch.column(0).to_pylist()}
    for entry in work.source.rows():
        if isinstance(entry, Row):
            short = _short(entry.id)
            if short in seen:
                yield Reject(entry.id, "its id is there already")
                continue
            seen.add(short)
        yield entry


def _short(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _chunks(entries: Iterable[Row | Reject], rows: int) -> Iterator[list[Row | Reject]]:
    """So many rows, or fewer where they carry much."""
    chunk: list[Row | Reject] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += sum(_bytes(cell) for cell in entry.cells.values()) if isinstance(entry, Row) else 0
        if len(chunk) == rows or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _bytes(cell: Any) -> int:
    if isinstance(cell, Several):
        return sum(map(_bytes, cell.items))
    whole = cell.source if isinstance(cell, Span) else cell
    return len(whole) if isinstance(whole, Blob | str) else 0


def _publish(work: Work, told: About) -> Built:
    """Make all chunks visible in one step, once the rejects are written; they are put beside the table right after it."""
    done, name, plan = work.journal.done, work.journal.head["build"], work.plan
    rows, kept = sum(chunk.taken for chunk in done), sum(chunk.kept for chunk in done)
    rejects = [Reject(*reject) for chunk in done for reject in chunk.rejects]
    if rows != kept + len(rejects):
        raise TriptychError(f"{rows} rows went in, {kept} were kept and {len(rejects)} rejected: some are lost", where=str(work.table))
    beside, refused = (work.table.with_name(f"{work.table.name}.{word}.csv") for word in ("rejects", "refused"))
    if len(rejects) > plan.max_rejected * rows + 1e-9 or not kept:
        write_rejects(refused, rejects)
        raise _too_many(work.source, rejects, rows, kept, refused)
    without = what_lacks(((row, column, room) for chunk in done for row, column, room in chunk.lacking), kept)
    findings = list(dict.fromkeys([*work.source.findings, *work.journal.head["findings"], *without]))
    ready, dataset = work.journal.path.with_name("rejects.csv"), work.before()
    if dataset is None or name not in _made_by(dataset):  # else it was stopped right after this
        write_rejects(ready, [*(read_rejects(beside) if plan.append and beside.exists() else []), *rejects])
        dataset = _committed(work, told, dataset, Notes(work.source.name, rows, kept, len(rejects), plan.copied, plan.append, findings))
    if ready.exists():
        ready.replace(beside)  # which a full disk cannot stop
    elif not rejects and not plan.append:
        beside.unlink(missing_ok=True)
    refused.unlink(missing_ok=True)
    return Built(rows, kept, len(rejects), dataset.version, told.columns, beside if rejects else None, findings)


def _committed(work: Work, told: About, before: lance.LanceDataset | None, notes: Notes) -> lance.LanceDataset:
    """The next version of the table: the pieces that the journal speaks of, alone or after those that are there."""
    import lance
    from lance.fragment import FragmentMetadata

    fragments = [FragmentMetadata.from_json(chunk.fragment) for chunk in work.journal.done if chunk.fragment]
    operation: Any = lance.LanceOperation.Append(fragments)
    if before is None or not work.plan.append:
        operation = lance.LanceOperation.Overwrite(schema(told.columns, told.packed()), fragments)
    said = f"{'append' if work.plan.append else 'build'} {notes.kept} rows from {notes.source}"
    step = lance.Transaction(
        before.version if before else 0, operation, transaction_properties=notes.packed(said, work.journal.head["build"])
    )
    return lance.LanceDataset.commit(str(work.table), step)


def _made_by(dataset: lance.LanceDataset) -> str:
    """What the last version says of the build that made it."""
    (last,) = dataset.get_transactions(1)
    return str(last.transaction_properties) if last else ""


def _too_many(source: Source, rejects: list[Reject], rows: int, kept: int, beside: Path) -> InputError:
    reasons = "".join(f"\n    {one_line(f'{reject.id}: {reject.reason}')}" for reject in rejects[:10])
    reasons += f"\n    and {len(rejects) - 10:,} more" if len(rejects) > 10 else ""
    share = -(-100 * len(rejects) // rows) / 100 if rows else 1
    fix = f"mend the rows, or allow more with --max-rejected {share}" if kept else "check that it is what you meant to read"
    return InputError(f"{len(rejects):,} of {rows:,} rows cannot be used, all listed in {beside}:{reasons}", where=source.name, fix=fix)
