"""What the tests of alignment share: rows from a source's words, and recordings of a given length."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

from triptych.base.settings import parse
from triptych.data.build import SILENT
from triptych.data.rows import Reject, Row
from triptych.data.settings import RowSettings
from triptych.data.sources.tabled import as_table
from triptych.data.sources.words import opened
from triptych.data.table import Table
from triptych.modalities import rooms


def words(source: Path | list, **said: Any) -> RowSettings:
    return parse(RowSettings, {"source": str(source) if isinstance(source, Path) else source, **said}, "a test")


def entries(source: Path | list, **said: Any) -> tuple[list[Row], list[Reject], list[str]]:
    """Rows, rejects and findings of a stream."""
    found = opened(words(source, **said), rooms(), {})
    every = list(found.rows())
    return [row for row in every if isinstance(row, Row)], [row for row in every if isinstance(row, Reject)], found.findings


def table(source: Path | list, **said: Any) -> Table:
    asked = words(source, **said)
    return as_table(opened(asked, rooms(), {}), asked, rooms(), SILENT)


def lines(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def jsonl(path: Path, *rows: dict) -> Path:
    return lines(path, *(json.dumps(row) for row in rows))


def recording(path: Path, seconds: float, rate: int = 1000) -> Path:
    """A WAV file of so many seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x00\x10" * round(seconds * rate))
    return path
