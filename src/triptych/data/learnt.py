"""One column of any source, value by value, for a room's tool to learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.contract.modality import Modality
from triptych.data.rows import Reject, Source


@dataclass
class ColumnValues:
    """The values of a column, read as they are asked for. `rows` = `given` + `empty` + refused, once all were."""

    source: Source
    column: str
    room: Modality
    voice: Any
    rows: int = 0
    given: int = 0
    empty: int = 0
    refused: list[Reject] = field(default_factory=list)
    _seen: dict[str, None] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        """Each value; rows without one, and those that cannot be read, are counted."""
        for row in self.voice.track(self.source.rows(), self.source.total, f"reading {self.column}"):
            self.rows += 1
            if isinstance(row, Reject):
                self.refused.append(row)
                continue
            self._seen.update(dict.fromkeys(row.cells))
            cell = row.cells.get(self.column)
            if cell is None:
                self.empty += 1
                continue
            try:
                value = self.room.read(cell)
            except BadValue as problem:
                self.refused.append(Reject(row.id, problem.what))
                continue
            self.given += 1
            yield value
        if not self.given:
            raise self._nothing()

    def _nothing(self) -> InputError:
        if self.column not in self._seen:
            return InputError(f"no row has a column {self.column!r}", where=self.source.name, known=self._seen)
        reasons = "".join(f"\n    {reject.id}: {reject.reason}" for reject in self.refused[:5])
        return InputError(f"the column {self.column!r} holds nothing to learn from{reasons}", where=self.source.name)
