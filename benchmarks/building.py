"""Rows a second of `triptych data build`, and what bounds it.

    python -m benchmarks.building                   50,000 rows, one and two workers
    python -m benchmarks.building --rows 2000

Every row has a small picture, a short sound, a caption and a class, as files beside a CSV file (those of `memory.py`). The
split takes the parts of the work one by one, in one thread and on the same rows, in seconds of processor time: reading the
rows of the source twice (once to know its columns), opening the files, decoding them, packing the cells and writing the table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import make


def build(folder: Path, copied: bool, workers: int, rooms: dict[str, Any], name: str = "table") -> float:
    """Rows a second."""
    from triptych.data.build import SILENT, Plan
    from triptych.data.build import build as built
    from triptych.data.sources import open_source
    from triptych.modalities import rooms as all_rooms

    source = open_source(folder / "table.csv", all_rooms())
    began = time.perf_counter()
    made = built(source, folder / f"{name}-{copied}-{workers}.lance", rooms, Plan(copied=copied, workers=workers), SILENT)
    assert made.rejected == 0, made
    return made.kept / (time.perf_counter() - began)


def seconds(work: Callable[[], Any]) -> float:
    """Of processor time, of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def split(folder: Path) -> dict[str, float]:
    """Seconds of each part of the work."""
    from triptych.data.chunk import Chunk, write_chunk
    from triptych.data.columns import survey
    from triptych.data.sources import open_source
    from triptych.data.stored import about
    from triptych.modalities import rooms

    source = open_source(folder / "table.csv", rooms())
    rows = list(source.rows())
    columns = survey(rows, rooms()).columns
    media = {"picture": rooms()["image"], "sound": rooms()["audio"]}
    contents: list[tuple[Any, bytes]] = []

    def opened() -> None:
        contents.extend((media[column], (folder / row.cells[column]).read_bytes()) for row in rows for column in media)

    def decoded() -> None:
        for room, content in contents:
            room.read(content)

    def written() -> None:
        table = folder / "written.lance"
        told, believed = about(columns, folder, table), {name: _Unread(room) for name, room in rooms().items()}
        for start in range(0, len(rows), 1000):
            write_chunk(Chunk(rows[start : start + 1000], told, str(table), str(folder), True, False, believed))

    found = {"reading the source's rows, twice": 2 * seconds(lambda: sum(1 for _ in source.rows()))}
    found["finding the columns"] = seconds(lambda: survey(rows, rooms()))
    found["opening the files"] = seconds(opened)
    found["decoding them"] = seconds(decoded)
    found["cells, and the table on the disk"] = seconds(written) - found["opening the files"]
    return found


class _Unread:
    """A room that believes every file."""

    def __init__(self, room: Any) -> None:
        self.room = room

    def read(self, source: Any) -> None:
        """Nothing is looked at."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.room, name)


def main() -> None:
    """Build in several ways, and take the work apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from triptych.modalities import rooms

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.rows)
        speed = {}
        for copied in (True, False):
            for workers in (1, 2):
                how = f"{'files copied into it' if copied else 'files left where they are'}, workers: {workers}"
                speed[how] = build(folder, copied, workers, rooms())
                print(f"{how:<50} {speed[how]:>8,.0f} rows/s", flush=True)
        parts = split(folder)
    whole = sum(parts.values())
    print(f"\n{'where the time goes, in one thread':<50} {'s':>8} {'share':>7}")
    for part, taken in parts.items():
        print(f"{part:<50} {taken:>8.1f} {taken / whole:>7.0%}")
    if args.json:
        print(json.dumps({"rows": args.rows, "rows_s": speed, "seconds": parts}, indent=2))


if __name__ == "__main__":
    main()
