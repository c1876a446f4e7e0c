"""AudioSet: ten seconds of a video and what is heard in them (https://research.google.com/audioset/download.html).

    eval_segments.csv balanced_train_segments.csv unbalanced_train_segments.csv
        # Segments csv created Sun Mar  5 10:54:25 2017
        # num_ytids=20371, num_segs=20371, num_unique_labels=527, num_positive_labels=51804
        # YTID, start_seconds, end_seconds, positive_labels
        --4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"
    class_labels_indices.csv     index,mid,display_name

The publisher gives no clips; users fetch them, cut, as `<YTID>.wav`, `Y<YTID>.wav`, `<YTID>_<start>.wav` (seconds, or
milliseconds as in the strong labels' ids) or `<YTID>_<start>_<end>.wav`, in any folder below. Rows: `audio`, `labels` (a
list of display names, which hold commas themselves), `start_seconds`, `end_seconds` (of the clip in its video), `split`.
The id is the YTID: each stands for one segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.cells import Cell, Scalar
from triptych.data.layouts._reading import SOUNDS, VIDEOS, Places, check_header, filled, missing, once, records
from triptych.data.rows import Reject, Row, Source

NAME = "audioset"
GROUP = None
PARTS = {"balanced_train_segments.csv": "train", "unbalanced_train_segments.csv": "train", "eval_segments.csv": "test"}
HEADER = ("YTID", "start_seconds", "end_seconds", "positive_labels")
CLASSES, CLASS_HEADER = "class_labels_indices.csv", ("index", "mid", "display_name")


def matches(path: Path) -> bool:
    """One of the files of segments is there."""
    return any((path / name).is_file() for name in PARTS)


def read(path: Path) -> Source:
    """See `Layout`."""
    parts = {path / name: side for name, side in PARTS.items() if (path / name).is_file()}
    if not parts:
        raise missing("a file of segments", path / "eval_segments.csv", "AudioSet", known=list(PARTS))
    if not (path / CLASSES).is_file():
        raise missing("the file of classes", path / CLASSES, "AudioSet")
    check_header(path / CLASSES, CLASS_HEADER)
    for part in parts:
        _check(part)
    places = Places(path, (*SOUNDS, *VIDEOS))
    if not places:
        raise missing("a folder of clips", path / "audio" / "<YTID>.wav", "AudioSet", known=SOUNDS)
    names: dict[str, str] = {}
    for cells in records(path / CLASSES, CLASS_HEADER):
        if isinstance(cells, Reject):
            raise InputError(f"a class cannot be read: {cells.reason}", where=f"{path}, {cells.id}", fix="download the file again")
        names[cells["mid"]] = cells["display_name"]
    return Source(str(path), lambda: once(row for part, side in parts.items() for row in _rows(part, side, names, places)), path)


def _check(path: Path) -> None:
    """The third of three comment lines names the columns."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = [file.readline(4096).strip() for _ in range(3)]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read as text: {error}", where=str(path), fix="download it again") from error
    if not head[2].startswith("#") or tuple(name.strip() for name in head[2][1:].split(",")) != HEADER:
        raise InputError(
            f"the header is {head[2][:200]!r}",
            where=f"{path}, line 3",
            known=["# YTID, start_seconds, end_seconds, positive_labels (expected)"],
            fix="put the publisher's file there, with its three lines of comment",
        )


def _rows(part: Path, side: str, names: dict[str, str], places: Places) -> Iterator[Row | Reject]:
    for cells in records(part, HEADER, header=HEADER):
        if isinstance(cells, Reject):
            yield cells
            continue
        video, start, end = cells["YTID"], _seconds(cells["start_seconds"]), _seconds(cells["end_seconds"])
        mids = [mid.strip() for mid in cells["positive_labels"].split(",") if mid.strip()]
        unknown = [mid for mid in mids if mid not in names]
        if start is None or end is None or end <= start:
            yield Reject(video, f"the segment from {cells['start_seconds']!r} to {cells['end_seconds']!r} seconds is none")
        elif unknown:
            yield Reject(video, f"{CLASSES} has no class {', '.join(unknown)}")
        elif (clip := places.find(*_stems(video, start, end))) is None:
            yield Reject(video, f"no audio file is called {video}, Y{video} or {video}_{start:.3f} below {part.parent}")
        else:
            labels: list[Scalar] = [names[mid] for mid in mids]
            found: dict[str, Cell] = {"labels": labels, "start_seconds": start, "end_seconds": end, "split": side}
            yield Row(video, {"audio": clip, **filled(found)})


def _stems(video: str, start: float, end: float) -> list[str]:
    """What people call a clip, the most usual first."""
    forms = ("{:.3f}", "{:g}", "{:.1f}")
    timed = [f"{video}_{form.format(start)}" for form in forms] + [f"{video}_{form.format(start)}_{form.format(end)}" for form in forms]
    millis = [f"{video}_{start * 1000:.0f}", f"{video}_{start * 1000:.0f}_{end * 1000:.0f}"]
    return [video, f"Y{video}", *timed, *millis]


def _seconds(cell: str) -> float | None:
    try:
        seconds = float(cell)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
