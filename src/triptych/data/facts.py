"""What one pass over a table keeps of every value: a few hundred bytes, never the value."""

from __future__ import annotations

import weakref
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from triptych.base.errors import Absent, BadValue
from triptych.base.files import nameless
from triptych.contract.examined import SKETCH, Examined, Fault
from triptych.contract.modality import Modality

MOST_SKETCHES = 1_000_000
"""256 MB of sketches on the disk; later rows have none, and `ColumnFacts.unsketched` counts them."""
Views = dict[str, tuple[Modality, Any]]
"""{column: its room, and how its values are to be prepared}"""


@dataclass
class ColumnFacts:
    """Facts of one column's values. `rows` are the places of those values among the kept rows; all lists follow it."""

    room: Modality
    settings: Any
    rows: array[int] = field(default_factory=lambda: array("Q"))
    content: array[int] = field(default_factory=lambda: array("Q"))
    sketched: array[int] = field(default_factory=lambda: array("Q"))
    """Which of `rows` (by their place in it) have a sketch; `sketches_NS` follows this list."""
    unsketched: int = 0
    lengths: array[float] = field(default_factory=lambda: array("f"))
    """How long each value is when it is prepared; zeros where all are of one size."""
    measures: dict[str, array[float]] = field(default_factory=dict)
    traits: dict[str, dict[str, array[int]]] = field(default_factory=dict)
    faults: dict[Fault, array[int]] = field(default_factory=dict)
    """Rows of each fault, and of each trait's values, by their places among the kept rows."""
    _sketches: IO[bytes] = field(default_factory=nameless)

    def __post_init__(self) -> None:
        """The file ends with what is kept in it."""
        weakref.finalize(self, self._sketches.close)

    def add(self, row: int, seen: Examined) -> None:
        """One more value, in the order of the rows."""
        if seen.sketch and len(self.sketched) < MOST_SKETCHES:
            self._sketches.write(seen.sketch)
            self.sketched.append(len(self.rows))
        elif seen.sketch:
            self.unsketched += 1
        self.rows.append(row)
        self.content.append(seen.content)
        self.lengths.append(seen.length)
        for name, value in seen.measures.items():
            self.measures.setdefault(name, array("d")).append(value)
        for name, trait in seen.traits.items():
            self.traits.setdefault(name, {}).setdefault(trait, array("Q")).append(row)
        for fault in seen.faults:
            self.faults.setdefault(fault, array("Q")).append(row)

    def add_absent(self, row: int, problem: BadValue) -> None:
        """A row that is used without this input. The first reason stands for all of its kind."""
        kind = "absent" if isinstance(problem, Absent) else "unreadable"
        said = {
            "absent": "their files have nothing of this input, and they are used without it",
            "unreadable": "this part of their files cannot be read, and they are used without it",
        }[kind]
        common = 0.05 if kind == "absent" else 0.0
        fault = next((fault for fault in self.faults if fault.code == kind), None)
        fault = fault or Fault(kind, f"{said} (the first: {problem.what})", problem.fix, "warning", common)
        self.faults.setdefault(fault, array("Q")).append(row)

    def sketches_NS(self) -> np.ndarray:
        """All sketches as numbers, (N, SKETCH) uint8; they lie on the disk, and in memory only while this is held."""
        self._sketches.flush()
        if not self.sketched:
            return np.zeros((0, SKETCH), np.uint8)
        return np.memmap(self._sketches, np.uint8, "r", shape=(len(self.sketched), SKETCH))


class Facts:
    """Facts of a table's kept rows, by column."""

    def __init__(self, views: Views) -> None:
        """Nothing gathered yet."""
        self.views = views
        self.columns = {column: ColumnFacts(room, settings) for column, (room, settings) in views.items()}
        self.kept = 0

    def add(self, seen: Mapping[str, Examined], absent: Mapping[str, BadValue] | None = None) -> None:
        """One more kept row, in the order of the table; `absent`: why it lacks inputs whose cells are filled."""
        for column, examined in seen.items():
            self.columns[column].add(self.kept, examined)
        for column, problem in (absent or {}).items():
            self.columns[column].add_absent(self.kept, problem)
        self.kept += 1

    def lengths(self) -> dict[str, np.ndarray]:
        """{column whose values differ in length: a length for each kept row, float32; 0 where a row has no value}."""
        found = {}
        for name, facts in self.columns.items():
            lengths = np.array(facts.lengths, np.float32)
            if len(lengths) and lengths.min() < lengths.max():
                found[name] = np.zeros(self.kept, np.float32)
                found[name][np.array(facts.rows, np.intp)] = lengths
        return found

    def __iter__(self) -> Iterator[tuple[str, ColumnFacts]]:
        """Columns of which something was seen."""
        return ((name, facts) for name, facts in self.columns.items() if len(facts.rows))
