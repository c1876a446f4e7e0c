"""Long recordings cut into windows of one length, exact to the microsecond: every moment is in one, none goes beyond the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from triptych.base.errors import BadValue, InputError, nearest
from triptych.contract.cells import Blob, Span
from triptych.contract.modality import Modality, Timed
from triptych.data.align.times import piece, whole
from triptych.data.rows import Reject, Row
from triptych.data.settings import WindowSettings

MICRO = 1_000_000


def bounds(seconds: float, words: WindowSettings) -> list[tuple[int, int]]:
    """Start and end of every window of a recording, in whole microseconds.

    Window k starts k * (seconds - overlap) in; the last is the first that reaches the end. It holds something that the
    one before does not, whatever its length.
    """
    total, length = int(seconds * MICRO), round(words.seconds * MICRO)
    step = length - round(words.overlap * MICRO)
    if total <= length:
        return [(0, total)] if words.last != "drop" or total == length else []
    count = -(-(total - length) // step) + 1
    found = [(k * step, min(k * step + length, total)) for k in range(count)]
    if found[-1][1] - found[-1][0] < length:
        last = {"keep": [found[-1]], "drop": [], "shift": [(total - length, total)]}[words.last]
        found = [*found[:-1], *last]
    return found


def stamp_of(start: int) -> str:
    """Where a window starts, as its id says it: `00012.0`, so that ids sort as the windows do."""
    whole_, rest = divmod(start, MICRO)
    return f"{whole_:05d}.{f'{rest:06d}'.rstrip('0') or '0'}"


@dataclass
class Cut:
    """What became of the recordings."""

    recordings: int = 0
    windows: int = 0
    seconds: float = 0.0
    shorter: int = 0
    lost: float = 0.0
    without: int = 0
    columns: dict[str, None] = field(default_factory=dict)


def cut(
    rows: Iterable[Row | Reject], words: WindowSettings, rooms: Mapping[str, Modality], folder: Path, told: list[str]
) -> Iterator[Row | Reject]:
    """Each row with a recording becomes a row for each of its windows; a row without one stays.

    Raises:
        InputError: no row has the column; said after the last.
    """
    done = Cut()
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        done.columns.update(dict.fromkeys(row.cells))
        if row.cells.get(words.column) is None:
            done.without += 1
            yield row
            continue
        yield from _windows(row, words, rooms, folder, done)
    _check(words, done)
    told += list(_in_words(words, done))


def _windows(row: Row, words: WindowSettings, rooms: Mapping[str, Modality], folder: Path, done: Cut) -> Iterator[Row | Reject]:
    try:
        held = whole(row.cells[words.column], folder)
        seconds = length_of(held, rooms)
        found = bounds(seconds, words)
        if not found:
            raise ValueError(f"it is {seconds:.2f} s long, shorter than one window of {words.seconds:g} s")
        pieces = [piece(held, start / MICRO, end / MICRO) for start, end in found]
    except (ValueError, BadValue) as problem:
        what = f"{problem.what} ({problem.where})" if isinstance(problem, BadValue) and problem.where else str(problem).splitlines()[0]
        yield Reject(row.id, f"{words.column}: {what}")
        return
    done.recordings, done.windows, done.seconds = done.recordings + 1, done.windows + len(found), done.seconds + seconds
    done.shorter += found[-1][1] - found[-1][0] < round(words.seconds * MICRO)
    done.lost += max(0.0, seconds - found[-1][1] / MICRO - 1 / MICRO)
    name = row.cells.get(words.name)
    for (start, _), cell in zip(found, pieces, strict=True):
        yield Row(f"{row.id}-{stamp_of(start)}", {**row.cells, words.column: cell, words.name: row.id if name is None else name})


def length_of(cell: Path | Blob | Span, rooms: Mapping[str, Modality]) -> float:
    """Seconds of a recording, or of a piece of one.

    Raises:
        BadValue: it cannot be read, or is of a kind that has no length in time.
    """
    held = cell.source if isinstance(cell, Span) else cell
    name = held.name if isinstance(held, Blob) else str(held)
    suffix = Path(name).suffix.lower()
    room = next((room for room in rooms.values() if suffix in room.suffixes and isinstance(room, Timed)), None)
    if not isinstance(room, Timed):
        timed = sorted({suffix for room in rooms.values() if isinstance(room, Timed) for suffix in room.suffixes})
        raise BadValue("this is no recording: it has no length in time", where=name, known=timed)
    seconds = room.duration(held)
    if not isinstance(cell, Span):
        return seconds
    if cell.start >= seconds:
        raise BadValue(f"the piece starts at {cell.start:g} s and the recording is {seconds:.2f} s long", where=name)
    return min(seconds, cell.end if cell.end is not None else seconds) - cell.start


def _check(words: WindowSettings, done: Cut) -> None:
    if done.columns and words.column not in done.columns:
        close = nearest(words.column, done.columns, 1)
        fix = f"did you mean {close[0]!r}?" if close else "name the column of the recordings in data.windows.column"
        raise InputError(f"no row has a column {words.column!r}, which data.windows asks for", known=done.columns, fix=fix)


def _in_words(words: WindowSettings, done: Cut) -> Iterator[str]:
    overlap = f", overlapping by {words.overlap:g} s" if words.overlap else ""
    recordings = f"{done.recordings:,} recording{'s' if done.recordings != 1 else ''} of {done.seconds:,.1f} s"
    said = f"windows: {recordings} became {done.windows:,} windows of {words.seconds:g} s{overlap}"
    yield said + (f"; {done.shorter:,} at an end {'are' if done.shorter > 1 else 'is'} shorter" if done.shorter else "")
    if words.last == "drop":
        yield f"windows: {done.lost:,.1f} s at the ends are in no window (last: drop)"
    if done.without:
        yield f"windows: {done.without:,} rows without a recording in {words.column!r} stay as they are"
