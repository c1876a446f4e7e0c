"""Rows that could not be used, with their reasons, in a file that a spreadsheet opens."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from triptych.base.files import written_aside
from triptych.data.rows import Reject


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """`id, reason` a line; no file where there is nothing to tell."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "reason"])
        writer.writerows((reject.id, reject.reason) for reject in rejects)


def read_rejects(path: Path) -> list[Reject]:
    """What `write_rejects` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Reject(row["id"], row["reason"]) for row in csv.DictReader(file)]
